//! The values of labels: enums and fixed texts, so that no caller can make more series.

use tonic::Code;

/// Stands for a service or method that does not exist.
pub(crate) const UNKNOWN: &str = "unknown";

/// How something ended that was begun for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should.
    Ok,
    /// In an error.
    Failed,
    /// Not at all: the caller has gone, or ran out of time.
    Cancelled,
}

/// What has become of a request to change something in Retool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provisioning {
    /// It was changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// It may not be changed.
    Refused,
    /// It could not be changed.
    Failed,
    /// It would have been changed, were this not a dry run.
    DryRun,
}

/// What has become of a request to Retool's REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestOutcome {
    /// It was answered as it should be.
    Ok,
    /// The answer has a status that says no: 4xx or 5xx.
    Refused,
    /// The answer sends elsewhere.
    Redirected,
    /// The status says yes and the answer says no.
    Declined,
    /// The answer is something else than JSON, such as a web page.
    NotJson,
    /// The answer lacks what was asked for, or is too large to be read.
    Incomplete,
    /// The answer, or its end, did not come in time.
    Timeout,
    /// No connection came about.
    Unreachable,
    /// The server could not prove who it is.
    Untrusted,
    /// The connection ended before the answer did.
    Closed,
    /// Nobody waited for it any more.
    Cancelled,
}

/// The name of a gRPC code, as Prometheus metrics of other gRPC servers have it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

impl Outcome {
    /// As metrics have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RestOutcome {
    /// As metrics and traces have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Declined => "declined",
            Self::NotJson => "not_json",
            Self::Incomplete => "incomplete",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Provisioning {
    /// As metrics have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::DryRun => "dry_run",
        }
    }
}

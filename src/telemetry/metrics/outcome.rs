//! Label values: enums and fixed texts, so that callers cannot create more series.

use tonic::Code;

/// The label value for an unknown service or method.
pub(crate) const UNKNOWN: &str = "unknown";

/// The result of an operation for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Success.
    Ok,
    /// An error.
    Failed,
    /// Cancelled: the caller disconnected or timed out.
    Cancelled,
}

/// The result of a request for a change in Retool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provisioning {
    /// The change was made.
    Changed,
    /// The state was already as requested.
    Unchanged,
    /// The change is not allowed.
    Refused,
    /// The change failed.
    Failed,
    /// A dry run: the change would have been made.
    DryRun,
    /// The change may have been made.
    Unknown,
}

/// The result of a request to Retool's REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestOutcome {
    /// The answer reports success.
    Ok,
    /// The answer has an error status: 4xx or 5xx.
    Refused,
    /// The answer is a redirect.
    Redirected,
    /// The status reports success, but the body reports a failure.
    Declined,
    /// The answer is not JSON, for example a web page.
    NotJson,
    /// The answer lacks required data, or is too large.
    Incomplete,
    /// The answer did not arrive completely in time.
    Timeout,
    /// The connection failed.
    Unreachable,
    /// The certificate of the server is not trusted.
    Untrusted,
    /// The connection ended before the answer was complete.
    Closed,
    /// The caller stopped waiting.
    Cancelled,
}

/// The name of a gRPC code, as in Prometheus metrics of other gRPC servers.
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
    /// The label value in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RestOutcome {
    /// The value in metrics and traces.
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
    /// The label value in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::DryRun => "dry_run",
            Self::Unknown => UNKNOWN,
        }
    }
}

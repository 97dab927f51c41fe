//! The kind of an error, which decides the gRPC code.

use crate::postgres::error::PostgresError;
use crate::retool::api::error::Problem;
use crate::retool::change::Refusal;
use crate::retool::error::DatabaseError;

/// The kind of an [`Error`](crate::connector::error::Error). Each kind has the name of its gRPC code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ErrorKind {
    /// The request is invalid in any state of Retool.
    InvalidArgument,
    /// Something that the request names does not exist.
    NotFound,
    /// Something with the same name exists.
    AlreadyExists,
    /// The request is refused until Retool or the configuration changes.
    FailedPrecondition,
    /// The credential of the REST API lacks a scope.
    PermissionDenied,
    /// The REST API does not accept the credential (decision rest-codes).
    Unauthenticated,
    /// A limit of this process is reached.
    ResourceExhausted,
    /// Retool is down or busy; a later attempt can succeed. Agents retry it.
    Unavailable,
    /// Retool takes too long. Agents retry it.
    DeadlineExceeded,
    /// The connector does not support the request.
    Unimplemented,
    /// Retool or this program does not behave as expected.
    Internal,
    /// None of the other kinds.
    Unknown,
}

impl ErrorKind {
    /// The name, spelled like the gRPC code's: `NotFound`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "InvalidArgument",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::PermissionDenied => "PermissionDenied",
            Self::Unauthenticated => "Unauthenticated",
            Self::ResourceExhausted => "ResourceExhausted",
            Self::Unavailable => "Unavailable",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unknown => "Unknown",
        }
    }
}

/// The kind of a refusal.
pub(crate) fn refusal_kind(refusal: &Refusal) -> ErrorKind {
    match refusal {
        Refusal::NoUser(_) | Refusal::NoGroup(_) | Refusal::NoPage(_) => ErrorKind::NotFound,
        _ => ErrorKind::FailedPrecondition,
    }
}

/// The kind of a failure of the database. Agents retry `Unavailable` and `DeadlineExceeded` and nothing else.
pub(crate) fn database_kind(error: &DatabaseError) -> ErrorKind {
    let Some(error) = error.postgres() else { return ErrorKind::FailedPrecondition };
    match error {
        // The password may be changing on both sides at the moment.
        PostgresError::LoginRefused { .. }
        | PostgresError::Connect { .. }
        | PostgresError::StillConnecting { .. }
        | PostgresError::PoolExhausted { .. }
        | PostgresError::Interrupted { .. }
        | PostgresError::Uncertain { .. } => ErrorKind::Unavailable,
        PostgresError::Timeout { .. } | PostgresError::Locked { .. } | PostgresError::Silent { .. } => {
            ErrorKind::DeadlineExceeded
        }
        PostgresError::ConnectForbidden { .. }
        | PostgresError::Forbidden { .. }
        | PostgresError::ReadOnly { .. }
        | PostgresError::NoTransactions { .. }
        | PostgresError::Refused { .. }
        | PostgresError::UnknownSchema { .. } => ErrorKind::FailedPrecondition,
        PostgresError::Gone { .. } => ErrorKind::NotFound,
        PostgresError::BadValue { .. } => ErrorKind::InvalidArgument,
        PostgresError::Statement { .. } => ErrorKind::Internal,
    }
}

/// The kind of a failure of the REST API.
pub(crate) fn rest_kind(problem: &Problem) -> ErrorKind {
    match problem {
        Problem::Refused { status, .. } => match status {
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            408 => ErrorKind::DeadlineExceeded,
            409 => ErrorKind::AlreadyExists,
            429 => ErrorKind::Unavailable,
            400..=499 => ErrorKind::InvalidArgument,
            501 => ErrorKind::Unimplemented,
            500..=599 => ErrorKind::Unavailable,
            _ => ErrorKind::Unknown,
        },
        // A retry fails the same way until an operator changes a setting, the plan or the certificates.
        Problem::Redirect { .. }
        | Problem::NotJson { .. }
        | Problem::Declined { .. }
        | Problem::Untrusted { .. } => ErrorKind::FailedPrecondition,
        Problem::Timeout { .. } => ErrorKind::DeadlineExceeded,
        Problem::Unreachable { .. } | Problem::Closed { .. } => ErrorKind::Unavailable,
        Problem::Incomplete { .. } | Problem::TooLarge { .. } => ErrorKind::Internal,
    }
}

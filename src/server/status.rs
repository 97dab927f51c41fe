//! The one place where errors become gRPC statuses (spec 2.2, issue's "Bad input", D17).

use std::any::Any;

use http::{HeaderValue, Response, header};
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::connector::error::Error;
use crate::connector::rest;
use crate::postgres::error::PostgresError;
use crate::proto::log_text::logged_as;
use crate::retool::api::error::Problem;
use crate::retool::change::Refusal;
use crate::retool::error::DatabaseError;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, message, for_log) = (code(&error), error.to_string(), error.for_log());
        let Error::Rest { error, .. } = &error else { return logged_as(Self::new(code, message), for_log) };
        // Agents wait as long as this says, and by their own rule otherwise (D27).
        let details = pb::Status {
            code: code.into(),
            message: message.clone(),
            details: vec![rest::annotation(&error.rate_limit)],
        };
        logged_as(Self::with_details(code, message, details.encode_to_vec().into()), for_log)
    }
}

/// The error as the answer of an action that failed has it: the code's name first (spec 4.8).
pub(super) fn in_words(error: &Error) -> String {
    format!("{:?}: {error}", code(error))
}

fn code(error: &Error) -> Code {
    match error {
        Error::UnknownResourceType { .. }
        | Error::NotFound { .. }
        | Error::UnknownAction { .. }
        | Error::UnknownEventFeed { .. } => Code::NotFound,
        Error::Missing { .. }
        | Error::MalformedId { .. }
        | Error::WrongParent { .. }
        | Error::PageToken(_)
        | Error::PageSize { .. }
        | Error::ResourceTooLarge { .. } => Code::InvalidArgument,
        Error::ProvisioningDisabled | Error::NoRest | Error::DifferentRetools => Code::FailedPrecondition,
        Error::Rest { error, .. } => rest_code(&error.problem),
        Error::Unverified { .. } | Error::RunBroken => Code::Internal,
        Error::UnknownRun { .. } => Code::NotFound,
        Error::TooManyRuns { .. } => Code::ResourceExhausted,
        Error::RunTooLong { .. } => Code::DeadlineExceeded,
        Error::Argument { .. } => Code::InvalidArgument,
        Error::Refused(refusal) => refusal_code(refusal),
        // As the former program: agents know the text, not the code (spec, child process 8).
        Error::TicketingDisabled => Code::Unknown,
        Error::NoTickets | Error::NotImplemented { .. } => Code::Unimplemented,
        Error::Database(error) => database_code(error),
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::NoUser(_) | Refusal::NoGroup(_) | Refusal::NoPage(_) => Code::NotFound,
        _ => Code::FailedPrecondition,
    }
}

/// Agents try again on Unavailable and DeadlineExceeded, and on nothing else (sync 13).
fn database_code(error: &DatabaseError) -> Code {
    let Some(error) = error.postgres() else { return Code::FailedPrecondition };
    match error {
        PostgresError::Connect { .. }
        | PostgresError::StillConnecting { .. }
        | PostgresError::PoolExhausted { .. }
        | PostgresError::Interrupted { .. }
        | PostgresError::Uncertain { .. } => Code::Unavailable,
        PostgresError::Timeout { .. } | PostgresError::Silent { .. } => Code::DeadlineExceeded,
        PostgresError::ConnectForbidden { .. }
        | PostgresError::Forbidden { .. }
        | PostgresError::ReadOnly { .. }
        | PostgresError::Refused { .. }
        | PostgresError::UnknownSchema { .. } => Code::FailedPrecondition,
        PostgresError::Gone { .. } => Code::NotFound,
        PostgresError::BadValue { .. } => Code::InvalidArgument,
        PostgresError::Statement { .. } => Code::Internal,
    }
}

/// The table of spec 4.5, and what it leaves open.
fn rest_code(problem: &Problem) -> Code {
    match problem {
        Problem::Refused { status, .. } => match status {
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::NotFound,
            408 => Code::DeadlineExceeded,
            409 => Code::AlreadyExists,
            429 => Code::Unavailable,
            400..=499 => Code::InvalidArgument,
            501 => Code::Unimplemented,
            500..=599 => Code::Unavailable,
            _ => Code::Unknown,
        },
        // Another attempt meets the same until somebody changes a setting, the plan or the certificates.
        Problem::Redirect { .. }
        | Problem::NotJson { .. }
        | Problem::Declined { .. }
        | Problem::Untrusted { .. } => Code::FailedPrecondition,
        Problem::Timeout { .. } => Code::DeadlineExceeded,
        Problem::Unreachable { .. } | Problem::Closed { .. } => Code::Unavailable,
        Problem::Incomplete { .. } | Problem::TooLarge { .. } => Code::Internal,
    }
}

/// Answers a call whose handler panicked. What it said goes to the log only.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words");
    tracing::error!(panic = said, "a call panicked; the server goes on");
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(Code::Internal as i32));
    headers.insert("grpc-message", HeaderValue::from_static("Internal%20Server%20Error"));
    response
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_call_is_answered_with_internal() {
        use tower::{Service, ServiceExt};
        use tower_http::catch_panic::CatchPanic;

        let broken = tower::service_fn(|_: http::Request<Body>| async {
            if true {
                panic!("secret");
            }
            Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
        });
        let mut caught = CatchPanic::custom(broken, panicked);
        let ready = caught.ready().await.unwrap_or_else(|never| match never {});
        let response =
            ready.call(http::Request::new(Body::empty())).await.unwrap_or_else(|never| match never {});
        assert_eq!(response.headers()["grpc-status"], "13");
        assert!(!format!("{:?}", response.headers()).contains("secret"));
    }
}

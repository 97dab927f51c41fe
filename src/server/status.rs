//! The one place where errors become gRPC statuses (spec 2.2, issue's "Bad input", D17).

use std::any::Any;

use http::{HeaderValue, Response, header};
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::connector::error::{Error, ErrorKind};
use crate::proto::log_text::logged_as;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, message, for_log) = (code(error.kind()), error.for_caller(), error.to_string());
        let Some(detail) = error.detail() else { return logged_as(Self::new(code, message), for_log) };
        // Agents wait as long as this says, and by their own rule otherwise.
        let details = pb::Status { code: code.into(), message: message.clone(), details: vec![detail] };
        logged_as(Self::with_details(code, message, details.encode_to_vec().into()), for_log)
    }
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unknown => Code::Unknown,
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

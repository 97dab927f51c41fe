//! Prevents a panic in one call from ending the server.

use std::any::Any;

use http::{HeaderValue, Response, header};
use tonic::Code;
use tonic::body::Body;

/// The answer to a call whose handler panicked. The panic message is only logged.
pub(crate) fn internal_error(panic: Box<dyn Any + Send + 'static>) -> Response<Body> {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    tracing::error!(panic = said, "a call panicked; the server continues");
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
        let mut caught = CatchPanic::custom(broken, internal_error);
        let ready = caught.ready().await.unwrap_or_else(|never| match never {});
        let response =
            ready.call(http::Request::new(Body::empty())).await.unwrap_or_else(|never| match never {});
        assert_eq!(response.headers()["grpc-status"], "13");
        assert!(!format!("{:?}", response.headers()).contains("secret"));
    }
}

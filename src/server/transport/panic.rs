//! Prevents a panic in one call from ending the server.

use std::any::Any;
use std::sync::LazyLock;

use http::{HeaderValue, Response, header};
use tonic::Code;
use tonic::body::Body;

use crate::repeats::{Repeats, Verdict};

/// Limits the lines, because a caller may be able to cause a panic with every call.
static LINES: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(10));

/// The answer to a call whose handler panicked. The panic hook has logged the location. The panic message can
/// contain personal data, so it is not logged.
pub(crate) fn internal_error(_: Box<dyn Any + Send + 'static>) -> Response<Body> {
    if let Verdict::Log { left_out } = LINES.judge("panic", None) {
        tracing::error!(left_out, "a call panicked; the server continues");
    }
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

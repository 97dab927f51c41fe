//! Refuses requests that are not gRPC requests. A web page can make a browser send requests with some content
//! types to any server, with the client certificate of the user. `application/grpc` is not one of these
//! types.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tonic::Status;
use tonic::body::Body;
use tower_http::validate_request::ValidateRequest;

use crate::proto::log_text::logged_in_full;

/// Admits requests that have the method and the content type of gRPC.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GrpcOnly;

impl<B> ValidateRequest<B> for GrpcOnly {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<Body>> {
        let (status, problem) = if request.method() != Method::POST {
            (StatusCode::METHOD_NOT_ALLOWED, "the method of a call has to be POST")
        } else if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type of a call has to be application/grpc")
        } else {
            return Ok(());
        };
        let mut refusal = logged_in_full(Status::invalid_argument(problem)).into_http();
        *refusal.status_mut() = status;
        if status == StatusCode::METHOD_NOT_ALLOWED {
            refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        Err(refusal)
    }
}

/// Whether the type is `application/grpc`, with any message encoding and any parameters.
fn is_grpc(content_type: &HeaderValue) -> bool {
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(method: Method, content_type: Option<&str>) -> Option<u16> {
        let mut request = Request::builder().method(method);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let refusal = GrpcOnly.validate(&mut request.body(()).unwrap()).err()?;
        assert_eq!(refusal.headers()["grpc-status"], "3");
        Some(refusal.status().as_u16())
    }

    #[test]
    fn only_grpc_posts_are_admitted() {
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert_eq!(refused(Method::POST, Some(content_type)), None, "{content_type}");
            assert_eq!(refused(Method::GET, Some(content_type)), Some(405), "{content_type}");
        }
        let others = ["text/plain", "multipart/form-data", "application/json", "application/grpc-web", ""];
        for content_type in others {
            assert_eq!(refused(Method::POST, Some(content_type)), Some(415), "{content_type}");
        }
        assert_eq!(refused(Method::POST, None), Some(415));
        assert_eq!(refused(Method::CONNECT, None), Some(405));
    }
}

//! Authentication by bearer token. A caller without a token gets only the error that a token is required.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, header};
use tonic::Status;
use tonic::body::Body;
use tower_http::validate_request::ValidateRequest;

use crate::proto::log_text::logged_in_full;
use crate::server::transport::connection::Peer;
use crate::server::transport::connection_slots::NoFreeSlot;
use crate::server::transport::health_calls::is_health_check;
use crate::server::transport::tokens::{TokenId, Tokens};

/// Admits calls that have one of the tokens, and health checks if they need no token.
#[derive(Debug, Clone)]
pub(crate) struct TokenCheck {
    /// `None` if no token is needed.
    pub(crate) tokens: Option<Tokens>,
    /// Health checks need no token.
    pub(crate) open_health: bool,
}

/// The reason why a call is admitted.
enum Admitted {
    /// No token is needed. If the call is a health check, the caller is unknown.
    Openly,
    /// The call has this token.
    By(TokenId),
}

impl TokenCheck {
    fn admits<B>(&self, request: &Request<B>) -> Option<Admitted> {
        let Some(tokens) = &self.tokens else { return Some(Admitted::Openly) };
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let open = || (self.open_health && is_health_check(request)).then_some(Admitted::Openly);
        token.and_then(|token| tokens.accept(token)).map(Admitted::By).or_else(open)
    }
}

impl<B> ValidateRequest<B> for TokenCheck {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<Body>> {
        keep_bounded_path(request);
        let Some(admitted) = self.admits(request) else {
            return Err(logged_in_full(Status::unauthenticated("a bearer token is required")).into_http());
        };
        let token = match admitted {
            Admitted::Openly => None,
            Admitted::By(token) => {
                request.extensions_mut().insert(token);
                Some(token)
            }
        };
        keep_needed_headers(request);
        if token.is_none() && is_health_check(request) {
            return Ok(());
        }
        let trusted = request.extensions().get::<Peer>().map_or(Ok(()), |peer| peer.slot.trust(token));
        match trusted {
            Err(full) if !is_health_check(request) => Err(no_free_slot(&full).into_http()),
            _ => Ok(()),
        }
    }
}

fn no_free_slot(NoFreeSlot { most }: &NoFreeSlot) -> Status {
    logged_in_full(Status::unavailable(format!(
        "calls are in progress on {most} connections, the maximum (--max-connections); retry later"
    )))
}

/// Removes everything from a call that its answer does not need, because a call without a message does not count as
/// a call in progress, and its headers would use memory. The rest is copied because the headers of a frame share
/// memory.
fn keep_needed_headers<B>(request: &mut Request<B>) {
    const NEEDED: [HeaderName; 6] = [
        header::CONTENT_TYPE,
        header::TE,
        HeaderName::from_static("grpc-timeout"),
        HeaderName::from_static("grpc-encoding"),
        HeaderName::from_static("grpc-accept-encoding"),
        HeaderName::from_static("x-request-id"),
    ];
    const LONGEST: usize = 128;
    let mut needed = HeaderMap::new();
    for name in NEEDED {
        let value = request.headers().get(&name).map(HeaderValue::as_bytes);
        let value = value.filter(|value| value.len() <= LONGEST);
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
            needed.insert(name, value);
        }
    }
    *request.headers_mut() = needed;
}

/// Removes everything from the URI except a path of usual length. It is copied for the same reason, and must precede
/// every decision about the path.
fn keep_bounded_path<B>(request: &mut Request<B>) {
    const LONGEST: usize = 256;
    let path = Some(request.uri().path()).filter(|path| path.len() <= LONGEST);
    // No method has a longer path, and none has the path `/`.
    *request.uri_mut() = path.and_then(|path| Uri::try_from(path).ok()).unwrap_or_default();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_call_keeps_no_long_path() {
        let mut check = TokenCheck { tokens: None, open_health: true };
        let method = "/c1.connector.v2.ConnectorService/Validate".to_owned();
        for (path, kept) in [
            (&method, method.as_str()),
            (&format!("{method}?{}", "a".repeat(10_000)), &method),
            (&format!("/{}", "a".repeat(10_000)), "/"),
        ] {
            let mut request = Request::builder().uri(path.as_str()).body(()).unwrap();
            check.validate(&mut request).unwrap();
            assert_eq!(request.uri().to_string(), kept);
        }
    }

    #[test]
    fn only_the_calls_of_the_health_service_need_no_token() {
        let tokens = Some(Tokens::of(vec!["0123456789abcdef".to_owned().into()]));
        let mut check = TokenCheck { tokens, open_health: true };
        let long = "a".repeat(300);
        for (method, admitted) in [
            ("Check", true),
            ("List", true),
            ("Watch", true),
            ("Check?a=b", true),
            ("Other", false),
            ("CheckOther", false),
            ("", false),
            (long.as_str(), false),
        ] {
            let path = format!("/grpc.health.v1.Health/{method}");
            let mut request = Request::builder().uri(path).body(()).unwrap();
            assert_eq!(check.validate(&mut request).is_ok(), admitted, "{method}");
        }
    }

    #[test]
    fn a_call_keeps_only_the_headers_that_it_needs() {
        let tokens = Some(Tokens::of(vec!["0123456789abcdef".to_owned().into()]));
        let mut check = TokenCheck { tokens, open_health: true };
        let long = "x".repeat(10_000);
        for (path, token) in [
            ("/grpc.health.v1.Health/Check", None),
            ("/c1.connector.v2.ConnectorService/Validate", Some("Bearer 0123456789abcdef")),
        ] {
            let mut request = Request::builder()
                .uri(format!("http://{}{path}", "a".repeat(200)))
                .header("content-type", "application/grpc")
                .header("grpc-timeout", "5S")
                .header("grpc-encoding", &long)
                .header("x-request-id", "2ABCdef")
                .header("x-long", &long);
            for _ in 0..100 {
                request = request.header("age", "");
            }
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            let mut request = request.body(()).unwrap();
            check.validate(&mut request).unwrap();
            assert_eq!(request.uri().to_string(), path);
            assert_eq!(request.headers().len(), 3, "{:?}", request.headers());
            assert_eq!(request.headers()["grpc-timeout"], "5S");
            assert_eq!(request.headers()["x-request-id"], "2ABCdef");
        }
    }

    #[test]
    fn only_a_bearer_token_is_admitted() {
        let check = TokenCheck {
            tokens: Some(Tokens::of(vec!["0123456789abcdef".to_owned().into()])),
            open_health: true,
        };
        let admits = |path: &str, header: Option<&str>| {
            let mut request = Request::builder().uri(path);
            if let Some(header) = header {
                request = request.header(header::AUTHORIZATION, header);
            }
            check.admits(&request.body(()).unwrap()).is_some()
        };
        assert!(admits("/a.B/C", Some("Bearer 0123456789abcdef")));
        assert!(admits("/a.B/C", Some("bearer  0123456789abcdef")));
        assert!(!admits("/a.B/C", Some("Basic 0123456789abcdef")));
        assert!(!admits("/a.B/C", Some("Bearer")));
        assert!(!admits("/a.B/C", None));
        assert!(admits("/grpc.health.v1.Health/Check", None));
        assert!(!admits("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", None));
    }
}

//! Which calls are health checks, and which are not over with one answer. Health checks have rules of their own: a probe gets an answer also without a token
//! where that is configured, and when the server is full.

use http::Request;

/// The call whose answer goes on without end.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// What the paths of reflection begin with, in either version.
const REFLECTION: &str = "/grpc.reflection.";

/// What a call needs of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// One message, one answer.
    Ordinary,
    /// The same, and hardly any work.
    HealthCheck,
    /// One message, and an answer without end.
    HealthWatch,
    /// Messages and answers in turn.
    Reflection,
}

/// What the request needs.
pub(crate) fn kind<B>(request: &Request<B>) -> CallKind {
    match request.uri().path() {
        WATCH => CallKind::HealthWatch,
        path if path.starts_with(PATH) => CallKind::HealthCheck,
        path if path.starts_with(REFLECTION) => CallKind::Reflection,
        _ => CallKind::Ordinary,
    }
}

/// What the paths of health checks begin with.
const PATH: &str = "/grpc.health.v1.Health/";

/// Whether the request calls the health service.
pub(crate) fn is_health_check<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(PATH)
}

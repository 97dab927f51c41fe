//! Identifies health checks and calls with more than one answer. Health checks have their own rules: a probe
//! is answered without a token if this is configured, and also if the server is full.

use http::Request;

/// The calls of the health service with one answer.
const HEALTH_CHECKS: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List"];
/// The call whose answer does not end.
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// The prefix of the paths of reflection, in both versions.
const REFLECTION: &str = "/grpc.reflection.";

/// The kind of a call, which decides the resources that it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// One message, one answer.
    Ordinary,
    /// One message, one answer, and little work.
    HealthCheck,
    /// One message, and an answer that does not end.
    HealthWatch,
    /// Alternating messages and answers.
    Reflection,
}

/// The kind of call of the request.
pub(crate) fn kind<B>(request: &Request<B>) -> CallKind {
    match request.uri().path() {
        WATCH => CallKind::HealthWatch,
        path if HEALTH_CHECKS.contains(&path) => CallKind::HealthCheck,
        path if path.starts_with(REFLECTION) => CallKind::Reflection,
        _ => CallKind::Ordinary,
    }
}

/// Whether the request calls the health service.
pub(crate) fn is_health_check<B>(request: &Request<B>) -> bool {
    matches!(kind(request), CallKind::HealthCheck | CallKind::HealthWatch)
}

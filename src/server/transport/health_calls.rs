//! Which calls are health checks. They have rules of their own: a probe gets an answer also without a token
//! where that is configured, and when the server is full.

use http::Request;

/// What the paths of health checks begin with.
const PATH: &str = "/grpc.health.v1.Health/";

/// Whether the request calls the health service.
pub(crate) fn is_health_check<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with(PATH)
}

//! The limits of what callers may use, so that one caller leaves enough for the others.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use http::{Request, Response};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::monitoring_http;
use crate::proto::log_text::logged_in_full;
use crate::server::transport::connection::Peer;
use crate::server::transport::deadline::{deadline_exceeded, requested_timeout};
use crate::server::transport::health_calls::is_health_check;
use crate::server::transport::response_body::{CallDeadline, ResponseBody, oversized_as_exhausted};

/// The server's limits. [`Limits::DEFAULT`] has what `--help` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Limits {
    /// Connections at a time, at least 1; one more is closed at once.
    #[serde(rename = "max-connections")]
    pub connections: usize,
    /// Calls at a time on one connection, at least 1; more wait in the client.
    #[serde(rename = "max-streams")]
    pub streams: u32,
    /// Calls at a time on all connections, at least 1; one more is answered Unavailable, which agents try
    /// again.
    #[serde(rename = "max-requests")]
    pub requests: usize,
    /// Largest request in bytes, besides a page token.
    #[serde(rename = "max-request-bytes")]
    pub request_bytes: usize,
    /// Largest answer in bytes, at least 2 MiB: listings stay under that by themselves.
    #[serde(rename = "max-response-bytes")]
    pub response_bytes: usize,
    /// Largest set of request headers in bytes.
    #[serde(rename = "max-header-bytes")]
    pub header_bytes: u32,
    /// Longest that a call may take; a shorter `grpc-timeout` of the client's wins. Not zero.
    #[serde(rename = "request-timeout-seconds")]
    pub deadline: Duration,
    /// How often a silent connection is pinged. Not zero.
    #[serde(rename = "keepalive-interval-seconds")]
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take. Not zero.
    #[serde(rename = "keepalive-timeout-seconds")]
    pub keepalive_timeout: Duration,
    /// How long calls may still take after the server has begun to stop; zero ends them at once.
    #[serde(rename = "shutdown-grace-seconds")]
    pub grace: Duration,
}

const MIB: usize = 1024 * 1024;

impl Limits {
    /// The limits where no setting says otherwise.
    pub(crate) const DEFAULT: Self = Self {
        connections: 4096,
        streams: 256,
        requests: 512,
        request_bytes: MIB,
        response_bytes: 4 * MIB,
        header_bytes: 16 * 1024,
        deadline: Duration::from_secs(300),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(20),
        grace: Duration::from_secs(30),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Answers Unavailable to calls over the limit, and DeadlineExceeded to a call that takes too long: agents
/// retry both, and would not retry the Cancelled that tonic answers.
#[derive(Debug, Clone)]
pub(crate) struct CallLimitLayer {
    permits: Arc<Semaphore>,
    most: usize,
    deadline: Duration,
}

/// See [`CallLimitLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallLimit<S> {
    inner: S,
    rules: CallLimitLayer,
}

impl CallLimitLayer {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.requests)),
            most: limits.requests,
            deadline: limits.deadline,
        }
    }
}

impl<S> Layer<S> for CallLimitLayer {
    type Service = CallLimit<S>;

    fn layer(&self, inner: S) -> CallLimit<S> {
        CallLimit { inner, rules: self.clone() }
    }
}

impl<S> Service<Request<Body>> for CallLimit<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Probes get an answer also when the server is full, and may watch the health without end.
        if is_health_check(&request) {
            return self.inner.call(request).boxed();
        }
        let Ok(permit) = Arc::clone(&self.rules.permits).try_acquire_owned() else {
            let refusal = logged_in_full(Status::unavailable(format!(
                "{} calls are under way already (--max-requests); try again later",
                self.rules.most
            )));
            return async { Ok(refusal.into_http()) }.boxed();
        };
        let closer = request.extensions().get::<Peer>().map(|peer| peer.closer.clone());
        let longest = self.rules.deadline;
        let timeout =
            requested_timeout(request.headers()).map_or(longest, |requested| requested.min(longest));
        let due = Instant::now() + timeout;
        let answer = timeout_at(due, self.inner.call(request));
        async move {
            match answer.await {
                Ok(answer) => answer.map(|mut answer| {
                    oversized_as_exhausted(answer.headers_mut());
                    answer.map(|body| {
                        let deadline = CallDeadline { due: Box::pin(sleep_until(due)), timeout };
                        Body::new(ResponseBody::new(
                            body,
                            deadline,
                            permit,
                            closer.map(|closer| (closer, longest)),
                        ))
                    })
                }),
                Err(_) => Ok(deadline_exceeded(timeout).into_http()),
            }
        }
        .boxed()
    }
}

/// Raises the limit on open files to what so many connections need, and warns when that is not possible:
/// connections over the limit would then wait without an answer instead of being closed.
pub(crate) fn allow_open_files(connections: usize) {
    let wanted = u64::try_from(connections.saturating_add(OTHER_FILES)).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(most) if most >= wanted => {}
        Ok(most) => tracing::warn!(
            open_files = most,
            max_connections = connections,
            "the limit on open files is too low for --max-connections: raise it (ulimit -n) or lower that"
        ),
        Err(error) => tracing::warn!(%error, "cannot tell how many files may be open (ulimit -n)"),
    }
}

/// About as many as the database's pool, the logs and the rest may need, and as many as the ports for probes
/// and for Prometheus take.
const OTHER_FILES: usize = 64 + 2 * monitoring_http::CONNECTIONS;

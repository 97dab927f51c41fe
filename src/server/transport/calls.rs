//! Admits calls while there is capacity, and ends calls that take too long.
//!
//! A call takes its share of the limits when its message has arrived, and releases it when the client has read the
//! answer. Calls that can last indefinitely have limits of their own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::FutureExt;
use http::{Request, Response};
use tokio::time::{sleep_until, timeout_at};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::proto::log_text::logged_in_full;
use crate::server::transport::connection::Peer;
use crate::server::transport::connection_slots::{Begun, Busy};
use crate::server::transport::deadline::{deadline_exceeded, due, requested_timeout};
use crate::server::transport::health_calls::{CallKind, kind};
use crate::server::transport::limits::Limits;
use crate::server::transport::quota::{Full, Hold, Quota, Shares, Who};
use crate::server::transport::request_body;
use crate::server::transport::request_memory::PAGE_TOKEN;
use crate::server::transport::response_body::{CallDeadline, MaxWait, ResponseBody, oversized_as_exhausted};
use crate::server::transport::who::who;

/// Returns Unavailable to calls over the limit, and DeadlineExceeded to a call that takes too long. Agents
/// retry both, but would not retry the Cancelled that tonic returns.
#[derive(Debug, Clone)]
pub(crate) struct CallLimitLayer(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    calls: Quota,
    watches: Quota,
    reflections: Quota,
    /// Bytes of requests.
    requests: Quota,
    /// Bytes of answers.
    answers: Quota,
    /// Bytes of requests and answers of health checks and watches.
    health: Quota,
    most_bytes: usize,
    deadline: Duration,
    stall: Duration,
}

/// See [`CallLimitLayer`].
#[derive(Debug, Clone)]
pub(crate) struct CallLimit<S> {
    inner: S,
    rules: Arc<Rules>,
}

const MIB: usize = 1024 * 1024;
/// The minimum of the limits in bytes: for all requests in progress, and for all answers that clients have
/// not read yet.
const REQUEST_BYTES: usize = 32 * MIB;
const ANSWER_BYTES: usize = 64 * MIB;
/// The largest message of a health check, in bytes: the name of a service.
const HEALTH_BYTES: usize = 4096;
/// The most bytes of health checks in progress on one connection. Other calls cannot use them up.
const HEALTH: Shares = Shares { total: usize::MAX, connection: 16 * HEALTH_BYTES };
/// The limits of health watches and of reflection calls.
const WATCHES: Shares = Shares { total: 128, connection: 4 };
const REFLECTIONS: Shares = Shares { total: 32, connection: 4 };

impl CallLimitLayer {
    pub(crate) fn new(limits: &Limits) -> Self {
        // Smaller calls are limited by their own, lower limit.
        let most_bytes = limits.request_bytes.saturating_add(PAGE_TOKEN);
        // A request or answer of the largest size always fits.
        let bytes =
            |least: usize, largest: usize| Quota::new(Shares::of(least.max(largest.saturating_mul(4))));
        Self(Arc::new(Rules {
            calls: Quota::new(Shares::of(limits.requests)),
            watches: Quota::new(WATCHES),
            reflections: Quota::new(REFLECTIONS),
            requests: bytes(REQUEST_BYTES, most_bytes),
            answers: bytes(ANSWER_BYTES, limits.response_bytes),
            health: Quota::new(HEALTH),
            most_bytes,
            deadline: limits.deadline,
            stall: limits.stall,
        }))
    }

    /// How many concurrent calls to announce per connection. More calls would be refused, but a client that
    /// knows the limit waits.
    pub(crate) fn streams(limits: &Limits) -> u32 {
        /// Extra streams for a client, such as a watch of the health.
        const FEW: usize = 8;
        let share = Shares::of(limits.requests).connection.max(FEW);
        limits.streams.min(u32::try_from(share).unwrap_or(u32::MAX))
    }
}

impl<S> Layer<S> for CallLimitLayer {
    type Service = CallLimit<S>;

    fn layer(&self, inner: S) -> CallLimit<S> {
        CallLimit { inner, rules: Arc::clone(&self.0) }
    }
}

impl<S> Service<Request<Body>> for CallLimit<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone replaces the service that is ready.
        let inner = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, inner);
        answer(inner, Arc::clone(&self.rules), request).boxed()
    }
}

async fn answer<S>(
    mut inner: S,
    rules: Arc<Rules>,
    request: Request<Body>,
) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let longest = rules.deadline;
    let timeout = requested_timeout(request.headers()).map_or(longest, |requested| requested.min(longest));
    let due = due(timeout);
    let peer = request.extensions().get::<Peer>().cloned();
    let who = who(&request);
    let kind = kind(&request);
    let answer = async {
        let (request, held) = match rules.admit(request, kind, who).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok((refusal.into_http(), None)),
        };
        inner.call(request).await.map(|answer| (answer, Some(held)))
    };
    let (answer, held) = match timeout_at(due, answer).await {
        Ok(Ok((answer, Some(held)))) => (answer, held),
        Ok(Ok((refusal, None))) => return Ok(refusal),
        Ok(Err(error)) => return Err(error),
        Err(_) => return Ok(deadline_exceeded(timeout).into_http()),
    };
    let (mut parts, body) = answer.into_parts();
    oversized_as_exhausted(&mut parts.headers);
    request_body::undecodable_as_invalid(&mut parts);
    let deadline = CallDeadline { due: Box::pin(sleep_until(due)), timeout };
    let deadline = Some(deadline).filter(|_| kind != CallKind::HealthWatch);
    let max_wait = MaxWait { stall: rules.stall.min(longest), total: longest };
    let slow_client = peer.map(|peer| (peer, max_wait));
    let answers = if is_health(kind) { &rules.health } else { &rules.answers };
    let body = ResponseBody::new(body, deadline, (answers.clone(), who), held, slow_client);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// The resources that a call holds until the client has read its answer.
struct Held {
    _busy: Option<Busy>,
    _slot: Option<Hold>,
    _bytes: Option<Hold>,
}

impl Rules {
    /// Returns the request with its whole message, and the resources that the call holds from now on.
    ///
    /// # Errors
    /// The status for a call that is not admitted.
    async fn admit(
        &self,
        request: Request<Body>,
        kind: CallKind,
        who: Who,
    ) -> Result<(Request<Body>, Held), Status> {
        let peer = request.extensions().get::<Peer>();
        let begun = peer.map(|peer| peer.slot.begin().ok_or_else(unauthenticated_refused)).transpose()?;
        if kind == CallKind::Reflection {
            let slot = self.reflections.take(who, 1).map_err(|full| refused("reflection calls", "", full))?;
            let held = Held { _busy: begun.map(Begun::admit), _slot: Some(slot), _bytes: None };
            return Ok((request, held));
        }
        let (most, requests) = match is_health(kind) {
            true => (HEALTH_BYTES, &self.health),
            false => (self.most_bytes, &self.requests),
        };
        let (parts, body) = request.into_parts();
        let (body, bytes) =
            request_body::whole(&parts.headers, body, most, self.stall, requests.open(who)).await?;
        let slot = match kind {
            // Probes are answered even if the server is full.
            CallKind::HealthCheck | CallKind::Reflection => None,
            CallKind::HealthWatch => {
                Some(self.watches.take(who, 1).map_err(|full| refused("health watches", "", full))?)
            }
            CallKind::Ordinary => {
                Some(self.calls.take(who, 1).map_err(|full| refused("calls", " (--max-requests)", full))?)
            }
        };
        let held = Held { _busy: begun.map(Begun::admit), _slot: slot, _bytes: Some(bytes) };
        Ok((Request::from_parts(parts, body), held))
    }
}

fn is_health(kind: CallKind) -> bool {
    matches!(kind, CallKind::HealthCheck | CallKind::HealthWatch)
}

fn refused(what: &str, setting: &str, Full { whose, most }: Full) -> Status {
    logged_in_full(Status::unavailable(format!(
        "{most} {what} are already in progress, the maximum for {whose}{setting}; retry later"
    )))
}

fn unauthenticated_refused() -> Status {
    logged_in_full(Status::unavailable(
        "too many calls without a token are in progress on this connection; retry later",
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    use super::*;

    fn echo(
        layer: &CallLimitLayer,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + use<> {
        layer.layer(tower::service_fn(async |request: Request<Body>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        }))
    }

    fn request(path: &str) -> Request<Body> {
        let body = Body::new(Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 7, 7])));
        Request::builder().uri(path).body(body).unwrap()
    }

    #[tokio::test]
    async fn health_checks_are_answered_while_all_other_bytes_are_in_use() {
        let layer = CallLimitLayer::new(&Limits::DEFAULT);
        let (first, second) =
            (Who::default(), Who { network: Some([10, 0, 0, 1].into()), connection: 1, token: None });
        let fill = |quota: &Quota, total: usize| {
            [quota.take(first, total / 2).unwrap(), quota.take(second, total / 2).unwrap()]
        };
        let requests = fill(&layer.0.requests, REQUEST_BYTES);
        let _answers = fill(&layer.0.answers, ANSWER_BYTES);
        let refused = echo(&layer).call(request("/a.B/C")).await.unwrap();
        assert_eq!(refused.headers()["grpc-status"], (Code::Unavailable as i32).to_string());
        for path in ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"] {
            let answer = echo(&layer).call(request(path)).await.unwrap();
            let body = answer.into_body().collect().await.unwrap();
            assert!(body.trailers().is_none(), "{path}");
            assert_eq!(body.to_bytes().len(), 7, "{path}");
        }
        drop(requests);
        let answer = echo(&layer).call(request("/a.B/C")).await.unwrap();
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(trailers["grpc-status"], (Code::Unavailable as i32).to_string());
    }
}

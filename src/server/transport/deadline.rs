//! The longest duration of a call.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::numbers;
use crate::proto::log_text::logged_in_full;

/// Ends calls of a caller in this process that take too long. [`CallLimitLayer`] does so for calls on a port.
///
/// [`CallLimitLayer`]: crate::server::transport::calls::CallLimitLayer
#[derive(Debug, Clone, Copy)]
pub(super) struct DeadlineLayer(Duration);

impl DeadlineLayer {
    pub(super) fn new(longest: Duration) -> Self {
        Self(longest)
    }
}

/// See [`DeadlineLayer`].
#[derive(Debug, Clone)]
pub(super) struct DeadlineService<S> {
    inner: S,
    longest: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, longest: self.0 }
    }
}

impl<S> Service<Request<Body>> for DeadlineService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let longest = call_timeout(request.headers(), self.longest);
        let answer = timeout(longest, self.inner.call(request));
        answer
            .map(move |answer| answer.unwrap_or_else(|_| Ok(deadline_exceeded(longest).into_http())))
            .boxed()
    }
}

/// The longest duration of a call with these headers: the shorter one of the limit and the client's timeout.
pub(crate) fn call_timeout(headers: &HeaderMap, longest: Duration) -> Duration {
    requested_timeout(headers).map_or(longest, |requested| requested.min(longest))
}

/// Maximum time by which a call ends before its timeout.
const MARGIN: Duration = Duration::from_millis(50);

/// When a call that starts now must end. tonic has a timer of its own for the client's timeout, which answers
/// Cancelled, so this is slightly earlier.
pub(crate) fn due(timeout: Duration) -> Instant {
    Instant::now() + timeout.saturating_sub((timeout / 20).min(MARGIN))
}

/// The status of a call that exceeded its deadline.
pub(crate) fn deadline_exceeded(timeout: Duration) -> Status {
    logged_in_full(Status::deadline_exceeded(format!(
        "the call took longer than {}: its own deadline or --request-timeout-seconds, \
         whichever is shorter",
        numbers::duration(timeout)
    )))
}

/// The timeout that the client requests, in the format of gRPC: up to eight digits and a unit.
pub(crate) fn requested_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number.checked_mul(3600)?),
        "M" => Duration::from_secs(number.checked_mul(60)?),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

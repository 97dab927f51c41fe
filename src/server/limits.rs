//! What one caller may take from the server, so that there is always some left for the others.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Either, FutureExt};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The server's limits. [`Limits::default`] has what `--help` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; one more is closed at once.
    pub connections: usize,
    /// Calls at a time on one connection; more wait in the client.
    pub streams: u32,
    /// Calls at a time on all connections; one more is answered Unavailable, which agents try again.
    pub requests: usize,
    /// Largest request in bytes.
    pub request_bytes: usize,
    /// Largest answer in bytes. Listings stay under 2 MiB by themselves.
    pub response_bytes: usize,
    /// Largest set of request headers in bytes.
    pub header_bytes: u32,
    /// Longest that a call may take; a shorter `grpc-timeout` of the client's wins.
    pub deadline: Duration,
    /// How often a silent connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take.
    pub keepalive_timeout: Duration,
    /// How long calls may still take once the server has been told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            connections: 4096,
            streams: 256,
            requests: 512,
            request_bytes: 4 * MIB,
            response_bytes: 4 * MIB,
            header_bytes: 16 * 1024,
            deadline: Duration::from_secs(300),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(30),
        }
    }
}

/// Answers Unavailable instead of taking more calls than there is room for, and DeadlineExceeded when one
/// takes too long: agents try both again, and would not the Cancelled of the library below.
#[derive(Debug, Clone)]
pub(super) struct RoomLayer {
    places: Arc<Semaphore>,
    most: usize,
    deadline: Duration,
}

/// See [`RoomLayer`].
#[derive(Debug, Clone)]
pub(super) struct Room<S> {
    inner: S,
    rules: RoomLayer,
}

impl RoomLayer {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.requests)),
            most: limits.requests,
            deadline: limits.deadline,
        }
    }
}

impl<S> Layer<S> for RoomLayer {
    type Service = Room<S>;

    fn layer(&self, inner: S) -> Room<S> {
        Room { inner, rules: self.clone() }
    }
}

impl<S> Service<Request<Body>> for Room<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<
        std::future::Ready<Result<Response<Body>, S::Error>>,
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>,
    >;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Ok(place) = Arc::clone(&self.rules.places).try_acquire_owned() else {
            let refusal = Status::unavailable(format!(
                "{} calls are under way already (--max-requests); try again later",
                self.rules.most
            ));
            return Either::Left(std::future::ready(Ok(refusal.into_http())));
        };
        let deadline = self.rules.deadline;
        let deadline = asked_deadline(request.headers()).map_or(deadline, |asked| asked.min(deadline));
        let answer = tokio::time::timeout(deadline, self.inner.call(request));
        Either::Right(
            async move {
                let answer = answer.await;
                drop(place);
                match answer {
                    Ok(answer) => answer.map(oversized_as_exhausted),
                    Err(_) => Ok(Status::deadline_exceeded(format!(
                        "the call took longer than {:.3} s: its own deadline or --request-timeout-seconds, whichever is shorter",
                        deadline.as_secs_f64()
                    ))
                    .into_http()),
                }
            }
            .boxed(),
        )
    }
}

/// A message over the limit is ResourceExhausted in gRPC; the library below says OutOfRange, which
/// nothing here says otherwise.
fn oversized_as_exhausted(mut response: Response<Body>) -> Response<Body> {
    const STATUS: &str = "grpc-status";
    let out_of_range = HeaderValue::from(Code::OutOfRange as i32);
    if response.headers().get(STATUS) == Some(&out_of_range) {
        response.headers_mut().insert(STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    }
    response
}

/// The client's deadline in gRPC's spelling: up to eight digits and a unit.
pub(super) fn asked_deadline(headers: &HeaderMap) -> Option<Duration> {
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

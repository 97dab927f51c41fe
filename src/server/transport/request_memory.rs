//! The body of an incoming request: its longest length for each call, and the memory that it takes until the
//! call is answered.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::time::{Timeout, timeout};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::numbers;
use crate::proto::descriptor_pool;
use crate::proto::log_text::logged_in_full;
use crate::proto::request_memory::{CallMemory, counted, exhausted, within};
use crate::server::transport::quota::{Hold, Quota, Shares, Who};
use crate::server::transport::who::who;

/// Longest page token that the protocol allows, in bytes. A request that can continue a listing may be longer
/// by this amount.
pub(super) const PAGE_TOKEN: usize = 1024 * 1024;
/// Memory of all requests together, unless a single request may take more.
const MEMORY: usize = 32 * 1024 * 1024;
/// How long a request waits for memory.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Bytes before a message: the compression flag and the length.
const PREFIX: usize = 5;
/// The compression limit of gzip: how many bytes one compressed byte can expand to, plus a margin.
const INFLATION: usize = 1040;

/// Limits the requests of the protocol's own calls.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemoryLayer {
    /// The memory that each caller uses.
    shares: Quota,
    /// Longest request of each call, by path.
    longest: Arc<HashMap<String, usize>>,
    changes_are_off: bool,
}

/// See [`RequestMemoryLayer`].
#[derive(Debug, Clone)]
pub(crate) struct RequestMemories<S> {
    inner: S,
    rules: RequestMemoryLayer,
}

impl RequestMemoryLayer {
    /// Creates the layer for requests of up to `request_bytes`, in addition to page tokens.
    pub(crate) fn new(request_bytes: usize, changes_are_off: bool) -> Self {
        let mut longest = HashMap::new();
        for service in descriptor_pool().services() {
            for rpc in service.methods() {
                let path = format!("/{}/{}", service.full_name(), rpc.name());
                longest.insert(path, longest_request(&rpc, request_bytes));
            }
        }
        // A compressed request fits together with its decompressed form.
        let largest = 4 * longest.values().copied().max().unwrap_or_default();
        Self {
            shares: Quota::new(Shares::of(MEMORY.max(largest))),
            longest: Arc::new(longest),
            changes_are_off,
        }
    }

    /// The memory of a new call of this caller.
    fn open(&self, who: Who) -> Arc<Memory> {
        let hold = Mutex::new(self.shares.open(who));
        let changes_are_off = self.changes_are_off;
        Arc::new(Memory { shares: self.shares.clone(), hold, changes_are_off })
    }
}

/// Longest request of any call of the service, for requests of up to `request_bytes` in addition to page
/// tokens.
pub(crate) fn longest_of_service(name: &str, request_bytes: usize) -> usize {
    let service = descriptor_pool().get_service_by_name(name);
    let longest =
        service.and_then(|service| service.methods().map(|rpc| longest_request(&rpc, request_bytes)).max());
    longest.unwrap_or(request_bytes)
}

fn longest_request(rpc: &prost_reflect::MethodDescriptor, request_bytes: usize) -> usize {
    let continues = rpc.input().get_field_by_name("page_token").is_some();
    request_bytes.saturating_add(if continues { PAGE_TOKEN } else { 0 })
}

impl<S> Layer<S> for RequestMemoryLayer {
    type Service = RequestMemories<S>;

    fn layer(&self, inner: S) -> RequestMemories<S> {
        RequestMemories { inner, rules: self.clone() }
    }
}

impl<S> Service<Request<Body>> for RequestMemories<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let memory = self.rules.open(who(&request));
        let Some(longest) = self.rules.longest.get(request.uri().path()).copied() else {
            return Box::pin(within(memory, self.inner.call(request)));
        };
        let compressed = request.headers().contains_key("grpc-encoding");
        let request = request.map(|body| {
            let memory = Arc::clone(&memory);
            Body::new(RequestBody { body, longest, compressed, read: 0, memory, waiting: None })
        });
        // The call holds the memory until it ends or is dropped.
        Box::pin(within(memory, self.inner.call(request)))
    }
}

/// The memory of one call, counted in total and for its caller.
struct Memory {
    shares: Quota,
    hold: Mutex<Hold>,
    changes_are_off: bool,
}

impl Memory {
    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes the call lacks for a total of `bytes`.
    fn missing(&self, bytes: usize) -> usize {
        counted(bytes).saturating_sub(self.hold().amount())
    }

    /// Waits for this many more bytes.
    async fn grow(self: Arc<Self>, bytes: usize) {
        self.shares.wait(&self.hold, bytes).await;
    }
}

impl CallMemory for Memory {
    fn changes_are_off(&self) -> bool {
        self.changes_are_off
    }

    fn settle(&self, bytes: usize) -> Result<(), Status> {
        self.hold().set(counted(bytes)).map_err(|_| exhausted())
    }
}

/// A body that takes memory while it is read.
struct RequestBody {
    body: Body,
    longest: usize,
    compressed: bool,
    /// How many bytes have been read.
    read: usize,
    memory: Arc<Memory>,
    /// A piece that has been read and waits for its memory.
    waiting: Option<(Bytes, Pin<Box<Timeout<Grow>>>)>,
}

type Grow = Pin<Box<dyn Future<Output = ()> + Send>>;

impl RequestBody {
    /// The bytes of the request so far, including its decompressed form.
    fn bytes(&self) -> usize {
        let inflated =
            if self.compressed { self.longest.min(self.read.saturating_mul(INFLATION)) } else { 0 };
        self.read + inflated
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.waiting.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let piece = match frame.into_data() {
                Ok(piece) => piece,
                Err(last) => return Poll::Ready(Some(Ok(last))),
            };
            self.read += piece.len();
            if self.read > self.longest + PREFIX {
                return Poll::Ready(Some(Err(too_long(self.longest))));
            }
            let missing = self.memory.missing(self.bytes());
            if missing == 0 {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            let grow: Grow = Box::pin(Arc::clone(&self.memory).grow(missing));
            self.waiting = Some((piece, Box::pin(timeout(MAX_WAIT, grow))));
        }
        let Some((_, grow)) = &mut self.waiting else { return Poll::Ready(None) };
        let grown = ready!(grow.as_mut().poll(context));
        let piece = self.waiting.take().map(|(piece, _)| Ok(Frame::data(piece)));
        Poll::Ready(if grown.is_ok() { piece } else { Some(Err(exhausted())) })
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_long(longest: usize) -> Status {
    logged_in_full(Status::resource_exhausted(format!(
        "the request has more than {}, the maximum for this call (--max-request-bytes)",
        numbers::size(longest)
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    use super::*;

    /// The body of a request from a new caller.
    fn body(layer: &RequestMemoryLayer, longest: usize, compressed: bool, bytes: usize) -> RequestBody {
        // 0 is the caller of `Who::default()`.
        static CALLERS: AtomicU64 = AtomicU64::new(1);
        let connection = CALLERS.fetch_add(1, Ordering::Relaxed);
        let last = u8::try_from(connection % 200).unwrap();
        let who = Who { connection, network: Some([10, 0, 0, last].into()), token: None };
        body_of(layer, who, longest, compressed, bytes)
    }

    fn body_of(
        layer: &RequestMemoryLayer,
        who: Who,
        longest: usize,
        compressed: bool,
        bytes: usize,
    ) -> RequestBody {
        let body = Body::new(Full::new(Bytes::from(vec![0; bytes])));
        RequestBody { body, longest, compressed, read: 0, memory: layer.open(who), waiting: None }
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_memory_for_the_others() {
        const MIB: usize = 1024 * 1024;
        let layer = RequestMemoryLayer::new(MIB, false);
        let who = Who::default();
        let mut held = Vec::new();
        // A few compressed kilobytes count as much as their largest decompressed form.
        let refused = loop {
            let mut body = body_of(&layer, who, 2 * MIB, true, 4096);
            if let Err(refused) = body.frame().await.unwrap() {
                break refused;
            }
            held.push(body);
            assert!(held.len() < 100, "one caller gets everything");
        };
        assert_eq!((refused.code(), held.len()), (Code::Unavailable, 8));
        for _ in 0..4 {
            let mut other = body(&layer, 2 * MIB, true, 4096);
            other.frame().await.unwrap().unwrap();
            held.push(other);
        }
    }

    #[tokio::test]
    async fn decoded_requests_count_for_their_caller() {
        const MIB: usize = 1024 * 1024;
        let layer = RequestMemoryLayer::new(MIB, false);
        let who = |connection| Who { connection, ..Who::default() };
        let calls: Vec<_> = (0..10).map(|connection| layer.open(who(connection))).collect();
        let settled = calls.iter().filter(|call| call.settle(4 * MIB).is_ok()).count();
        assert_eq!(settled, 5, "a caller gets more or less than five eighths");
        let other = layer.open(Who { network: Some([10, 0, 0, 1].into()), ..who(11) });
        other.settle(4 * MIB).unwrap();
        other.settle(0).unwrap();
        drop(calls);
        assert_eq!(layer.shares.total(), 0);
    }

    #[tokio::test]
    async fn a_call_releases_the_memory_that_it_does_not_use() {
        const MIB: usize = 1024 * 1024;
        let layer = RequestMemoryLayer::new(MIB, false);
        let call = layer.open(Who::default());
        assert_eq!((call.missing(10_000), call.missing(MIB)), (0, counted(MIB)));
        Arc::clone(&call).grow(call.missing(MIB)).await;
        assert_eq!((call.missing(MIB), layer.shares.total()), (0, counted(MIB)));
        for bytes in [3 * MIB, 2 * MIB, 10] {
            call.settle(bytes).unwrap();
            assert_eq!(layer.shares.total(), counted(bytes));
        }
        call.settle(2 * MIB).unwrap();
        drop(call);
        assert_eq!(layer.shares.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_wait_for_each_other_but_small_ones_do_not() {
        const MIB: usize = 1024 * 1024;
        let layer = RequestMemoryLayer::new(MIB, false);
        let mut held = Vec::new();
        for _ in 0..MEMORY / (2 * MIB) {
            let mut body = body(&layer, 2 * MIB, false, 2 * MIB);
            body.frame().await.unwrap().unwrap();
            held.push(body);
        }
        body(&layer, MIB, false, 60_000).collect().await.unwrap();
        // The remaining memory is sufficient for the free part of each.
        let mut second = body(&layer, 2 * MIB, true, 2 * MIB);
        let waiting = tokio::time::timeout(MAX_WAIT / 2, second.frame()).await;
        assert!(waiting.is_err());
        held.clear();
        second.frame().await.unwrap().unwrap();
        let mut third: Vec<_> = (0..8).map(|_| body(&layer, 2 * MIB, true, 2 * MIB)).collect();
        let mut refused = 0;
        for body in &mut third {
            let frame = body.frame().await.unwrap();
            refused += usize::from(frame.is_err_and(|status| status.code() == Code::Unavailable));
        }
        assert_eq!(refused, 1);
    }

    #[tokio::test]
    async fn each_call_has_its_own_longest_request() {
        let layer = RequestMemoryLayer::new(1000, false);
        let of = |path: &str| layer.longest.get(path).copied();
        assert_eq!(of("/c1.connector.v2.GrantsService/ListGrants"), Some(1000 + PAGE_TOKEN));
        assert_eq!(of("/c1.connector.v2.GrantManagerService/Grant"), Some(1000));
        assert_eq!(longest_of_service("c1.connector.v2.GrantManagerService", 1000), 1000);
        assert_eq!(longest_of_service("c1.connector.v2.TicketsService", 1000), 1000 + PAGE_TOKEN);
        assert_eq!(body(&layer, 1000, false, 1005).collect().await.unwrap().to_bytes().len(), 1005);
        let refused = body(&layer, 1000, false, 1006).collect().await.err().unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    }
}

//! The body of an outgoing answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, timeout};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::numbers;
use crate::proto::log_text::logged_in_full;
use crate::server::transport::connection::Peer;
use crate::server::transport::deadline::deadline_exceeded;
use crate::server::transport::places::Hold;

/// The body of an answer. The call counts as in progress until the client has read the answer, because a
/// client that does not read its answers makes the server keep them. The body is sent in chunks, so that the
/// connection buffers no more than the client is ready to receive.
pub(crate) struct ResponseBody<H> {
    body: Body,
    /// The unsent rest of the last piece of the body.
    rest: Bytes,
    deadline: Option<CallDeadline>,
    ended: bool,
    unread: UnreadTime,
    /// The bytes of the answer.
    bytes: Hold,
    /// The resources that the call holds.
    _held: H,
    /// Dropped with the body, which ends the check for a slow client.
    _open: oneshot::Sender<()>,
}

/// The deadline of an answer that waits for further requests of the client, as in reflection.
pub(crate) struct CallDeadline {
    pub(crate) due: Pin<Box<Sleep>>,
    /// The timeout of the call.
    pub(crate) timeout: Duration,
}

/// How long a client may leave an answer unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Each time.
    pub(crate) stall: Duration,
    /// In total.
    pub(crate) total: Duration,
}

/// The total time for which the client has left parts of the answer unread. The clock stops while the answer
/// has nothing to send.
#[derive(Clone)]
struct UnreadTime(Arc<Mutex<Stopwatch>>);

struct Stopwatch {
    before: Duration,
    /// Start of the current run; `None` while stopped.
    since: Option<Instant>,
}

/// Longest chunk of an answer in bytes. A client has to read it within the stall timeout.
const CHUNK: usize = 32 * 1024;
/// The precision of the unread time.
const TICK: Duration = Duration::from_millis(50);

impl<H> ResponseBody<H> {
    /// Creates a body with the resources of its call. The body ends at the deadline if there is one. If
    /// `slow_client` is set, the connection is closed when the client leaves the answer unread for too long:
    /// nothing else ends a stream that waits for its client.
    pub(crate) fn new(
        body: Body,
        deadline: Option<CallDeadline>,
        bytes: Hold,
        held: H,
        slow_client: Option<(Peer, Patience)>,
    ) -> Self {
        let (open, closed) = oneshot::channel();
        let unread = UnreadTime::running();
        if let Some((peer, patience)) = slow_client {
            tokio::spawn(unread.clone().close_after(patience, peer, closed));
        }
        let (rest, ended) = (Bytes::new(), false);
        Self { body, rest, deadline, ended, unread, bytes, _held: held, _open: open }
    }

    /// Ends the answer with this status.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let Some(deadline) = &mut self.deadline else { return Poll::Pending };
                    ready!(deadline.due.as_mut().poll(context));
                    let status = deadline_exceeded(deadline.timeout);
                    return self.end(&status);
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => match self.bytes.add(data.len()) {
                        Ok(()) => self.rest = data,
                        Err(full) => {
                            return self.end(&logged_in_full(Status::unavailable(format!(
                                "unread responses fill the {} allowed for {}; retry later",
                                numbers::size(full.most),
                                full.whose
                            ))));
                        }
                    },
                    Err(mut last) => {
                        if let Some(trailers) = last.trailers_mut() {
                            oversized_as_exhausted(trailers);
                        }
                        return Poll::Ready(Some(Ok(last)));
                    }
                },
                other => return Poll::Ready(other),
            }
        }
        let length = self.rest.len().min(CHUNK);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl<H: Unpin> http_body::Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = Status;

    /// Called when the client is ready for more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.unread.stop();
        let frame = self.poll_chunk(context);
        if frame.is_ready() {
            self.unread.start();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// gRPC reports a message over the limit as ResourceExhausted. tonic returns OutOfRange, which this server
/// uses for nothing else.
pub(crate) fn oversized_as_exhausted(headers: &mut HeaderMap) {
    const STATUS: &str = "grpc-status";
    if headers.get(STATUS) == Some(&HeaderValue::from(Code::OutOfRange as i32)) {
        headers.insert(STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
    }
}

impl UnreadTime {
    /// Starts at once, because the headers of the answer wait for the client.
    fn running() -> Self {
        Self(Arc::new(Mutex::new(Stopwatch { before: Duration::ZERO, since: Some(Instant::now()) })))
    }

    fn start(&self) {
        self.lock().since = Some(Instant::now());
    }

    fn stop(&self) {
        let mut stopwatch = self.lock();
        stopwatch.before = stopwatch.elapsed();
        stopwatch.since = None;
    }

    /// Closes the connection if the client leaves the answer unread for too long, unless the body is dropped
    /// first.
    async fn close_after(self, patience: Patience, peer: Peer, mut dropped: oneshot::Receiver<()>) {
        loop {
            let left = self.lock().left(patience);
            if left.is_zero() {
                peer.log_hung_up("does not read its responses");
                return peer.seat.closer.close();
            }
            if timeout(left.max(TICK), &mut dropped).await.is_ok() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stopwatch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stopwatch {
    fn elapsed(&self) -> Duration {
        self.before + self.current()
    }

    /// The time since the client read the last part.
    fn current(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// How long the client may still leave the answer unread.
    fn left(&self, patience: Patience) -> Duration {
        let now = patience.stall.saturating_sub(self.current());
        now.min(patience.total.saturating_sub(self.elapsed()))
    }
}

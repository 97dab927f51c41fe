//! The body of an outgoing answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, timeout};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::numbers;
use crate::proto::log_text::logged_in_full;
use crate::server::transport::connection::Peer;
use crate::server::transport::deadline::deadline_exceeded;
use crate::server::transport::quota::{Hold, Quota, Who};

/// The body of an answer. The call counts as in progress until the answer is sent to the client, because a
/// client that does not read its answers makes the server keep them. HTTP/2 queues parts of an answer when the body
/// has ended. Each part therefore keeps the resources of its call, and releases them when it leaves the queue.
pub(crate) struct ResponseBody<H> {
    body: Body,
    /// The rest of the last message that is not in the queue yet.
    rest: Option<Rest<H>>,
    deadline: Option<CallDeadline>,
    ended: bool,
    answers: Quota,
    who: Who,
    call: Arc<Call<H>>,
}

/// What a call holds until the body and all parts of the answer are dropped.
struct Call<H> {
    unread: UnreadTime,
    _held: H,
    /// Dropped with the call, which ends the check for a slow client.
    _open: oneshot::Sender<()>,
}

/// The unsent rest of a message.
struct Rest<H> {
    data: Bytes,
    message: Arc<Message<H>>,
}

/// What a message holds until all its parts are dropped. They share the memory of the message.
struct Message<H> {
    call: Arc<Call<H>>,
    _bytes: Hold,
}

/// A part of a message, in the queue of the connection.
struct Part<H> {
    data: Bytes,
    message: Arc<Message<H>>,
}

/// The deadline of an answer that waits for further requests of the client, as in reflection.
pub(crate) struct CallDeadline {
    pub(crate) due: Pin<Box<Sleep>>,
    /// The timeout of the call.
    pub(crate) timeout: Duration,
}

/// How long a client may leave an answer unread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaxWait {
    /// Maximum time without progress.
    pub(crate) stall: Duration,
    /// Maximum time in total.
    pub(crate) total: Duration,
}

/// The total time for which parts of the answer have waited for the client. The clock stops while there is
/// nothing to send.
#[derive(Clone, Default)]
struct UnreadTime(Arc<Mutex<Stopwatch>>);

#[derive(Default)]
struct Stopwatch {
    /// The parts in the queue.
    parts: usize,
    before: Duration,
    /// When the oldest part was queued or the last part was sent, whichever is later; `None` without parts.
    since: Option<Instant>,
}

/// Longest part of an answer in bytes. A client has to read it within the stall timeout.
const PART: usize = 32 * 1024;
/// The precision of the unread time.
const TICK: Duration = Duration::from_millis(50);

impl<H: Send + Sync + 'static> ResponseBody<H> {
    /// Creates a body with the resources of its call. The bytes of each message count in `answers`. The body
    /// ends at the deadline if there is one. If `slow_client` is set, the connection is closed when the client
    /// leaves the answer unread for too long: nothing else ends a stream that waits for its client.
    pub(crate) fn new(
        body: Body,
        deadline: Option<CallDeadline>,
        (answers, who): (Quota, Who),
        held: H,
        slow_client: Option<(Peer, MaxWait)>,
    ) -> Self {
        let (open, closed) = oneshot::channel();
        let unread = UnreadTime::default();
        if let Some((peer, max_wait)) = slow_client {
            tokio::spawn(unread.clone().close_after(max_wait, peer, closed));
        }
        let call = Arc::new(Call { unread, _held: held, _open: open });
        Self { body, rest: None, deadline, ended: false, answers, who, call }
    }

    /// Ends the answer with this status.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    /// The next part of the message.
    fn part(&mut self, mut rest: Rest<H>) -> Frame<Bytes> {
        let length = rest.data.len().min(PART);
        let part = Part { data: rest.data.split_to(length), message: Arc::clone(&rest.message) };
        self.call.unread.queued();
        self.rest = Some(rest).filter(|rest| !rest.data.is_empty());
        Frame::data(Bytes::from_owner(part))
    }
}

impl<H: Send + Sync + Unpin + 'static> http_body::Body for ResponseBody<H> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(self.part(rest))));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(deadline) = &mut self.deadline else { return Poll::Pending };
                ready!(deadline.due.as_mut().poll(context));
                let status = deadline_exceeded(deadline.timeout);
                return self.end(&status);
            }
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(mut last) => {
                if let Some(trailers) = last.trailers_mut() {
                    oversized_as_exhausted(trailers);
                }
                return Poll::Ready(Some(Ok(last)));
            }
        };
        match self.answers.take(self.who, data.len()) {
            Ok(bytes) => {
                let message = Arc::new(Message { call: Arc::clone(&self.call), _bytes: bytes });
                Poll::Ready(Some(Ok(self.part(Rest { data, message }))))
            }
            Err(full) => self.end(&logged_in_full(Status::unavailable(format!(
                "unread responses fill the {} allowed for {}; retry later",
                numbers::size(full.most),
                full.whose
            )))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<H> AsRef<[u8]> for Part<H> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl<H> Drop for Part<H> {
    fn drop(&mut self) {
        self.message.call.unread.sent();
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
    /// A part is in the queue.
    fn queued(&self) {
        let mut stopwatch = self.lock();
        stopwatch.parts += 1;
        stopwatch.since.get_or_insert_with(Instant::now);
    }

    /// A part has left the queue.
    fn sent(&self) {
        let mut stopwatch = self.lock();
        stopwatch.before = stopwatch.elapsed();
        stopwatch.parts = stopwatch.parts.saturating_sub(1);
        stopwatch.since = (stopwatch.parts > 0).then(Instant::now);
    }

    /// Closes the connection if the client leaves the answer unread for too long, unless the call ends
    /// first.
    async fn close_after(self, max_wait: MaxWait, peer: Peer, mut ended: oneshot::Receiver<()>) {
        loop {
            let left = self.lock().left(max_wait);
            if left.is_zero() {
                peer.log_hung_up("does not read its responses");
                return peer.slot.closer.close();
            }
            if timeout(left.max(TICK), &mut ended).await.is_ok() {
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
    fn left(&self, max_wait: MaxWait) -> Duration {
        let now = max_wait.stall.saturating_sub(self.current());
        now.min(max_wait.total.saturating_sub(self.elapsed()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::server::transport::quota::Shares;

    fn messages(lengths: &[usize]) -> Body {
        let frames: Vec<Result<_, Status>> =
            lengths.iter().map(|length| Ok(Frame::data(Bytes::from(vec![7; *length])))).collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    fn answer(lengths: &[usize], answers: &Quota) -> (ResponseBody<Arc<()>>, Arc<()>) {
        let held = Arc::new(());
        let of = (answers.clone(), Who::default());
        (ResponseBody::new(messages(lengths), None, of, Arc::clone(&held), None), held)
    }

    async fn part(body: &mut ResponseBody<Arc<()>>) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn a_queued_part_keeps_the_resources_of_its_call() {
        let answers = Quota::new(Shares::of(1_000_000));
        let (mut body, held) = answer(&[PART + 1], &answers);
        drop(part(&mut body).await);
        let mut last = part(&mut body).await;
        assert!(body.frame().await.is_none());
        drop(body);
        // HTTP/2 splits a part that is larger than the window.
        let rest = last.split_off(0);
        drop(last);
        assert_eq!((answers.total(), Arc::strong_count(&held)), (PART + 1, 2));
        drop(rest);
        assert_eq!((answers.total(), Arc::strong_count(&held)), (0, 1));
    }

    #[tokio::test]
    async fn a_message_that_was_read_releases_its_bytes() {
        let answers = Quota::new(Shares::of(1_000));
        let (mut body, held) = answer(&[400; 100], &answers);
        for _ in 0..100 {
            assert_eq!(part(&mut body).await.len(), 400);
        }
        assert_eq!((answers.total(), Arc::strong_count(&held)), (0, 2));
        let (mut body, _held) = answer(&[400; 2], &answers);
        let _unread = part(&mut body).await;
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], (Code::Unavailable as i32).to_string());
    }

    #[tokio::test(start_paused = true)]
    async fn counts_the_time_while_parts_are_queued() {
        let answers = Quota::new(Shares::of(1_000_000));
        let (mut body, _held) = answer(&[1, 2], &answers);
        let second = Duration::from_secs(1);
        let left = |body: &ResponseBody<_>| {
            body.call.unread.lock().left(MaxWait { stall: 10 * second, total: 12 * second })
        };
        tokio::time::advance(second).await;
        assert_eq!(left(&body), 10 * second);
        let first = part(&mut body).await;
        tokio::time::advance(second).await;
        let next = part(&mut body).await;
        tokio::time::advance(second).await;
        assert_eq!(left(&body), 8 * second);
        drop(first);
        assert_eq!(left(&body), 10 * second);
        tokio::time::advance(second).await;
        drop(next);
        tokio::time::advance(20 * second).await;
        assert_eq!(left(&body), 9 * second);
    }
}

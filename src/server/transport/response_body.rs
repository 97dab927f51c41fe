//! Answers on their way out.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, Sleep, timeout};
use tonic::Status;
use tonic::body::Body;

use crate::server::transport::connection::HangUp;
use crate::server::transport::limits::{oversized_as_exhausted, too_late};

/// An answer on its way. It counts as a call under way until it has been taken, for a client that does
/// not read its answers makes the server keep them. It goes out in pieces, so that the connection takes
/// no more of it than the client is ready for.
pub(crate) struct Outgoing {
    body: Body,
    /// What is left of the last piece of the body.
    rest: Bytes,
    /// Nothing once it has come.
    end: Option<End>,
    lying: Lying,
    _place: OwnedSemaphorePermit,
    _taken: oneshot::Sender<()>,
}

/// When an answer ends that waits for more questions, as that of reflection does.
pub(crate) struct End {
    pub(crate) due: Pin<Box<Sleep>>,
    /// The time that the call had.
    pub(crate) deadline: Duration,
}

/// How long the client has let the answer lie, all in all. While the answer itself has nothing to send,
/// the client is not to blame.
#[derive(Clone)]
struct Lying(Arc<Mutex<Time>>);

struct Time {
    before: Duration,
    /// Since when something has been waiting for the client; nothing while nothing is.
    since: Option<Instant>,
}

/// Longest piece of an answer in bytes.
const PIECE: usize = 128 * 1024;
/// How exactly the time is kept that an answer lies.
const TICK: Duration = Duration::from_millis(50);

impl Outgoing {
    /// The connection is hung up on when the client has let the answer lie for its time: nothing else ends
    /// a stream that waits for its client.
    pub(crate) fn new(
        body: Body,
        end: End,
        place: OwnedSemaphorePermit,
        watched: Option<(HangUp, Duration)>,
    ) -> Self {
        let (taken, gone) = oneshot::channel();
        let lying = Lying::from_now();
        if let Some((line, patience)) = watched {
            tokio::spawn(lying.clone().hang_up_after(patience, line, gone));
        }
        Self { body, rest: Bytes::new(), end: Some(end), lying, _place: place, _taken: taken }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        if self.rest.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(end.due.as_mut().poll(context));
                    let mut trailers = HeaderMap::new();
                    let status = too_late(end.deadline);
                    self.end = None;
                    return Poll::Ready(Some(
                        status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
                    ));
                }
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
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
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    /// Asked for when the client is ready for more.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.lying.taken();
        let frame = self.poll(context);
        if frame.is_ready() {
            self.lying.put();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl Lying {
    /// The answer's beginning waits for the client.
    fn from_now() -> Self {
        Self(Arc::new(Mutex::new(Time { before: Duration::ZERO, since: Some(Instant::now()) })))
    }

    fn put(&self) {
        self.lock().since = Some(Instant::now());
    }

    fn taken(&self) {
        let mut time = self.lock();
        time.before = time.so_far();
        time.since = None;
    }

    /// Ends the connection when the answer has been lying for so long, unless that has been taken before.
    async fn hang_up_after(self, patience: Duration, line: HangUp, mut taken: oneshot::Receiver<()>) {
        loop {
            let left = patience.saturating_sub(self.lock().so_far());
            if left.is_zero() {
                tracing::info!("hung up on a client that does not take its answers");
                return line.hang_up();
            }
            if timeout(left.max(TICK), &mut taken).await.is_ok() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Time {
    fn so_far(&self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

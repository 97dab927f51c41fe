//! How much a connection may send before one of its calls is admitted.
//!
//! hyper reads as long as data is available, and keeps memory for each call that waits to be handled or whose
//! answer waits to be sent. Its table of headers, with 4 KiB of short headers, also keeps the whole buffer
//! into which each header was read. Data of an unauthenticated connection is therefore read in small pieces,
//! with pauses for the answers, and its total is small.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The bytes that an unauthenticated connection has sent, and the time of the next read.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    received: usize,
    /// Runs after calls have been read. Kept for reuse.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    /// The time at which the connection reached its allowance.
    full_since: Option<Instant>,
}

/// How many bytes are read at a time: at most about twenty calls.
const PIECE: usize = 256;
/// The pause in reading after a call, which leaves time for its answer.
const PAUSE: Duration = Duration::from_millis(5);
/// A connection that has sent this many bytes is closed when it is idle. This is more than two hundred health
/// checks.
const SPENT: usize = 32 * 1024;
/// After this many bytes, the connection is not read until a call is admitted. Compressed headers can take
/// 1.6 times as much memory.
const LIMIT: usize = 48 * 1024;
/// The longest such wait. The check of a call needs only its headers, so a large first message waits only
/// briefly.
const MAX_WAIT: Duration = Duration::from_secs(2);

impl Allowance {
    /// Whether to continue reading; wakes the task when it is time to check again.
    ///
    /// # Errors
    /// The connection has used up its allowance, and no call on it was admitted within [`MAX_WAIT`].
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TooMuch>> {
        loop {
            if self.paused
                && let Some(pause) = &mut self.pause
            {
                std::task::ready!(pause.as_mut().poll(context));
                self.paused = false;
            }
            if self.received < LIMIT {
                return Poll::Ready(Ok(()));
            }
            if self.full_since.get_or_insert_with(Instant::now).elapsed() >= MAX_WAIT {
                return Poll::Ready(Err(TooMuch));
            }
            self.pause();
        }
    }

    /// Counts the bytes that were read. `calls` is true if calls began in them.
    pub(super) fn receive(&mut self, bytes: usize, calls: bool) {
        self.received += bytes;
        if calls {
            self.pause();
        }
    }

    fn pause(&mut self) {
        self.paused = true;
        match &mut self.pause {
            Some(pause) => pause.as_mut().reset(Instant::now() + PAUSE),
            None => self.pause = Some(Box::pin(sleep(PAUSE))),
        }
    }

    /// Whether the connection has used most of its allowance, so that a new connection should replace it.
    pub(super) fn is_spent(&self) -> bool {
        self.received > SPENT
    }
}

/// An unauthenticated connection has sent more than its allowance.
#[derive(Debug)]
pub(super) struct TooMuch;

/// Reads a small piece.
pub(super) fn poll_read_piece(
    stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    context: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let length = buffer.remaining().min(PIECE);
    let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(length));
    let read = stream.poll_read(context, &mut piece);
    let filled = piece.filled().len();
    buffer.advance(filled);
    read
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn ready(allowance: &mut Allowance) -> bool {
        allowance.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_reading_after_a_call() {
        let mut allowance = Allowance::default();
        allowance.receive(100, false);
        assert!(ready(&mut allowance));
        for _ in 0..3 {
            allowance.receive(100, true);
            assert!(!ready(&mut allowance) && !ready(&mut allowance));
            tokio::time::advance(PAUSE).await;
            assert!(ready(&mut allowance) && ready(&mut allowance));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_its_allowance_is_closed_if_no_call_is_admitted() {
        let mut allowance = Allowance::default();
        allowance.receive(SPENT, false);
        assert!(!allowance.is_spent());
        allowance.receive(LIMIT - SPENT, false);
        assert!(allowance.is_spent());
        let begun = Instant::now();
        let ready = std::future::poll_fn(|context| allowance.poll_ready(context)).await;
        assert!(ready.is_err());
        assert!(begun.elapsed() >= MAX_WAIT && begun.elapsed() < MAX_WAIT + 2 * PAUSE);
    }

    #[tokio::test]
    async fn reads_short_pieces_and_keeps_the_buffered_bytes() {
        let mut memory = [0; 1000];
        let mut buffer = ReadBuf::new(&mut memory);
        buffer.put_slice(b"before");
        let mut stream: &[u8] = &[7; 600];
        for filled in [262, 518, 606] {
            std::future::poll_fn(|context| poll_read_piece(Pin::new(&mut stream), context, &mut buffer))
                .await
                .unwrap();
            assert_eq!(buffer.filled().len(), filled);
        }
        assert_eq!(&buffer.filled()[..6], b"before");
        assert!(buffer.filled()[6..].iter().all(|byte| *byte == 7));
    }
}

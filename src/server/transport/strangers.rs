//! How much a connection may send before a call on it is admitted.
//!
//! hyper reads as long as there is something to read, and keeps memory for each call that waits for its turn or whose
//! answer waits to be sent. And its table of headers, of 4 KiB of short headers, keeps the whole buffer that each of
//! them was read into. So what a stranger sends is read in small pieces, with time between them for the answers, and
//! there is little of it in total.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a stranger has sent, and when more is read.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    received: usize,
    /// Runs after calls have been read. Kept for the next ones.
    pause: Option<Pin<Box<Sleep>>>,
    paused: bool,
    /// Since when the connection has sent as much as it may.
    full_since: Option<Instant>,
}

/// How many bytes are read at a time: no more than some twenty calls.
const PIECE: usize = 256;
/// How long nothing is read after a call: time for its answer.
const PAUSE: Duration = Duration::from_millis(5);
/// A connection that has sent so much is closed when it is idle. That is more than two hundred health checks.
const SPENT: usize = 32 * 1024;
/// Of a connection that has sent so much, nothing is read until a call is admitted. Compressed headers can take 1.6
/// times as much memory.
const MOST: usize = 48 * 1024;
/// How long that may take. The check of a call needs its headers only, so a large first message waits for moments.
const PATIENCE: Duration = Duration::from_secs(2);

impl Allowance {
    /// Whether to read on now; wakes the task when it is time to look again.
    ///
    /// # Errors
    /// The connection has sent as much as it may, and no call on it was admitted within [`PATIENCE`].
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TooMuch>> {
        loop {
            if self.paused
                && let Some(pause) = &mut self.pause
            {
                std::task::ready!(pause.as_mut().poll(context));
                self.paused = false;
            }
            if self.received < MOST {
                return Poll::Ready(Ok(()));
            }
            if self.full_since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                return Poll::Ready(Err(TooMuch));
            }
            self.pause();
        }
    }

    /// Counts what was read. `calls` is whether calls have begun in it.
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

    /// Whether the connection has sent nearly as much as it may, and should make room for a new one.
    pub(super) fn is_spent(&self) -> bool {
        self.received > SPENT
    }
}

/// A stranger has sent more than it may.
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
    async fn after_a_call_nothing_is_read_for_a_moment() {
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
    async fn a_stranger_that_has_sent_its_allowance_waits_for_a_call_to_be_admitted_and_is_closed() {
        let mut allowance = Allowance::default();
        allowance.receive(SPENT, false);
        assert!(!allowance.is_spent());
        allowance.receive(MOST - SPENT, false);
        assert!(allowance.is_spent());
        let begun = Instant::now();
        let ready = std::future::poll_fn(|context| allowance.poll_ready(context)).await;
        assert!(ready.is_err());
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE + 2 * PAUSE);
    }

    #[tokio::test]
    async fn a_piece_is_short_and_follows_what_the_buffer_has() {
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

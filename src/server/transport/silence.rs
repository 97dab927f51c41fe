//! Ends connections that are silent for too long or do not finish their headers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Ends a connection that has been silent for too long, or does not finish a frame or its headers.
pub(super) struct SilenceLimit {
    sleep: Pin<Box<Sleep>>,
    silence: Duration,
}

/// The longest time for a block of headers, or for a frame that is not data.
pub(super) const LONGEST_UNFINISHED: Duration = Duration::from_secs(10);

impl SilenceLimit {
    /// The first bytes have a shorter deadline than later ones.
    pub(super) fn new(handshake: Duration, silence: Duration) -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now() + handshake)), silence }
    }

    /// Begins a new silence. `unfinished` is the start of a frame or of headers that have not ended.
    pub(super) fn reset(&mut self, unfinished: Option<Instant>) {
        let silent = Instant::now() + self.silence;
        let end = unfinished.map_or(silent, |since| silent.min(since + LONGEST_UNFINISHED));
        self.sleep.as_mut().reset(end);
    }

    pub(super) fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time until the connection ends after this silence began.
    async fn passed(limit: &mut SilenceLimit, unfinished: Option<Instant>) -> Duration {
        let begun = Instant::now();
        limit.reset(unfinished);
        std::future::poll_fn(|context| limit.poll_passed(context)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_after_its_silence_or_with_unfinished_headers() {
        let second = Duration::from_secs(1);
        let mut limit = SilenceLimit::new(second, 100 * second);
        let seconds = async |limit: &mut SilenceLimit, unfinished| passed(limit, unfinished).await.as_secs();
        assert_eq!(seconds(&mut limit, None).await, 100);
        let began = Instant::now();
        assert_eq!(seconds(&mut limit, Some(began)).await, 10);
        // More bytes of the same headers do not extend their deadline.
        let began = Instant::now();
        tokio::time::advance(7 * second).await;
        assert_eq!(seconds(&mut limit, Some(began)).await, 3);
        limit.silence = 5 * second;
        let began = Instant::now();
        assert_eq!(seconds(&mut limit, Some(began)).await, 5);
    }
}

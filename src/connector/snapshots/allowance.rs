//! Limits how often a snapshot may be read.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: some reads at once, then one per interval. Agents start syncs less often. If a caller
/// invents ids of syncs, statements serve the calls beyond the limit.
pub(super) struct Allowance {
    left: u32,
    /// The start of the current interval.
    since: Instant,
}

/// How many reads may follow one another.
pub(super) const AT_ONCE: u32 = 4;
/// How long it takes until one more is available.
pub(super) const EVERY: Duration = Duration::from_secs(15);

impl Allowance {
    pub(super) fn full(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Takes a read if one is available.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        while self.left < AT_ONCE && now.duration_since(self.since) >= EVERY {
            self.left += 1;
            self.since += EVERY;
        }
        if self.left == AT_ONCE {
            self.since = now;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
impl Allowance {
    pub(super) fn left(&self) -> u32 {
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refills_one_read_per_interval_up_to_the_limit() {
        let mut allowance = Allowance::full(Instant::now());
        tokio::time::advance(100 * EVERY).await;
        for _ in 0..AT_ONCE {
            assert!(allowance.take(Instant::now()));
        }
        assert!(!allowance.take(Instant::now()));
        tokio::time::advance(EVERY).await;
        assert!(allowance.take(Instant::now()));
        assert!(!allowance.take(Instant::now()));
        tokio::time::advance(100 * EVERY).await;
        let taken = (0..20).filter(|_| allowance.take(Instant::now())).count();
        assert_eq!(taken, AT_ONCE as usize);
    }
}

//! The rate at which a parent process lets its agent make calls: a fixed rate, or one that follows the
//! reports of the agent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::proto::ratelimit::rate_limiter_config::Type as LimiterType;
use crate::proto::ratelimit::{RateLimitDescription, RateLimiterConfig};

/// Delays calls so that they do not exceed a rate.
#[derive(Debug, Clone, Default)]
pub(crate) struct RateLimiter {
    pace: Option<Arc<Mutex<Pace>>>,
    /// The share of the reported remaining calls that may be used. Only a sliding limiter has it.
    share: Option<f64>,
}

/// Calls proceed one after the other, at least `interval` apart.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Instant,
}

/// A rate limiter that cannot be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimiterError {
    /// The limiter is an external service.
    #[error("external rate limiters are not implemented yet")]
    External,
    /// The configuration names no limiter, or a limiter that allows no calls.
    #[error("invalid ratelimiter config")]
    Invalid,
}

/// Calls per second with which a sliding limiter starts.
const SLIDING_START: f64 = 100.0;
/// Longest time over which reported calls are spread.
const LONGEST_WINDOW: Duration = Duration::from_secs(300);

impl RateLimiter {
    /// Creates the limiter of the configuration; without a configuration, calls are not limited.
    ///
    /// # Errors
    /// [`LimiterError`]
    pub(crate) fn new(config: Option<&RateLimiterConfig>) -> Result<Self, LimiterError> {
        let Some(config) = config else { return Ok(Self::default()) };
        match config.r#type.as_ref().ok_or(LimiterError::Invalid)? {
            LimiterType::Disabled(_) => Ok(Self::default()),
            LimiterType::External(_) => Err(LimiterError::External),
            LimiterType::FixedMem(fixed) => {
                let period = fixed.period.unwrap_or_default();
                let seconds = period.seconds as f64 + f64::from(period.nanos) / 1e9;
                if fixed.rate <= 0 || seconds <= 0.0 {
                    return Err(LimiterError::Invalid);
                }
                Self::paced(fixed.rate as f64 / seconds, None)
            }
            LimiterType::SlidingMem(sliding) => Self::paced(SLIDING_START, Some(sliding.use_percent)),
        }
    }

    fn paced(per_second: f64, share: Option<f64>) -> Result<Self, LimiterError> {
        let interval = Duration::try_from_secs_f64(1.0 / per_second).map_err(|_| LimiterError::Invalid)?;
        let pace = Pace { interval, next: Instant::now() };
        Ok(Self { pace: Some(Arc::new(Mutex::new(pace))), share })
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) {
        let Some(pace) = &self.pace else { return };
        let turn = {
            let mut pace = pace.lock().await;
            let turn = pace.next.max(Instant::now());
            pace.next = turn + pace.interval;
            turn
        };
        sleep_until(turn).await;
    }

    /// Spreads the allowed share of the remaining calls over the time until the reported reset.
    pub(crate) async fn reported(&self, description: &RateLimitDescription) {
        let (Some(pace), Some(share), Some(reset)) = (&self.pace, self.share, &description.reset_at) else {
            return;
        };
        let window = reset.seconds - time::OffsetDateTime::now_utc().unix_timestamp();
        let window = Duration::from_secs(u64::try_from(window).unwrap_or_default()).min(LONGEST_WINDOW);
        if description.remaining <= 0 || window.is_zero() {
            return;
        }
        let calls = (share * description.remaining as f64).max(1.0);
        pace.lock().await.interval = window.div_f64(calls);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost_types::{Duration as ProtoDuration, Timestamp};

    use super::*;
    use crate::proto::ratelimit::{
        DisabledLimiter, ExternalLimiter, FixedMemoryLimiter, SlidingMemoryLimiter,
    };

    fn config(limiter: Option<LimiterType>) -> RateLimiterConfig {
        RateLimiterConfig { r#type: limiter }
    }

    fn fixed(rate: i64, seconds: i64) -> RateLimiterConfig {
        let period = Some(ProtoDuration { seconds, nanos: 0 });
        config(Some(LimiterType::FixedMem(FixedMemoryLimiter { rate, period })))
    }

    async fn interval(limiter: &RateLimiter) -> Duration {
        limiter.pace.as_ref().unwrap().lock().await.interval
    }

    #[tokio::test]
    async fn rejects_external_and_invalid_limiters() {
        assert!(RateLimiter::new(None).unwrap().pace.is_none());
        let disabled = config(Some(LimiterType::Disabled(DisabledLimiter {})));
        assert!(RateLimiter::new(Some(&disabled)).unwrap().pace.is_none());
        let external = config(Some(LimiterType::External(ExternalLimiter::default())));
        assert_eq!(RateLimiter::new(Some(&external)).unwrap_err(), LimiterError::External);
        for wrong in [config(None), fixed(0, 1), fixed(5, 0), fixed(-1, 1)] {
            assert_eq!(RateLimiter::new(Some(&wrong)).unwrap_err(), LimiterError::Invalid);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_limiter_spaces_calls_evenly() {
        let limiter = RateLimiter::new(Some(&fixed(10, 2))).unwrap();
        let start = Instant::now();
        for _ in 0..6 {
            limiter.turn().await;
        }
        assert_eq!(start.elapsed().as_millis(), 1_000);
    }

    #[tokio::test]
    async fn a_sliding_limiter_follows_reports() {
        let sliding = config(Some(LimiterType::SlidingMem(SlidingMemoryLimiter { use_percent: 0.5 })));
        let limiter = RateLimiter::new(Some(&sliding)).unwrap();
        assert_eq!(interval(&limiter).await, Duration::from_millis(10));
        let in_two_hours = time::OffsetDateTime::now_utc().unix_timestamp() + 7200;
        let report = RateLimitDescription {
            remaining: 1_200,
            reset_at: Some(Timestamp { seconds: in_two_hours, nanos: 0 }),
            ..Default::default()
        };
        limiter.reported(&report).await;
        assert_eq!(interval(&limiter).await, Duration::from_millis(500));
        limiter.reported(&RateLimitDescription { remaining: 0, ..report }).await;
        assert_eq!(interval(&limiter).await, Duration::from_millis(500));
    }
}

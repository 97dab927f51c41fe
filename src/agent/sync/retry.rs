//! The wait before a failed call is retried.
//!
//! The `backon` crate does not fit: all workers share one count of attempts, the wait grows by a fixed step,
//! and the error itself may specify the wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use time::OffsetDateTime;
use tonic::Status;

use crate::proto::connector::RateLimitDescription;
use crate::proto::unpack;

/// How much each attempt adds to the wait.
const STEP: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(60);

/// The number of failed calls since the last successful step of the sync.
#[derive(Debug, Default)]
pub(crate) struct Attempts(AtomicU32);

/// The part of a `google.rpc.Status` that is needed here: its details.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

impl Attempts {
    /// How long to wait before the call that failed with this status is retried.
    pub(crate) fn wait(&self, status: &Status) -> Duration {
        let attempt = self.0.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let wait = limited(status, OffsetDateTime::now_utc()).unwrap_or_else(|| STEP.saturating_mul(attempt));
        wait.min(LONGEST)
    }

    /// Resets the count after a successful step.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How long the rate limit that a status describes lasts; `None` if it describes none.
fn limited(status: &Status, now: OffsetDateTime) -> Option<Duration> {
    let details = Details::decode(status.details()).ok()?.details;
    details.iter().filter_map(unpack::<RateLimitDescription>).find_map(|described| {
        let described = described.ok()?;
        let reset_at = described.reset_at?;
        // A foreign connector can send any numbers.
        let nanos = u32::try_from(reset_at.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let reset_at =
            OffsetDateTime::from_unix_timestamp(reset_at.seconds).ok()?.replace_nanosecond(nanos).ok()?;
        let until = Duration::try_from(reset_at - now).ok().filter(|until| !until.is_zero())?;
        match u32::try_from(described.remaining.max(0)).unwrap_or(u32::MAX) {
            0 => Some(until),
            // An equal share of the time for each remaining call, rounded up to whole seconds.
            remaining => {
                let share = until / remaining;
                Some(Duration::from_secs(share.as_secs() + u64::from(share.subsec_nanos() > 0)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{any, timestamp};
    use tonic::Code;

    fn described(remaining: i64, in_milliseconds: i64) -> Status {
        let reset_at = Some(timestamp(NOW + time::Duration::milliseconds(in_milliseconds)));
        let other = Any { type_url: "type.googleapis.com/some.Other".to_owned(), value: vec![1, 2, 3] };
        let description = RateLimitDescription { remaining, reset_at, ..Default::default() };
        let details = Details { details: vec![other, any(&description)] };
        Status::with_details(Code::Unavailable, "slow down", details.encode_to_vec().into())
    }

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-02 03:04:05.5 UTC);

    #[test]
    fn the_wait_grows_by_a_second_up_to_a_minute() {
        let attempts = Attempts::default();
        let plain = Status::unavailable("");
        let waits: Vec<u64> = (0..100).map(|_| attempts.wait(&plain).as_secs()).collect();
        assert_eq!(waits[..3], [1, 2, 3]);
        assert_eq!(waits[99], 60);
        attempts.reset();
        assert_eq!(attempts.wait(&plain).as_secs(), 1);
    }

    #[test]
    fn a_described_limit_sets_the_wait() {
        assert_eq!(limited(&described(0, 7_300), NOW), Some(Duration::from_millis(7_300)));
        assert_eq!(limited(&described(-4, 7_300), NOW), Some(Duration::from_millis(7_300)));
        assert_eq!(limited(&described(10, 25_000), NOW), Some(Duration::from_secs(3)));
        assert_eq!(limited(&described(i64::MAX, 25_000), NOW), Some(Duration::from_secs(1)));
        assert_eq!(limited(&described(0, -1), NOW), None);
        assert_eq!(limited(&Status::unavailable(""), NOW), None);
        let nonsense = Status::with_details(Code::Unavailable, "", vec![0xFF].into());
        assert_eq!(limited(&nonsense, NOW), None);
    }

    #[test]
    fn an_impossible_time_is_no_limit() {
        let last = time::macros::datetime!(9999-12-31 23:59:59 UTC).unix_timestamp();
        for (seconds, nanos) in [(last, i32::MAX), (last, 1_000_000_000), (i64::MAX, 0), (0, -1)] {
            let reset_at = Some(prost_types::Timestamp { seconds, nanos });
            let description = RateLimitDescription { reset_at, ..Default::default() };
            let details = Details { details: vec![any(&description)] };
            let status = Status::with_details(Code::Unavailable, "", details.encode_to_vec().into());
            assert_eq!(limited(&status, NOW), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_limit_of_hours_waits_at_most_a_minute_at_a_time() {
        let reset_at = Some(timestamp(OffsetDateTime::now_utc() + time::Duration::hours(2)));
        let description = RateLimitDescription { reset_at, ..Default::default() };
        let details = Details { details: vec![any(&description)] };
        let status = Status::with_details(Code::Unavailable, "", details.encode_to_vec().into());
        assert_eq!(Attempts::default().wait(&status), LONGEST);
    }
}

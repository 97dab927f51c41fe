//! Heartbeats: they report to ConductorOne that a long task is still running, and return whether it has been
//! cancelled.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::agent::service::api::{Api, ApiError};
use crate::numbers::log_seconds;
use crate::proto::connectorapi::BatonServiceHeartbeatResponse;

/// The default interval between heartbeats, and the bounds of the interval that ConductorOne requests.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// The time from the first attempt at the first heartbeat to the start of the last one.
const FIRST: Duration = Duration::from_secs(60);
/// The number of consecutive failed heartbeats after which the task is abandoned.
const MAX_MISSED: u32 = 9;

/// The reason why a task must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// ConductorOne has cancelled the task.
    Cancelled,
    /// ConductorOne has not answered for too long.
    Missed,
}

/// The reason why a task does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    /// The first heartbeat failed.
    #[error("the first heartbeat failed: {0}")]
    Failed(#[from] ApiError),
    /// ConductorOne has cancelled the task.
    #[error("ConductorOne has cancelled the task")]
    Cancelled,
    /// The program must stop.
    #[error("the program is stopping")]
    Stopped,
}

/// The heartbeats of one task, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    beating: JoinHandle<()>,
    ended: Arc<OnceLock<Ended>>,
}

impl Heartbeats {
    /// Sends the first heartbeat, then starts sending them periodically. Cancels `stop` when the task must
    /// stop.
    ///
    /// # Errors
    /// [`NotBegun`]
    pub(super) async fn begin(api: &Api, task_id: &str, stop: CancellationToken) -> Result<Self, NotBegun> {
        let first = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(NotBegun::Stopped),
            first = first(api, task_id) => first?,
        };
        if first.cancelled {
            return Err(NotBegun::Cancelled);
        }
        let ended = Arc::new(OnceLock::new());
        let (api, task_id, noted) = (api.clone(), task_id.to_owned(), Arc::clone(&ended));
        let beating = tokio::spawn(async move {
            let beats = AssertUnwindSafe(beat(&api, &task_id, interval(&first))).catch_unwind();
            // ConductorOne gets no heartbeats after a panic.
            let why = beats.await.unwrap_or(Ended::Missed);
            // Set once: only this task sets it.
            let _ = noted.set(why);
            stop.cancel();
        });
        Ok(Self { beating, ended })
    }

    /// The reason why the task must stop; `None` while it may continue.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// Sends the first heartbeat. Retries for a minute if it does not reach ConductorOne.
async fn first(api: &Api, task_id: &str) -> Result<BatonServiceHeartbeatResponse, ApiError> {
    (|| api.heartbeat(task_id))
        .retry(waits_of_first())
        // A rejected token is not used again.
        .when(|error| error.is_outage() || error.code() == Some(Code::Unauthenticated))
        .notify(|error, wait| {
            tracing::warn!(task_id, %error, next_backoff = log_seconds(wait), "the first heartbeat failed, retrying");
        })
        .await
}

/// The waits before further attempts at the first heartbeat, which begins now.
fn waits_of_first() -> impl Iterator<Item = Duration> + Send + Sync + Unpin {
    let last = Instant::now() + FIRST;
    let waits = ExponentialBuilder::default().with_min_delay(BOUNDS.0).without_max_times().build();
    waits.take_while(move |wait| Instant::now() + *wait <= last)
}

/// Sends heartbeats until the task must stop.
async fn beat(api: &Api, task_id: &str, mut wait: Duration) -> Ended {
    let mut missed = 0;
    loop {
        sleep(wait).await;
        match api.heartbeat(task_id).await {
            Ok(answer) if answer.cancelled => return Ended::Cancelled,
            Ok(answer) => (missed, wait) = (0, interval(&answer)),
            Err(error) => {
                missed += 1;
                tracing::warn!(task_id, %error, attempts = missed, next_heartbeat = log_seconds(wait), "heartbeat failed");
                if missed >= MAX_MISSED {
                    return Ended::Missed;
                }
            }
        }
    }
}

fn interval(answer: &BatonServiceHeartbeatResponse) -> Duration {
    let given = answer.next_heartbeat.and_then(|given| Duration::try_from(given).ok());
    given.filter(|given| !given.is_zero()).map_or(DEFAULT_INTERVAL, |given| given.clamp(BOUNDS.0, BOUNDS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_heartbeat_is_not_retried_after_a_minute() {
        let begun = Instant::now();
        let mut attempts = 1;
        for wait in waits_of_first() {
            attempts += 1;
            // Each attempt times out.
            sleep(wait + Duration::from_secs(30)).await;
        }
        assert_eq!(attempts, 3);
        assert!(begun.elapsed() <= FIRST + Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_time_between_heartbeats_has_bounds() {
        let of = |milliseconds: i64| {
            let nanos = (milliseconds % 1000 * 1_000_000) as i32;
            let next = prost_types::Duration { seconds: milliseconds / 1000, nanos };
            let answer = BatonServiceHeartbeatResponse { next_heartbeat: Some(next), ..Default::default() };
            interval(&answer)
        };
        assert_eq!(interval(&BatonServiceHeartbeatResponse::default()), DEFAULT_INTERVAL);
        assert_eq!(of(0), DEFAULT_INTERVAL);
        assert_eq!(of(-5), DEFAULT_INTERVAL);
        assert_eq!(of(100), Duration::from_secs(1));
        assert_eq!(of(7_500), Duration::from_millis(7_500));
        assert_eq!(of(600_000), Duration::from_secs(300));
    }
}

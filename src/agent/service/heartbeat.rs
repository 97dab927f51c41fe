//! Tells ConductorOne that a long task is still worked on, and hears from it when the task is not wanted any more.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::agent::service::api::{Api, ApiError};
use crate::proto::connectorapi::BatonServiceHeartbeatResponse;

/// The time between heartbeats when ConductorOne gives none, and the bounds of what it gives.
const USUAL: Duration = Duration::from_secs(30);
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// How long the waits between attempts at the first heartbeat may be together.
const FIRST: Duration = Duration::from_secs(60);
/// How many heartbeats in a row may fail before the task is given up.
const MOST_MISSED: u32 = 9;

/// Why a task is not to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// ConductorOne does not want it any more.
    Cancelled,
    /// ConductorOne has not been heard of for too long.
    Missed,
}

/// Why a task does not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    /// The first heartbeat failed.
    #[error("the first heartbeat failed: {0}")]
    Failed(#[from] ApiError),
    /// ConductorOne does not want the task any more.
    #[error("ConductorOne has cancelled the task")]
    Cancelled,
    /// The program is to stop.
    #[error("the program stops")]
    Stopped,
}

/// Heartbeats of one task, until dropped.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    beating: JoinHandle<()>,
    ended: Arc<OnceLock<Ended>>,
}

impl Heartbeats {
    /// Makes the first heartbeat and then one after the other. `stop` is cancelled when the task is not to go on.
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
            let why = beat(&api, &task_id, interval(&first)).await;
            // Set once: this is the only task that does.
            let _ = noted.set(why);
            stop.cancel();
        });
        Ok(Self { beating, ended })
    }

    /// Why the task is not to go on; nothing while it is.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.beating.abort();
    }
}

/// The first heartbeat. One that does not reach ConductorOne is made again for a minute.
async fn first(api: &Api, task_id: &str) -> Result<BatonServiceHeartbeatResponse, ApiError> {
    let wait = ExponentialBuilder::default()
        .with_min_delay(BOUNDS.0)
        .with_total_delay(Some(FIRST))
        .without_max_times();
    (|| api.heartbeat(task_id))
        .retry(wait)
        // A token that was refused is not used again.
        .when(|error| error.is_outage() || error.code() == Some(Code::Unauthenticated))
        .notify(|error, wait| {
            tracing::warn!(task_id, %error, next_backoff = wait.as_secs_f64(), "the first heartbeat failed, retrying");
        })
        .await
}

/// Makes heartbeats until the task is not to go on.
async fn beat(api: &Api, task_id: &str, mut wait: Duration) -> Ended {
    let mut missed = 0;
    loop {
        sleep(wait).await;
        match api.heartbeat(task_id).await {
            Ok(answer) if answer.cancelled => return Ended::Cancelled,
            Ok(answer) => (missed, wait) = (0, interval(&answer)),
            Err(error) => {
                missed += 1;
                tracing::warn!(task_id, %error, attempts = missed, next_heartbeat = wait.as_secs_f64(), "heartbeat failed");
                if missed >= MOST_MISSED {
                    return Ended::Missed;
                }
            }
        }
    }
}

fn interval(answer: &BatonServiceHeartbeatResponse) -> Duration {
    let given = answer.next_heartbeat.and_then(|given| Duration::try_from(given).ok());
    given.filter(|given| !given.is_zero()).map_or(USUAL, |given| given.clamp(BOUNDS.0, BOUNDS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_heartbeats_has_bounds() {
        let of = |milliseconds: i64| {
            let nanos = (milliseconds % 1000 * 1_000_000) as i32;
            let next = prost_types::Duration { seconds: milliseconds / 1000, nanos };
            let answer = BatonServiceHeartbeatResponse { next_heartbeat: Some(next), ..Default::default() };
            interval(&answer)
        };
        assert_eq!(interval(&BatonServiceHeartbeatResponse::default()), USUAL);
        assert_eq!(of(0), USUAL);
        assert_eq!(of(-5), USUAL);
        assert_eq!(of(100), Duration::from_secs(1));
        assert_eq!(of(7_500), Duration::from_millis(7_500));
        assert_eq!(of(600_000), Duration::from_secs(300));
    }
}

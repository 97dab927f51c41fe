//! The main loop: takes a free slot, gets a task for it, and repeats.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::agent::service::api::Api;
use crate::agent::service::context::Context;
use crate::agent::service::finish::finish;
use crate::agent::service::in_flight::{InFlight, InFlightGuard};
use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::poll::{Poll, Polled};
use crate::agent::service::tasks::{self, Ended, Kind};
use crate::numbers::log_seconds;
use crate::proto::connectorapi::Task;
use crate::telemetry::metrics::{self, TaskOutcome};
use crate::telemetry::watch;

/// Maximum wait after a failed poll.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Polls for tasks and runs them, as many at a time as there are slots, until the program must stop. Then
/// waits for the running tasks.
pub(super) async fn run(context: Context, concurrency: usize, batch: bool) {
    let context = Arc::new(context);
    let in_flight = InFlight::default();
    let mut poll = Poll::new(context.api.clone(), in_flight.clone(), batch.then_some(concurrency));
    let free = Arc::new(Semaphore::new(concurrency));
    let running = TaskTracker::new();
    let taking = async {
        let (mut wait, mut errors) = (Duration::ZERO, 0_u64);
        loop {
            sleep(wait).await;
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            match poll.next().await {
                Ok(Polled { task, wait: next }) => {
                    if errors > 0 {
                        tracing::info!(err_count = errors, "polling ConductorOne works again");
                    }
                    (wait, errors) = (next, 0);
                    if let Some((task, guard)) = task {
                        running.spawn(one(Arc::clone(&context), task, guard, permit));
                    }
                }
                Err(error) => {
                    errors += 1;
                    wait = backoff(errors);
                    tracing::warn!(
                        %error,
                        err_count = errors,
                        next_check_after = log_seconds(wait),
                        "cannot get tasks from ConductorOne, retrying"
                    );
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = context.stop.cancelled() => {}
        () = taking => {}
    }
    if in_flight.count() > 0 {
        tracing::info!(tasks = in_flight.count(), "stopped polling, finishing running tasks");
    }
    running.close();
    running.wait().await;
}

/// Runs a task to its end and reports the result.
async fn one(context: Arc<Context>, task: Task, guard: InFlightGuard, permit: OwnedSemaphorePermit) {
    let kind = Kind::of(&task);
    let watched = watch::task(kind.name());
    let span = watched.span();
    let open = Open { task_id: task.id.clone(), task_type: kind.name(), is_open: true };
    let ended = async {
        let (id, begun) = (task.id.clone(), Instant::now());
        tracing::info!(task_id = id, task_type = kind.name(), "task started");
        // A panic in one task must not stop the others.
        let Ended { outcome, until_reported } =
            AssertUnwindSafe(tasks::run(&context, task)).catch_unwind().await.unwrap_or_else(|_| {
                Failure::plain("the task panicked: this is a bug in baton-retool; see its log").into()
            });
        let ended = report(&context.api, &id, kind, outcome, begun).await;
        drop(until_reported);
        ended
    }
    .instrument(span)
    .await;
    open.closed();
    watched.ended(ended);
    // The order matters: when the slot becomes free, the task must no longer count as running.
    match ended {
        TaskOutcome::Done | TaskOutcome::FailedPermanently => guard.over(),
        _ => drop(guard),
    }
    drop(permit);
}

/// Logs a warning if a task is dropped before ConductorOne knows its result.
struct Open {
    task_id: String,
    task_type: &'static str,
    is_open: bool,
}

impl Open {
    fn closed(mut self) {
        self.is_open = false;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.is_open {
            tracing::warn!(
                task_id = self.task_id,
                task_type = self.task_type,
                "the program stopped before it reported the end of this task; check in ConductorOne whether it runs again"
            );
        }
    }
}

/// Reports the result of a task to ConductorOne and the log.
async fn report(api: &Api, task_id: &str, kind: Kind, outcome: Outcome, begun: Instant) -> TaskOutcome {
    let task_type = kind.name();
    let seconds = log_seconds(begun.elapsed());
    let (ended, code) = match &outcome {
        Outcome::Done { .. } | Outcome::Known => {
            tracing::info!(task_id, task_type, seconds, "task finished");
            (TaskOutcome::Done, None)
        }
        Outcome::Unreported(reason) => {
            tracing::warn!(
                task_id,
                task_type,
                seconds,
                reason,
                "task ended without a report to ConductorOne"
            );
            (TaskOutcome::Unreported, None)
        }
        // The message may repeat user input; the connector logs its error in a separate line.
        Outcome::Failed(failure) => {
            let (code, is_final) = (failure.code(), failure.is_final());
            tracing::warn!(task_id, task_type, seconds, ?code, non_retryable = is_final, "task failed");
            (if is_final { TaskOutcome::FailedPermanently } else { TaskOutcome::Failed }, Some(code))
        }
    };
    let Some(report) = outcome.report(api.host_id(), task_id) else { return ended };
    match finish(api, report).await {
        Ok(()) => {
            if kind == Kind::SyncFull && ended == TaskOutcome::Done {
                metrics::synced();
            }
            ended
        }
        Err(error) => {
            let code = code.map(|code| format!("{code:?}"));
            tracing::error!(
                task_id,
                task_type,
                done = ended == TaskOutcome::Done,
                code,
                %error,
                "cannot report the end of the task; check in ConductorOne whether it runs again"
            );
            TaskOutcome::Unreported
        }
    }
}

/// The square of the number of consecutive errors, in seconds.
fn backoff(errors: u64) -> Duration {
    Duration::from_secs(errors.saturating_mul(errors)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_errors_grows_to_a_minute() {
        let waits: Vec<u64> = (1..=9).map(|errors| backoff(errors).as_secs()).collect();
        assert_eq!(waits, [1, 4, 9, 16, 25, 36, 49, 60, 60]);
        assert_eq!(backoff(u64::MAX), LONGEST_BACKOFF);
    }
}

//! Tells ConductorOne how a task ended, for as long as that can be expected to get through.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::agent::service::api::{Api, ApiError};
use crate::proto::connectorapi::BatonServiceFinishTaskRequest;

/// The first wait before the report is made again, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long after the first attempt the last one begins.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Reports how a task ended. A report that does not get through is made again for ten minutes.
///
/// # Errors
/// It did not get through, or ConductorOne does not take it.
pub(super) async fn finish(api: &Api, report: BatonServiceFinishTaskRequest) -> Result<(), ApiError> {
    let task_id = report.task_id.clone();
    let last = Instant::now() + PATIENCE;
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(WAIT.0)
        .with_max_delay(WAIT.1)
        .without_max_times()
        .with_jitter()
        .build();
    let mut may_be_there = false;
    loop {
        let Err(error) = api.finish_task(report.clone()).await else { return Ok(()) };
        if may_be_there && is_over(&error) {
            tracing::warn!(
                task_id,
                %error,
                "ConductorOne already has the report of the task, whose answer was lost"
            );
            return Ok(());
        }
        may_be_there |= matches!(error, ApiError::Interrupted(_) | ApiError::Silent(_));
        let wait = waits.next().filter(|wait| may_get_through(&error) && Instant::now() + *wait <= last);
        let Some(wait) = wait else { return Err(error) };
        tracing::warn!(
            task_id,
            %error,
            next_backoff = wait.as_secs_f64(),
            "reporting the end of the task failed, retrying"
        );
        sleep(wait).await;
    }
}

/// Whether the same report may be taken later.
fn may_get_through(error: &ApiError) -> bool {
    match error {
        // ConductorOne may take the client back, and nothing else can be done with the report.
        ApiError::Token(_) | ApiError::Unreachable(_) | ApiError::Interrupted(_) | ApiError::Silent(_) => {
            true
        }
        ApiError::Status(status) => !matches!(
            status.code(),
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
        ),
    }
}

/// Whether ConductorOne says that the task is not open any more.
fn is_over(error: &ApiError) -> bool {
    matches!(error.code(), Some(Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition))
}

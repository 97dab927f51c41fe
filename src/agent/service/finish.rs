//! Tells ConductorOne how a task ended, for as long as that can be expected to get through.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tonic::Code;

use crate::agent::service::api::{Api, ApiError};
use crate::proto::connectorapi::BatonServiceFinishTaskRequest;

/// The first wait before the report is made again, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long the waits may be together.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Reports how a task ended. A report that does not get through is made again for ten minutes.
///
/// # Errors
/// It did not get through, or ConductorOne does not take it.
pub(super) async fn finish(api: &Api, report: BatonServiceFinishTaskRequest) -> Result<(), ApiError> {
    let task_id = report.task_id.clone();
    let wait = ExponentialBuilder::default()
        .with_min_delay(WAIT.0)
        .with_max_delay(WAIT.1)
        .with_total_delay(Some(PATIENCE))
        .with_jitter()
        .without_max_times();
    (|| api.finish_task(report.clone()))
        .retry(wait)
        .when(may_get_through)
        .notify(|error, wait| {
            tracing::warn!(task_id, %error, next_backoff = wait.as_secs_f64(), "reporting the end of the task failed, retrying");
        })
        .await
}

/// Whether the same report may be taken later.
fn may_get_through(error: &ApiError) -> bool {
    match error {
        // ConductorOne may take the client back, and nothing else can be done with the report.
        ApiError::Token(_) | ApiError::Unreachable(_) | ApiError::Silent(_) => true,
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

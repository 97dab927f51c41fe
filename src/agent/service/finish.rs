//! Reports to ConductorOne how a task ended, and retries as long as the report can succeed.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::agent::service::api::{Api, ApiError};
use crate::numbers::log_seconds;
use crate::proto::connectorapi::BatonServiceFinishTaskRequest;

/// The first and the longest wait before a retry.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The time from the first attempt to the start of the last one.
const RETRY_PERIOD: Duration = Duration::from_secs(10 * 60);

/// Reports how a task ended. Retries a failed report for ten minutes.
///
/// # Errors
/// The report could not be delivered, or ConductorOne rejects it.
pub(super) async fn finish(api: &Api, report: BatonServiceFinishTaskRequest) -> Result<(), ApiError> {
    let task_id = report.task_id.clone();
    let last = Instant::now() + RETRY_PERIOD;
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
                "ConductorOne already has the report of the task; the response to it was lost"
            );
            return Ok(());
        }
        may_be_there |= may_have_arrived(&error);
        let wait = waits.next().filter(|wait| may_get_through(&error) && Instant::now() + *wait <= last);
        let Some(wait) = wait else { return Err(error) };
        tracing::warn!(
            task_id,
            %error,
            next_backoff = log_seconds(wait),
            "cannot report the end of the task, retrying"
        );
        sleep(wait).await;
    }
}

/// Whether a retry of the report may succeed.
fn may_get_through(error: &ApiError) -> bool {
    match error {
        // ConductorOne may accept the client again, and there is no other use for the report.
        ApiError::Token(_) | ApiError::Unreachable(_) | ApiError::Interrupted(_) | ApiError::Silent(_) => {
            true
        }
        // It would be too large again. gRPC's servers use this code and text for their limit.
        ApiError::Status(status)
            if status.code() == Code::ResourceExhausted && status.message().contains("larger than max") =>
        {
            false
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

/// Whether ConductorOne may have accepted the report despite the error.
fn may_have_arrived(error: &ApiError) -> bool {
    match error {
        ApiError::Token(_) | ApiError::Unreachable(_) => false,
        ApiError::Interrupted(_) | ApiError::Silent(_) => true,
        // A proxy can answer with these codes for ConductorOne, whose own response it has lost.
        ApiError::Status(status) => matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::Cancelled
        ),
    }
}

/// Whether ConductorOne answers that the task is no longer open.
fn is_over(error: &ApiError) -> bool {
    matches!(error.code(), Some(Code::NotFound | Code::AlreadyExists | Code::FailedPrecondition))
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn a_report_that_is_too_large_is_not_sent_again() {
        let failed = |message: &str| ApiError::Status(Box::new(Status::resource_exhausted(message)));
        assert!(!may_get_through(&failed("grpc: received message larger than max (5000000 vs. 4194304)")));
        assert!(may_get_through(&failed("too many requests")));
    }
}

//! Retries of changes.

use std::time::{Duration, Instant};

use backon::Retryable;

use crate::connector::change::answer::ChangeAnswer;
use crate::connector::error::Error;
use crate::postgres::error::PostgresError;
use crate::retool::error::DatabaseError;

/// Waits between the attempts of a change that failed because the database was unavailable or another change
/// conflicted. Agents retry the calls of a sync but not changes, so the connector does (decision
/// temporary-failures). A retry is safe, because each attempt reads the current state.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// No attempt begins later than this.
const LONGEST: Duration = Duration::from_secs(16);

/// Limit of retries after an object of the change was deleted at the same time.
const GONE_ATTEMPTS: u32 = 2;

/// The waits that end before the deadline.
#[derive(Debug)]
struct WaitsUntil {
    waits: std::array::IntoIter<Duration, 5>,
    deadline: Instant,
}

impl Iterator for WaitsUntil {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.waits.next().filter(|wait| Instant::now() + *wait < self.deadline)
    }
}

/// Runs a change until it succeeds, until a retry cannot fix the error, or for about 15 seconds.
///
/// If the connection is lost during a commit, the attempt may have made the change. The next attempt then
/// finds it in place, and the result counts as made. If that attempt fails, the error still reports that the
/// change may have been made.
///
/// # Errors
/// The error of the last attempt, or of the first attempt with an uncertain end.
pub(crate) async fn until_settled<F>(attempt: impl FnMut() -> F) -> Result<ChangeAnswer, Error>
where
    F: Future<Output = Result<ChangeAnswer, Error>>,
{
    let mut uncertain = None;
    let mut gone = 0;
    let waits = WaitsUntil { waits: WAITS.into_iter(), deadline: Instant::now() + LONGEST };
    let settled = attempt
        .retry(waits)
        .when(|error| {
            // The deleted object may be the group that this change created, which the next attempt creates
            // again. Only that attempt can show this.
            let again = is_gone(error) && gone < GONE_ATTEMPTS;
            gone += u32::from(again);
            again || is_temporary(error)
        })
        .notify(|error, wait| {
            tracing::warn!(%error, wait_ms = wait.as_millis(), "a change was not made; retrying");
            if let Error::Database(DatabaseError::Postgres(PostgresError::Uncertain { .. })) = error {
                uncertain.get_or_insert_with(|| error.clone());
            }
        })
        .await;
    match (settled, uncertain) {
        (Ok(answer), Some(_)) => Ok(answer.after_uncertain_attempt()),
        (Err(_), Some(uncertain)) => Err(uncertain),
        (settled, None) => settled,
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Database(DatabaseError::Postgres(PostgresError::Gone { .. })))
}

fn is_temporary(error: &Error) -> bool {
    matches!(
        error,
        Error::Database(DatabaseError::Postgres(
            PostgresError::Connect { .. }
                | PostgresError::StillConnecting { .. }
                | PostgresError::Interrupted { .. }
                | PostgresError::Locked { .. }
                | PostgresError::Uncertain { .. }
        ))
    )
}

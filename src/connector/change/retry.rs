//! Retries of changes.

use std::time::Duration;

use backon::Retryable;
use tokio::time::Instant;

use crate::connector::audit::Record;
use crate::connector::change::answer::ChangeAnswer;
use crate::connector::error::Error;
use crate::postgres::error::PostgresError;
use crate::repeats::Verdict;
use crate::retool::error::DatabaseError;

/// The first waits between the attempts of a change that failed because the database was unavailable or another
/// change conflicted. Agents retry the calls of a sync but not changes, so the connector does (decision
/// temporary-failures). A retry is safe, because each attempt reads the current state.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// The wait between later attempts.
const LATER: Duration = Duration::from_secs(10);

/// No attempt begins later than this: a failover of the database usually takes less.
const LONGEST: Duration = Duration::from_secs(90);

/// The most time of the call that is reserved for the last attempt and the answer.
const DEADLINE_MARGIN: Duration = Duration::from_secs(10);

/// Limit of retries after an object of the change was deleted at the same time.
const GONE_ATTEMPTS: u32 = 2;

/// The waits between the attempts of a change, if this much time is left until the deadline of the call.
fn waits(time: Duration) -> impl Iterator<Item = Duration> + Send + Sync + Unpin {
    let last = Instant::now() + LONGEST.min(time.saturating_sub(DEADLINE_MARGIN.min(time / 3)));
    let all = WAITS.into_iter().chain(std::iter::repeat(LATER));
    all.take_while(move |wait| Instant::now() + *wait < last)
}

/// Runs a change until it succeeds, until a retry cannot fix the error, or for about 90 seconds. `time` is the
/// time until the deadline of the call; the last attempt begins some time before it.
///
/// If the connection is lost during a commit, the attempt may have made the change. The next attempt then
/// finds it in place, and the result counts as made. If that attempt fails, the error still reports that the
/// change may have been made.
///
/// # Errors
/// The error of the last attempt, or of the first attempt with an uncertain end.
pub(crate) async fn until_settled<F>(
    time: Duration,
    record: &Record,
    attempt: impl FnMut() -> F,
) -> Result<ChangeAnswer, Error>
where
    F: Future<Output = Result<ChangeAnswer, Error>>,
{
    let mut uncertain = None;
    let mut gone = 0;
    let settled = attempt
        .retry(waits(time))
        .when(|error| {
            // The deleted object may be the group that this change created, which the next attempt creates
            // again. Only that attempt can show this.
            let again = is_gone(error) && gone < GONE_ATTEMPTS;
            gone += u32::from(again);
            again || is_temporary(error)
        })
        .notify(|error, wait| {
            if let Verdict::Log { left_out } = record.judge_warning("retry") {
                let wait_ms = wait.as_millis();
                if error.is_uncertain() {
                    tracing::warn!(%error, wait_ms, left_out, "a change may have been made; retrying");
                } else {
                    tracing::warn!(%error, wait_ms, left_out, "a change was not made; retrying");
                }
            }
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
                | PostgresError::PoolExhausted { .. }
                | PostgresError::Interrupted { .. }
                | PostgresError::Locked { .. }
                | PostgresError::Uncertain { .. }
        ))
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// The number of attempts that take this long, and the time until the last one begins.
    async fn attempts(time: Duration, each: Duration) -> (u32, Duration) {
        let begun = Instant::now();
        let (mut attempts, mut last) = (1, Duration::ZERO);
        let mut waits = waits(time);
        loop {
            sleep(each).await;
            let Some(wait) = waits.next() else { return (attempts, last) };
            sleep(wait).await;
            (attempts, last) = (attempts + 1, begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_begin_within_ninety_seconds_and_well_before_the_deadline() {
        let seconds = Duration::from_secs;
        let (most, last) = attempts(seconds(300), Duration::ZERO).await;
        assert_eq!((most, last.as_secs()), (13, 85));
        for (time, limit) in [(300, 90), (60, 50), (30, 20), (3, 2)] {
            for each in [Duration::ZERO, Duration::from_millis(200), seconds(5)] {
                let (_, last) = attempts(seconds(time), each).await;
                assert!(last < seconds(limit), "{time} {each:?} {last:?}");
            }
        }
        assert_eq!(attempts(Duration::ZERO, Duration::ZERO).await.0, 1);
    }
}

//! Polls ConductorOne for tasks, one at a time or several at once.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::service::api::{Api, ApiError};
use crate::agent::service::in_flight::{InFlight, InFlightGuard};
use crate::agent::service::tasks::Kind;
use crate::proto::connectorapi::Task;
use crate::telemetry::metrics;

/// Maximum wait that ConductorOne can request.
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The wait before the next poll if ConductorOne specifies none and there was no task, and the shortest wait
/// after an offer of a task that has ended before. Without it, a task that ConductorOne offers again and again
/// would run thousands of times.
const FLOOR: Duration = Duration::from_secs(1);

/// Maximum length of a task id, in bytes. ConductorOne's ids have 27.
const LONGEST_ID: usize = 256;

/// A task to run, if there is one, and the wait before the next poll.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) task: Option<(Task, InFlightGuard)>,
    pub(super) wait: Duration,
}

/// Polls for tasks.
#[derive(Debug)]
pub(super) struct Poll {
    api: Api,
    in_flight: InFlight,
    batch: Option<Batch>,
}

/// The state of polling for several tasks at once.
#[derive(Debug)]
struct Batch {
    queue: VecDeque<Task>,
    /// The minimum number of waiting and running tasks. A poll requests enough tasks to reach twice that
    /// number.
    enough: usize,
    next: Instant,
}

impl Poll {
    /// Polls `api` for one task at a time or, if a number of slots is given, for enough tasks to fill them
    /// twice.
    pub(super) fn new(api: Api, in_flight: InFlight, batch_for: Option<usize>) -> Self {
        let batch = batch_for.map(|slots| Batch {
            queue: VecDeque::new(),
            enough: slots.max(1),
            next: Instant::now(),
        });
        Self { api, in_flight, batch }
    }

    /// Returns the next task.
    ///
    /// # Errors
    /// The poll failed, and no task is left from an earlier one.
    pub(super) async fn next(&mut self) -> Result<Polled, ApiError> {
        match &mut self.batch {
            None => single(&self.api, &self.in_flight).await,
            Some(batch) => batch.next(&self.api, &self.in_flight).await,
        }
    }
}

async fn single(api: &Api, in_flight: &InFlight) -> Result<Polled, ApiError> {
    in_flight.poll_begins();
    let answer = asked(api.get_task().await)?;
    let wait = clamped(answer.next_poll);
    let offered = answer.task.filter(is_work).filter(is_reportable);
    let is_repeated = offered.as_ref().is_some_and(|task| in_flight.has_ended(&task.id));
    let task = offered.and_then(|task| begun(in_flight, task));
    let wait = spaced(wait, task.is_some(), is_repeated);
    Ok(Polled { task, wait })
}

impl Batch {
    async fn next(&mut self, api: &Api, in_flight: &InFlight) -> Result<Polled, ApiError> {
        // A waiting task does not wait for the response to a poll, which may take minutes.
        if let Some(task) = self.take(in_flight) {
            return Ok(Polled { task: Some(task), wait: Duration::ZERO });
        }
        let known = in_flight.ids();
        let there = known.len();
        if there < self.enough && self.next <= Instant::now() {
            in_flight.poll_begins();
            let answer = asked(api.get_tasks(2 * self.enough - there, known).await)?;
            self.add(answer.tasks, clamped(answer.next_poll), in_flight);
        }
        let task = self.take(in_flight);
        let wait = match task {
            Some(_) => Duration::ZERO,
            None => self.next.saturating_duration_since(Instant::now()).max(Duration::from_millis(100)),
        };
        Ok(Polled { task, wait })
    }

    fn add(&mut self, tasks: Vec<Task>, wait: Duration, in_flight: &InFlight) {
        let before = self.queue.len();
        let mut is_repeated = false;
        for task in tasks.into_iter().filter(is_work).filter(is_reportable) {
            let known = in_flight.has(&task.id) || self.queue.iter().any(|queued| queued.id == task.id);
            // Drop the tasks beyond the requested number.
            if !known && self.queue.len() < 2 * self.enough {
                is_repeated |= in_flight.has_ended(&task.id);
                self.queue.push_back(task);
            }
        }
        self.next = Instant::now() + spaced(wait, self.queue.len() > before, is_repeated);
    }

    fn take(&mut self, in_flight: &InFlight) -> Option<(Task, InFlightGuard)> {
        loop {
            if let Some(taken) = begun(in_flight, self.queue.pop_front()?) {
                return Some(taken);
            }
        }
    }
}

fn asked<T>(answer: Result<T, ApiError>) -> Result<T, ApiError> {
    metrics::polled(answer.is_ok());
    answer
}

fn is_work(task: &Task) -> bool {
    Kind::of(task) != Kind::None
}

/// Whether the end of a task can be reported. Logs a warning if it cannot.
fn is_reportable(task: &Task) -> bool {
    let problem = match task.id.len() {
        0 => "ignoring a task without an id, which cannot be reported",
        length if length > LONGEST_ID => "ignoring a task whose id is too long to be reported",
        _ => return true,
    };
    tracing::warn!(task_type = Kind::of(task).name(), "{problem}");
    false
}

/// The wait before the next poll, if ConductorOne requests `wait`.
fn spaced(wait: Duration, has_task: bool, is_repeated: bool) -> Duration {
    match (has_task, is_repeated) {
        (_, true) => wait.max(FLOOR),
        (false, _) if wait.is_zero() => FLOOR,
        _ => wait,
    }
}

fn begun(in_flight: &InFlight, task: Task) -> Option<(Task, InFlightGuard)> {
    match in_flight.begin(&task.id) {
        Some(guard) => Some((task, guard)),
        None => {
            tracing::debug!(task_id = task.id, "ignoring a task that is running or has just ended");
            None
        }
    }
}

fn clamped(wait: Option<prost_types::Duration>) -> Duration {
    wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or_default().min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_the_requested_wait() {
        let of = |seconds| clamped(Some(prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!(clamped(None), Duration::ZERO);
        assert_eq!((of(-1), of(7), of(600)), (Duration::ZERO, Duration::from_secs(7), LONGEST));
    }

    #[test]
    fn a_repeated_offer_has_at_least_a_second_before_the_next_poll() {
        let (short, long) = (Duration::from_millis(5), Duration::from_secs(7));
        assert_eq!(spaced(Duration::ZERO, true, false), Duration::ZERO);
        assert_eq!(spaced(Duration::ZERO, false, false), FLOOR);
        assert_eq!((spaced(short, true, false), spaced(short, false, false)), (short, short));
        for has_task in [false, true] {
            assert_eq!(
                (spaced(Duration::ZERO, has_task, true), spaced(short, has_task, true)),
                (FLOOR, FLOOR)
            );
            assert_eq!(spaced(long, has_task, true), long);
        }
    }

    #[test]
    fn a_task_cannot_start_twice() {
        let in_flight = InFlight::default();
        let task = |id: &str| Task { id: id.to_owned(), ..Default::default() };
        let first = begun(&in_flight, task("t1"));
        assert!(first.is_some());
        assert!(begun(&in_flight, task("t1")).is_none());
        assert!(!is_reportable(&task("")) && is_reportable(&task(&"x".repeat(LONGEST_ID))));
        assert!(!is_reportable(&task(&"x".repeat(LONGEST_ID + 1))));
        assert_eq!(in_flight.ids(), ["t1"]);
        drop(first);
        assert!(begun(&in_flight, task("t1")).is_some());
    }
}

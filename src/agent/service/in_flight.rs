//! Tracks the running tasks, so that a task that is offered again does not run twice.
//!
//! An offer can be older than the end of its task: ConductorOne sends it while the task runs, and it arrives
//! after the task has ended. Therefore, tasks that have ended with a final result since the last poll began
//! count as well.
//!
//! ConductorOne may also offer a task again after its end, such as one whose result it does not know. The task
//! then runs again, and the ids of the tasks that ended last show that the offer is not new.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many ended tasks are remembered: more than ConductorOne offers again.
const MAX_ENDED: usize = 1024;

/// The ids of the running tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Ids>>);

#[derive(Debug, Default)]
struct Ids {
    running: BTreeSet<String>,
    /// Tasks that have ended with a final result since the last poll began. Their number is limited by the
    /// slots for tasks and the tasks that wait for a slot, because further tasks arrive only with a poll.
    over: BTreeSet<String>,
    /// The tasks that ended last, with any result, the latest at the end.
    ended: VecDeque<String>,
}

/// Marks a task as running until this is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    id: String,
    all: InFlight,
    over: bool,
}

impl InFlight {
    /// Records that a poll begins. ConductorOne knows the results of earlier tasks when it answers this poll.
    pub(super) fn poll_begins(&self) {
        self.lock().over.clear();
    }

    /// Records that a task is running. `None` if it is running already or the offer is older than its end.
    pub(super) fn begin(&self, id: &str) -> Option<InFlightGuard> {
        let mut ids = self.lock();
        let is_new = !ids.over.contains(id) && ids.running.insert(id.to_owned());
        is_new.then(|| InFlightGuard { id: id.to_owned(), all: self.clone(), over: false })
    }

    /// Whether a task is running, or has ended with a final result since the poll began.
    pub(super) fn has(&self, id: &str) -> bool {
        let ids = self.lock();
        ids.running.contains(id) || ids.over.contains(id)
    }

    /// Whether a task has ended before, with any result, so that an offer of it is not new.
    pub(super) fn has_ended(&self, id: &str) -> bool {
        self.lock().ended.iter().any(|ended| ended == id)
    }

    /// The ids of all running tasks.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().running.iter().cloned().collect()
    }

    /// The number of running tasks.
    pub(super) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightGuard {
    /// Records that the task has ended with a final result that ConductorOne knows, so that it does not offer
    /// the task again.
    pub(super) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut ids = self.all.lock();
        ids.running.remove(&self.id);
        if self.over {
            ids.over.insert(self.id.clone());
        }
        ids.note_end(std::mem::take(&mut self.id));
    }
}

impl Ids {
    fn note_end(&mut self, id: String) {
        self.ended.retain(|ended| *ended != id);
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_an_offer_older_than_the_end_of_its_task() {
        let tasks = InFlight::default();
        tasks.poll_begins();
        let (done, failed) = (tasks.begin("done"), tasks.begin("failed"));
        assert!(tasks.begin("done").is_none());
        tasks.poll_begins();
        done.into_iter().for_each(InFlightGuard::over);
        drop(failed);
        // The response to the poll that began before both ends.
        assert!(tasks.has("done") && tasks.begin("done").is_none());
        // ConductorOne may have offered it again because of the failure.
        assert!(!tasks.has("failed") && tasks.begin("failed").is_some());
        assert_eq!(tasks.count(), 0);
        tasks.poll_begins();
        assert!(tasks.begin("done").is_some());
        assert!(tasks.ids().is_empty());
    }

    #[test]
    fn remembers_a_limited_number_of_ended_tasks() {
        let tasks = InFlight::default();
        let running = tasks.begin("0");
        assert!(!tasks.has_ended("0"));
        drop(running);
        assert!(tasks.has_ended("0"));
        // A task that ends again counts once, as the latest.
        (1..MAX_ENDED).chain([0, MAX_ENDED]).for_each(|id| drop(tasks.begin(&id.to_string())));
        assert!(tasks.has_ended("0") && !tasks.has_ended("1") && tasks.has_ended("2"));
        assert_eq!(tasks.lock().ended.len(), MAX_ENDED);
    }
}

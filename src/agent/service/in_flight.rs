//! The tasks that are under way, so that one that is offered again is not run twice.
//!
//! An offer can be older than the end of its task: ConductorOne makes it while the task runs, and it arrives when the
//! task has ended. So the tasks that have ended for good since the last poll began count as well.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of the tasks that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<Ids>>);

#[derive(Debug, Default)]
struct Ids {
    running: BTreeSet<String>,
    /// Those that have ended for good since the last poll began. No more than there are places for tasks, and tasks
    /// that wait for one: further ones come with a poll.
    over: BTreeSet<String>,
}

/// A task that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    id: String,
    all: InFlight,
    over: bool,
}

impl InFlight {
    /// Notes that a poll begins. What is offered from now on is offered in knowledge of what has ended so far.
    pub(super) fn poll_begins(&self) {
        self.lock().over.clear();
    }

    /// Notes that a task is under way; nothing when it is already, or the offer is older than its end.
    pub(super) fn begin(&self, id: &str) -> Option<InFlightGuard> {
        let mut ids = self.lock();
        let is_new = !ids.over.contains(id) && ids.running.insert(id.to_owned());
        is_new.then(|| InFlightGuard { id: id.to_owned(), all: self.clone(), over: false })
    }

    /// Whether a task is under way, or has ended for good since the poll began.
    pub(super) fn has(&self, id: &str) -> bool {
        let ids = self.lock();
        ids.running.contains(id) || ids.over.contains(id)
    }

    /// All that are under way.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().running.iter().cloned().collect()
    }

    /// How many are under way.
    pub(super) fn count(&self) -> usize {
        self.lock().running.len()
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlightGuard {
    /// The task ends for good, and ConductorOne knows: it does not offer it again.
    pub(super) fn over(mut self) {
        self.over = true;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut ids = self.all.lock();
        if ids.running.remove(&self.id) && self.over {
            ids.over.insert(std::mem::take(&mut self.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_that_is_older_than_the_end_of_its_task_does_not_count() {
        let tasks = InFlight::default();
        tasks.poll_begins();
        let (done, failed) = (tasks.begin("done"), tasks.begin("failed"));
        assert!(tasks.begin("done").is_none());
        tasks.poll_begins();
        done.into_iter().for_each(InFlightGuard::over);
        drop(failed);
        // The answer to the poll from before both ends.
        assert!(tasks.has("done") && tasks.begin("done").is_none());
        // ConductorOne may have offered it in answer to the failure.
        assert!(!tasks.has("failed") && tasks.begin("failed").is_some());
        assert_eq!(tasks.count(), 0);
        tasks.poll_begins();
        assert!(tasks.begin("done").is_some());
        assert!(tasks.ids().is_empty());
    }
}

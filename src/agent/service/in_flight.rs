//! The tasks that are under way, so that one that is offered again is not run twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The ids of the tasks that are under way.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<BTreeSet<String>>>);

/// A task that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    id: String,
    all: InFlight,
}

impl InFlight {
    /// Notes that a task is under way; nothing when it is already.
    pub(super) fn begin(&self, id: &str) -> Option<InFlightGuard> {
        self.lock().insert(id.to_owned()).then(|| InFlightGuard { id: id.to_owned(), all: self.clone() })
    }

    /// Whether a task is under way.
    pub(super) fn has(&self, id: &str) -> bool {
        self.lock().contains(id)
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

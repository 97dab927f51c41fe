//! The memory of all requests in progress, from their first byte to their answer.
//!
//! A small call does not count, so that large requests cannot make small ones wait. The limit on calls bounds
//! the number of small calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::futures::TaskLocalFuture;
use tonic::Status;

use crate::proto::log_text::logged_in_full;

/// The memory for requests.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemory {
    /// One permit per byte.
    left: Arc<Semaphore>,
}

/// The memory of one call, released when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    left: Arc<Semaphore>,
    /// `None` for a small call.
    held: Mutex<Option<OwnedSemaphorePermit>>,
}

/// The memory that a call may take.
pub(crate) trait CallMemory: Send + Sync {
    /// Whether the server refuses all changes, so that their requests need little memory.
    fn changes_are_off(&self) -> bool {
        false
    }

    /// Sets the memory of the call to this many bytes, more or fewer than before, without waiting.
    ///
    /// # Errors
    /// Other calls use the memory.
    fn settle(&self, bytes: usize) -> Result<(), Status>;
}

/// How many bytes of a call do not count.
const FREE: usize = 64 * 1024;

tokio::task_local! {
    /// The memory of the current task's call.
    static CALL: Arc<dyn CallMemory>;
}

impl RequestMemory {
    /// Creates a limit of this many bytes for requests that are not small.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { left: Arc::new(Semaphore::new(bytes.min(u32::MAX as usize))) }
    }

    /// Creates the empty share of a new call.
    pub(crate) fn share(&self) -> Arc<Share> {
        Arc::new(Share { left: Arc::clone(&self.left), held: Mutex::new(None) })
    }
}

impl Share {
    /// How many bytes the share lacks for a total of `bytes`.
    pub(crate) fn missing(&self, bytes: usize) -> u32 {
        counted(bytes).saturating_sub(held(&self.lock()))
    }

    /// Waits for this many more bytes.
    pub(crate) async fn grow(self: Arc<Self>, bytes: u32) {
        // The semaphore is never closed.
        if let Ok(more) = Arc::clone(&self.left).acquire_many_owned(bytes).await {
            self.add(more);
        }
    }

    fn add(&self, more: OwnedSemaphorePermit) {
        let mut permit = self.lock();
        match permit.as_mut() {
            Some(permit) => permit.merge(more),
            None => *permit = Some(more),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CallMemory for Share {
    fn settle(&self, bytes: usize) -> Result<(), Status> {
        let missing = self.missing(bytes);
        if missing > 0 {
            self.add(Arc::clone(&self.left).try_acquire_many_owned(missing).map_err(|_| exhausted())?);
            return Ok(());
        }
        let mut permit = self.lock();
        let surplus = held(&permit).saturating_sub(counted(bytes));
        if let Some(permit) = permit.as_mut() {
            drop(permit.split(surplus as usize));
        }
        Ok(())
    }
}

/// How many of the bytes of a call count.
pub(crate) fn counted(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_sub(FREE)).unwrap_or(u32::MAX)
}

/// The status of a call whose request does not fit into the memory.
pub(crate) fn exhausted() -> Status {
    logged_in_full(Status::unavailable(
        "other large requests use all the memory for large requests; retry later",
    ))
}

/// Runs a call that decodes its request in this memory.
pub(crate) fn within<F: Future>(
    memory: Arc<dyn CallMemory>,
    call: F,
) -> TaskLocalFuture<Arc<dyn CallMemory>, F> {
    CALL.scope(memory, call)
}

/// Sets the memory of the current task's call to the bytes of its decoded request, which replace those of the
/// encoded request. Outside of [`within`] there is no limit.
///
/// # Errors
/// Other calls use the memory.
pub(super) fn settle(bytes: usize) -> Result<(), Status> {
    CALL.try_with(|memory| memory.settle(bytes)).unwrap_or(Ok(()))
}

/// Whether the server of the current task's call refuses all changes.
pub(super) fn changes_are_off() -> bool {
    CALL.try_with(|memory| memory.changes_are_off()).unwrap_or(false)
}

fn held(permit: &Option<OwnedSemaphorePermit>) -> u32 {
    let held = permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    u32::try_from(held).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_counts_only_large_requests_and_releases_unused_memory() {
        let memory = RequestMemory::new(1000);
        let left = || memory.left.available_permits();
        let (one, other) = (memory.share(), memory.share());
        assert_eq!(one.missing(FREE), 0);
        Arc::clone(&one).grow(one.missing(FREE + 700)).await;
        assert_eq!((one.missing(FREE + 700), left()), (0, 300));
        assert!(other.settle(FREE + 301).is_err());
        other.settle(FREE).unwrap();
        one.settle(FREE + 900).unwrap();
        assert_eq!(left(), 100);
        one.settle(FREE + 200).unwrap();
        assert_eq!(left(), 800);
        one.settle(10).unwrap();
        assert_eq!(left(), 1000);
        other.settle(FREE + 400).unwrap();
        drop(other);
        assert_eq!(left(), 1000);
    }

    #[tokio::test]
    async fn a_request_uses_the_share_of_its_own_call() {
        let memory = RequestMemory::new(1000);
        settle(usize::MAX).unwrap();
        within(memory.share(), async {
            settle(FREE + 600).unwrap();
            let refused = within(memory.share(), async { settle(FREE + 600) }).await;
            assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
        })
        .await;
        within(memory.share(), async { settle(FREE + 1000) }).await.unwrap();
    }
}

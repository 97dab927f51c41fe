//! The memory of a call from the first byte of its request to its answer.
//!
//! A small call does not count, so that large requests cannot make small ones wait. The limit on calls bounds
//! the number of small calls.

use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;
use tonic::Status;

use crate::proto::log_text::logged_in_full;

/// The memory that a call may take.
pub(crate) trait CallMemory: Send + Sync {
    /// Whether the server refuses all changes, so that their requests need little memory.
    fn changes_are_off(&self) -> bool {
        false
    }

    /// Sets the memory of the call to this many bytes, more or fewer than before, without waiting.
    ///
    /// # Errors
    /// Other calls, or other calls of this caller, use the memory.
    fn settle(&self, bytes: usize) -> Result<(), Status>;
}

/// How many bytes of a call do not count.
const FREE: usize = 64 * 1024;

tokio::task_local! {
    /// The memory of the current task's call.
    static CALL: Arc<dyn CallMemory>;
}

/// How many of the bytes of a call count.
pub(crate) fn counted(bytes: usize) -> usize {
    // Far more than there is, so that sums do not overflow.
    bytes.saturating_sub(FREE).min(u32::MAX as usize)
}

/// The status of a call whose request does not fit into the memory.
pub(crate) fn exhausted() -> Status {
    logged_in_full(Status::unavailable(
        "large requests in progress fill the memory allowed for all callers, this caller or this connection; retry later",
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
/// Those of [`CallMemory::settle`].
pub(super) fn settle(bytes: usize) -> Result<(), Status> {
    CALL.try_with(|memory| memory.settle(bytes)).unwrap_or(Ok(()))
}

/// Whether the server of the current task's call refuses all changes.
pub(super) fn changes_are_off() -> bool {
    CALL.try_with(|memory| memory.changes_are_off()).unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A memory with this many bytes.
    struct Bytes(usize);

    impl CallMemory for Bytes {
        fn settle(&self, bytes: usize) -> Result<(), Status> {
            if counted(bytes) > self.0 { Err(exhausted()) } else { Ok(()) }
        }
    }

    #[test]
    fn only_large_requests_count() {
        assert_eq!([0, FREE, FREE + 1].map(counted), [0, 0, 1]);
        assert_eq!(counted(usize::MAX), u32::MAX as usize);
    }

    #[tokio::test]
    async fn a_request_uses_the_memory_of_its_own_call() {
        settle(usize::MAX).unwrap();
        within(Arc::new(Bytes(1000)), async {
            settle(FREE + 1000).unwrap();
            let refused = within(Arc::new(Bytes(400)), async { settle(FREE + 401) }).await;
            assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
        })
        .await;
    }
}

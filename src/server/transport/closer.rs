//! Closes a connection from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Closes a connection from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closer(Arc<(AtomicBool, AtomicWaker)>);

impl Closer {
    pub(crate) fn close(&self) {
        let (closed, task) = &*self.0;
        closed.store(true, Ordering::Release);
        task.wake();
    }

    /// Whether the connection is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Whether the connection is closed; wakes the task when it is.
    pub(crate) fn poll_closed(&self, context: &Context<'_>) -> bool {
        self.0.1.register(context.waker());
        self.is_closed()
    }
}

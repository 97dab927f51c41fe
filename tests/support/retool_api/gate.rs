//! Holds answers back until a test releases them.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A gate at which requests wait. A gate that is never opened is an API that never answers.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    waiting: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self { waiting: none(), open: none() }
    }

    /// Waits for one more request to arrive.
    pub(crate) async fn reached(&self) {
        self.waiting.acquire().await.unwrap().forget();
    }

    /// Releases all waiting and future requests.
    pub(crate) fn open(&self) {
        self.open.close();
    }

    /// Waits for the gate to open, on behalf of a request.
    pub(super) async fn pass(&self) {
        self.waiting.add_permits(1);
        // The wait ends when the semaphore is closed.
        let _ = self.open.acquire().await;
    }
}

//! Holds an answer back until a test lets it go.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Where requests wait. A gate that is never opened is an API that never answers.
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

    /// Lets all requests pass that wait or will.
    pub(crate) fn open(&self) {
        self.open.close();
    }

    /// Waits, as a request, for the gate to open.
    pub(super) async fn pass(&self) {
        self.waiting.add_permits(1);
        // Closing the semaphore is what ends this.
        let _ = self.open.acquire().await;
    }
}

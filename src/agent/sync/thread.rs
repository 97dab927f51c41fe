//! A thread for the storage, so that its calls do not block the runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::agent::sync::error::Error;
use crate::agent::sync::storage::{Storage, StorageError};

/// How many pages may wait to be written. Each holds at most one response.
const WAITING: usize = 4;

/// A job for the storage.
type Job<S> = Box<dyn FnOnce(&mut S) -> Result<(), StorageError> + Send>;

/// Sends jobs to the storage, which performs them in order.
pub(crate) struct Storing<S> {
    jobs: mpsc::Sender<Option<Job<S>>>,
    failure: Arc<Mutex<Option<StorageError>>>,
}

/// A storage that runs on its own thread.
pub(crate) struct StorageThread<S> {
    storing: Storing<S>,
    returned: oneshot::Receiver<S>,
}

impl<S: Storage> StorageThread<S> {
    /// Moves the storage to a new thread.
    ///
    /// # Errors
    /// [`Error::Thread`], with the storage lost
    pub(crate) fn start(mut storage: S) -> Result<Self, Error> {
        let (jobs, mut received) = mpsc::channel::<Option<Job<S>>>(WAITING);
        let (give_back, returned) = oneshot::channel();
        let failure = Arc::new(Mutex::new(None));
        let failed = Arc::clone(&failure);
        thread::Builder::new()
            .name("sync-storage".to_owned())
            .spawn(move || {
                while let Some(Some(job)) = received.blocking_recv() {
                    if let Err(error) = job(&mut storage) {
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        break;
                    }
                }
                // Senders see the closed channel before the storage is returned.
                drop(received);
                // An error only means that the receiver was dropped.
                let _ = give_back.send(storage);
            })
            .map_err(Error::Thread)?;
        Ok(Self { storing: Storing { jobs, failure }, returned })
    }

    /// Returns a sender of jobs.
    pub(crate) fn storing(&self) -> Storing<S> {
        self.storing.clone()
    }

    /// Returns the storage after all earlier jobs are done.
    ///
    /// # Errors
    /// [`Error::StorageLost`]
    pub(crate) async fn end(self) -> Result<S, Error> {
        // A thread that has already ended has returned the storage as well.
        let _ = self.storing.jobs.send(None).await;
        self.returned.await.map_err(|_| Error::StorageLost)
    }
}

impl<S: Storage> Storing<S> {
    /// Sends a job without waiting for it. A later call returns its error.
    ///
    /// # Errors
    /// [`Error::Storage`] if an earlier job failed
    pub(crate) async fn write(
        &self,
        job: impl FnOnce(&mut S) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<(), Error> {
        self.jobs.send(Some(Box::new(job))).await.map_err(|_| self.failed())
    }

    /// Sends a job and waits for its result.
    ///
    /// # Errors
    /// [`Error::Storage`] if this or an earlier job failed
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut S) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.write(move |storage| {
            let result = job(storage);
            let failed = result.as_ref().err().cloned();
            // The caller may have been cancelled.
            let _ = answer.send(result);
            failed.map_or(Ok(()), Err)
        })
        .await?;
        answered.await.map_err(|_| self.failed())?.map_err(Error::Storage)
    }

    fn failed(&self) -> Error {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Error::Storage(error.clone()),
            None => Error::StorageLost,
        }
    }
}

impl<S> Clone for Storing<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), failure: Arc::clone(&self.failure) }
    }
}

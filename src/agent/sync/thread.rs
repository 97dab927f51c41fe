//! The thread on which a storage works, so that no call to it blocks the runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::agent::sync::error::Error;
use crate::agent::sync::storage::{Storage, StorageError};

/// How many pages may wait to be written. Each is at most what one answer holds.
const WAITING: usize = 4;

/// Something to do with the storage.
type Job<S> = Box<dyn FnOnce(&mut S) -> Result<(), StorageError> + Send>;

/// Sends work to the storage. Work is done in the order in which it is sent.
pub(crate) struct Storing<S> {
    jobs: mpsc::Sender<Option<Job<S>>>,
    failure: Arc<Mutex<Option<StorageError>>>,
}

/// The storage at work.
pub(crate) struct StorageThread<S> {
    storing: Storing<S>,
    returned: oneshot::Receiver<S>,
}

impl<S: Storage> StorageThread<S> {
    /// Puts the storage on a thread of its own.
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
                // Senders see it before they can see the storage again.
                drop(received);
                // Nobody waits for it any more.
                let _ = give_back.send(storage);
            })
            .map_err(Error::Thread)?;
        Ok(Self { storing: Storing { jobs, failure }, returned })
    }

    /// A sender of work.
    pub(crate) fn storing(&self) -> Storing<S> {
        self.storing.clone()
    }

    /// The storage, when all work sent before is done.
    ///
    /// # Errors
    /// [`Error::StorageLost`]
    pub(crate) async fn end(self) -> Result<S, Error> {
        // A thread that has ended gives the storage back as well.
        let _ = self.storing.jobs.send(None).await;
        self.returned.await.map_err(|_| Error::StorageLost)
    }
}

impl<S: Storage> Storing<S> {
    /// Sends work and does not wait for it. An error comes back from a later call.
    ///
    /// # Errors
    /// [`Error::Storage`] when this or earlier work failed
    pub(crate) async fn write(
        &self,
        job: impl FnOnce(&mut S) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<(), Error> {
        self.jobs.send(Some(Box::new(job))).await.map_err(|_| self.failed())
    }

    /// Sends work and waits for its result.
    ///
    /// # Errors
    /// [`Error::Storage`] when this or earlier work failed
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

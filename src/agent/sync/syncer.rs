//! Runs a sync from its first call to its last.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::agent::sync::connector::Connector;
use crate::agent::sync::error::Error;
use crate::agent::sync::meter::Meter;
use crate::agent::sync::options::Options;
use crate::agent::sync::outcome::Outcome;
use crate::agent::sync::run::Run;
use crate::agent::sync::storage::Storage;
use crate::agent::sync::thread::StorageThread;

/// A sync to run.
#[derive(Debug)]
pub struct Syncer {
    channel: Channel,
    options: Options,
    meter: Arc<Meter>,
    stop: CancellationToken,
}

impl Syncer {
    /// Creates a sync of the connector at the other end of a channel.
    pub fn new(channel: Channel, options: Options) -> Self {
        Self { channel, options, meter: Arc::default(), stop: CancellationToken::new() }
    }

    /// Stops the sync when the token is cancelled. The rows read until then form an unfinished sync.
    #[must_use]
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// The progress of the sync.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Runs the sync and returns the storage, or `None` if the storage was lost with its thread.
    ///
    /// Must run on a tokio runtime. If the future is dropped, the thread keeps the storage and ends on its
    /// own.
    pub async fn run<S: Storage>(self, storage: S) -> (Result<Outcome, Error>, Option<S>) {
        let thread = match StorageThread::start(storage) {
            Ok(thread) => thread,
            Err(error) => return (Err(error), None),
        };
        let outcome = self.sync(&thread).await;
        match thread.end().await {
            Ok(storage) => (outcome, Some(storage)),
            Err(lost) => (outcome.and(Err(lost)), None),
        }
    }

    async fn sync<S: Storage>(self, thread: &StorageThread<S>) -> Result<Outcome, Error> {
        let begun = Instant::now();
        let connector = Connector::new(self.channel, self.options.measure_answers);
        let sdk_version = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            answered = connector.validate() => answered?,
        };
        let validate = begun.elapsed();
        let skip = self.options.skip_full_sync;
        let run = Arc::new(
            Run::begin(connector, thread.storing(), self.options, self.meter, self.stop, &sdk_version)
                .await?,
        );
        if skip {
            run.seal(String::new()).await?;
        } else {
            run.complete().await?;
        }
        Ok(Outcome { validate, elapsed: begun.elapsed(), ..run.outcome() })
    }
}

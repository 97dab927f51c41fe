//! Reads everything that a connector has into a storage: what the agent of the baton protocol does.
//!
//! A sync is a stack of actions (`state`). The main loop (`run`) takes the topmost ones, lets workers make their
//! calls, and checkpoints the stack, so that a later run goes on where this one ended. The phases have a file each
//! and say what an answer leads to: rows for the storage, more actions, or the end.
//!
//! Any connector can be read, not only this program's own: the agent speaks the protocol over a [`Channel`] and
//! checks what comes back.

mod annotation;
mod connector;
mod count;
mod entitlements;
mod error;
mod exclusion;
mod external;
mod file;
mod grants;
mod meter;
mod options;
mod resources;
mod retry;
mod run;
mod spawn;
mod state;
mod storage;
mod targeted;
mod thread;
mod tokens;
mod types;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::agent::c1z::Expanded;
use crate::agent::sync::connector::Connector;
use crate::agent::sync::run::Run;
use crate::agent::sync::thread::StorageThread;

pub use count::{CountOnly, Visitor, Walk, walk};
pub use error::Error;
pub use meter::{Meter, Reading};
pub use options::{External, Options, Target, TargetError, Workers};
pub use state::Operation;
pub use storage::{Kind, Page, Started, Storage, StorageError};

/// A sync to run.
#[derive(Debug)]
pub struct Syncer {
    channel: Channel,
    options: Options,
    meter: Arc<Meter>,
    stop: CancellationToken,
}

/// What a sync has read.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The id of the sync.
    pub sync_id: String,
    /// What it covers.
    pub kind: Kind,
    /// It was begun by an earlier run. Counts and times are of this run only.
    pub resumed: bool,
    /// What was read of each resource type, in the connector's order.
    pub types: Vec<(String, Counts)>,
    /// What expansion added.
    pub expanded: Expanded,
    /// How long each phase took.
    pub phases: Vec<(Operation, Duration)>,
    /// How long Validate took.
    pub validate: Duration,
    /// How long everything took, from before Validate to after Cleanup.
    pub elapsed: Duration,
    /// How many calls were made.
    pub calls: u64,
    /// The largest answer in bytes; 0 unless [`Options::measure_answers`].
    pub largest_answer: usize,
    /// How many listings were skipped since the connector did not find what it had listed.
    pub warnings: u64,
    /// Rows that were not stored, with the reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// How much there is of one resource type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources of the type.
    pub resources: u64,
    /// Entitlements on them.
    pub entitlements: u64,
    /// Grants of those.
    pub grants: u64,
}

impl Syncer {
    /// A sync of the connector at the other end of a channel.
    pub fn new(channel: Channel, options: Options) -> Self {
        Self { channel, options, meter: Arc::default(), stop: CancellationToken::new() }
    }

    /// Stops the sync when the token is cancelled. What was read until then is an unfinished sync.
    #[must_use]
    pub fn stopped_by(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Where to see how far the sync has come.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Runs the sync and gives the storage back. The storage is nothing when it was lost with its thread.
    ///
    /// Must run on a tokio runtime. Dropping the future leaves the storage to its thread, which ends by itself.
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

#[cfg(test)]
mod tests;

//! The snapshots of access that serve running syncs.
//!
//! The first listing of resources or grants of a sync reads a snapshot. All later listings of the sync are
//! served from it. If there is no snapshot for any reason, SQL statements serve the listing. The rows are the
//! same, and a page token from one source is valid for the other.
//!
//! Callers choose the names of syncs, so nothing here grows with their number: there are at most
//! [`MAX_HELD`] snapshots, within a common memory limit, one is read at a time, and [`Allowance`] limits how
//! often.

mod allowance;
mod held;
mod sync_id;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

use crate::connector::error::Error;
use crate::connector::snapshots::allowance::Allowance;
use crate::connector::snapshots::held::{Held, Needed};
use crate::connector::snapshots::sync_id::SyncId;
use crate::postgres::error::{PostgresError, RetryClass};
use crate::retool::error::DatabaseError;
use crate::retool::snapshot::{ReadError, Snapshot};
use crate::telemetry::metrics::{self, SnapshotRead, SnapshotState};

/// The source of a listing.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The database, in its current state.
    Statements,
    /// The database, as of the start of the sync.
    Snapshot(Arc<Snapshot>),
}

/// Reads a snapshot within a memory limit, which is the argument, in bytes.
pub(crate) type Reader = Box<dyn Fn(usize) -> BoxFuture<'static, Result<Snapshot, ReadError>> + Send + Sync>;

/// The snapshots of all syncs.
pub(crate) struct Snapshots(Arc<Registry>);

struct Registry {
    reader: Reader,
    /// Memory limit of all snapshots together, in bytes; 0 disables snapshots.
    most_bytes: usize,
    /// Held by the current read.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    held: Held,
    /// Reads in progress. A read is cancelled once no call waits for it.
    readings: HashMap<SyncId, WeakShared<Reading>>,
    allowance: Allowance,
    /// No read starts before this time.
    paused_until: Option<Instant>,
    /// Whether a task waits for snapshots to become idle.
    is_watched: bool,
}

type Reading = BoxFuture<'static, Found>;

/// The result of a read. A failure that statements would hit too is returned to the caller.
#[derive(Clone)]
enum Found {
    Snapshot(Arc<Snapshot>),
    Nothing,
    Failed(DatabaseError),
}

/// Limit of snapshots.
const MAX_HELD: usize = 8;
/// How long an unused snapshot is kept.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// Timeout of a read. After it, statements serve the call within the call's own deadline.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// If callers cancel a read after this time or later, their timeout is too short for it.
const SLOW: Duration = Duration::from_secs(10);
/// Pause after a read that cannot succeed soon.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// Pause after a failed read.
const SHORT_PAUSE: Duration = Duration::from_secs(60);

// ===== impl Snapshots =====

impl Snapshots {
    /// Snapshots that `reader` reads, with a memory limit for all together in bytes; 0 disables them.
    pub(crate) fn new(reader: Reader, most_bytes: usize) -> Self {
        let state = State {
            held: Held::default(),
            readings: HashMap::new(),
            allowance: Allowance::full(Instant::now()),
            paused_until: None,
            is_watched: false,
        };
        let registry = Arc::new(Registry {
            reader,
            most_bytes,
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
        });
        let watched = Arc::downgrade(&registry);
        metrics::watch_snapshots(move || {
            watched.upgrade().map(|registry| registry.metrics()).unwrap_or_default()
        });
        Self(registry)
    }

    /// The source of a listing of this sync: its snapshot, which is read if there is none yet. An empty name
    /// means no sync.
    ///
    /// # Errors
    /// [`Error::Database`] if the database is unavailable.
    pub(crate) async fn source(&self, sync: &str) -> Result<Source, Error> {
        let Some(sync) = SyncId::of(sync).filter(|_| self.0.most_bytes > 0) else {
            return Ok(Source::Statements);
        };
        let source = match self.0.find(sync) {
            Ok(snapshot) => Source::Snapshot(snapshot),
            Err(None) => Source::Statements,
            Err(Some(reading)) => match reading.await {
                Found::Snapshot(snapshot) => Source::Snapshot(snapshot),
                Found::Nothing => Source::Statements,
                Found::Failed(error) => return Err(error.into()),
            },
        };
        metrics::snapshot_listed(matches!(source, Source::Snapshot(_)));
        Ok(source)
    }

    /// Drops the snapshot of a sync that has ended.
    pub(crate) fn end(&self, sync: &str) {
        if let Some(sync) = SyncId::of(sync) {
            self.0.state().held.remove(sync);
        }
    }
}

// ===== impl Registry =====

impl Registry {
    /// Returns the sync's snapshot, or the read that will return one, or `Err(None)` if no read may start
    /// now.
    fn find(self: &Arc<Self>, sync: SyncId) -> Result<Arc<Snapshot>, Option<Shared<Reading>>> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(snapshot) = state.held.get(sync, now) {
            return Ok(snapshot);
        }
        if let Some(reading) = state.readings.get(&sync).and_then(WeakShared::upgrade) {
            return Err(Some(reading));
        }
        let is_paused = state.paused_until.is_some_and(|until| now < until);
        let has_room = state.held.has_room(MAX_HELD, now);
        if is_paused || !has_room || !state.allowance.take(now) {
            return Err(None);
        }
        state.readings.retain(|_, reading| reading.upgrade().is_some());
        let reading = Arc::clone(self).read(sync).boxed().shared();
        if let Some(weak) = reading.downgrade() {
            state.readings.insert(sync, weak);
        }
        Err(Some(reading))
    }

    async fn read(self: Arc<Self>, sync: SyncId) -> Found {
        let _turn = self.turn.lock().await;
        let mut watched =
            Watched { registry: &self, began: Instant::now(), outcome: SnapshotRead::Cancelled };
        let read = tokio::time::timeout(READ_LIMIT, self.read_within_bounds()).await;
        let (found, outcome) = match read {
            Ok(Ok(snapshot)) => {
                let snapshot = Arc::new(snapshot);
                self.hold(sync, &snapshot, watched.began);
                (Found::Snapshot(snapshot), SnapshotRead::Ok)
            }
            Ok(Err(ReadError::TooLarge { most_bytes })) => {
                let setting = self.most_bytes;
                tracing::warn!(
                    most_bytes,
                    setting,
                    "a snapshot of access does not fit into --snapshot-max-mib; syncs are answered with SQL statements instead"
                );
                // While other syncs use a part of the memory, the rest may suffice later.
                self.pause(if most_bytes == setting { PAUSE } else { SHORT_PAUSE });
                (Found::Nothing, SnapshotRead::TooLarge)
            }
            Ok(Err(ReadError::Database(error))) if is_away(&error) => {
                (Found::Failed(error), SnapshotRead::Failed)
            }
            Ok(Err(ReadError::Database(error))) => {
                tracing::warn!(%error, "a snapshot of access could not be read; syncs are answered with SQL statements instead");
                self.pause(SHORT_PAUSE);
                (Found::Nothing, SnapshotRead::Failed)
            }
            Err(_) => {
                let limit = READ_LIMIT.as_secs();
                tracing::warn!(
                    limit,
                    "reading a snapshot of access took too long; syncs are answered with SQL statements instead"
                );
                self.pause(PAUSE);
                (Found::Nothing, SnapshotRead::TooSlow)
            }
        };
        watched.outcome = outcome;
        self.state().readings.remove(&sync);
        found
    }

    /// Frees snapshots that are not in use if their memory is needed.
    async fn read_within_bounds(&self) -> Result<Snapshot, ReadError> {
        let free = self.state().held.free(self.most_bytes, Needed::AsLastTime, Instant::now());
        match (self.reader)(free).await {
            Err(ReadError::TooLarge { .. }) if free < self.most_bytes => {
                let more = self.state().held.free(self.most_bytes, Needed::All, Instant::now());
                if more == free {
                    return Err(ReadError::TooLarge { most_bytes: free });
                }
                (self.reader)(more).await
            }
            result => result,
        }
    }

    fn hold(self: &Arc<Self>, sync: SyncId, snapshot: &Arc<Snapshot>, began: Instant) {
        tracing::info!(
            rows = snapshot.rows(),
            bytes = snapshot.bytes(),
            milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "read a snapshot of access for a sync"
        );
        let mut state = self.state();
        state.held.insert(sync, Arc::clone(snapshot), began, MAX_HELD);
        if !std::mem::replace(&mut state.is_watched, true) {
            let registry = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(next) = registry.upgrade().and_then(|registry| registry.drop_idle()) {
                    tokio::time::sleep_until(next).await;
                }
            });
        }
    }

    /// Drops unused snapshots. Returns when to check again, or `None` if no snapshot is left.
    fn drop_idle(&self) -> Option<Instant> {
        let mut state = self.state();
        let next = state.held.drop_idle(IDLE, Instant::now());
        state.is_watched = next.is_some();
        next
    }

    fn pause(&self, duration: Duration) {
        self.state().paused_until = Some(Instant::now() + duration);
    }

    fn metrics(&self) -> SnapshotState {
        self.state().held.metrics(Instant::now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether SQL statements would fail in the same way. The caller then gets the error without a second wait.
fn is_away(error: &DatabaseError) -> bool {
    let is_slow =
        |error: &PostgresError| matches!(error, PostgresError::Timeout { .. } | PostgresError::Locked { .. });
    error.retry_class() == RetryClass::Outage && !error.postgres().is_some_and(is_slow)
}

/// A read in progress. If dropped before its end, no caller waits for it any more.
struct Watched<'a> {
    registry: &'a Registry,
    began: Instant,
    outcome: SnapshotRead,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        metrics::snapshot_read(self.outcome, took);
        if self.outcome == SnapshotRead::Cancelled && took > SLOW {
            tracing::warn!(
                seconds = took.as_secs(),
                "callers cancelled while a snapshot of access was read; syncs are answered with SQL statements instead"
            );
            self.registry.pause(PAUSE);
        }
    }
}

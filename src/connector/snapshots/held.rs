//! The snapshots in memory, and which of them are dropped to make room.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::connector::snapshots::sync_id::SyncId;
use crate::retool::snapshot::Snapshot;
use crate::telemetry::metrics::SnapshotState;

/// Snapshots by sync.
#[derive(Default)]
pub(super) struct Held {
    of: BTreeMap<SyncId, Entry>,
    /// The memory that the last snapshot used while it was read, in bytes.
    last_peak: usize,
}

struct Entry {
    snapshot: Arc<Snapshot>,
    taken: Instant,
    used: Instant,
}

/// How long after its last use a snapshot is protected from other syncs that need its memory.
const IN_USE: Duration = Duration::from_secs(60);

/// How much memory the next snapshot needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    /// As much as the last one.
    AsLastTime,
    /// All of it.
    All,
}

impl Held {
    /// Returns the sync's snapshot and marks it as used now.
    pub(super) fn get(&mut self, sync: SyncId, now: Instant) -> Option<Arc<Snapshot>> {
        let entry = self.of.get_mut(&sync)?;
        entry.used = now;
        Some(Arc::clone(&entry.snapshot))
    }

    /// Whether one more snapshot fits: there are fewer than `most`, or one is not in use.
    pub(super) fn has_room(&self, most: usize, now: Instant) -> bool {
        self.of.len() < most || self.longest_unused(now).is_some()
    }

    /// Frees snapshots that are not in use, as needed. Returns how many of the `most` bytes are free.
    pub(super) fn free(&mut self, most: usize, needed: Needed, now: Instant) -> usize {
        let needed = match needed {
            Needed::AsLastTime => self.last_peak.min(most),
            Needed::All => most,
        };
        loop {
            let free = most.saturating_sub(self.bytes());
            match self.longest_unused(now) {
                Some(sync) if free < needed => self.remove(sync),
                _ => return free,
            }
        }
    }

    /// Adds a snapshot that was read at `taken`. Replaces unused ones if there are `most`.
    pub(super) fn insert(&mut self, sync: SyncId, snapshot: Arc<Snapshot>, taken: Instant, most: usize) {
        let now = Instant::now();
        self.last_peak = snapshot.peak_bytes();
        while self.of.len() >= most
            && let Some(unused) = self.longest_unused(now)
        {
            self.remove(unused);
        }
        if self.of.len() < most {
            self.of.insert(sync, Entry { snapshot, taken, used: now });
        }
    }

    pub(super) fn remove(&mut self, sync: SyncId) {
        self.of.remove(&sync);
    }

    /// Drops snapshots that were unused for `idle`. Returns when the next one is due, or `None` if none is
    /// left.
    pub(super) fn drop_idle(&mut self, idle: Duration, now: Instant) -> Option<Instant> {
        self.of.retain(|_, entry| now.duration_since(entry.used) < idle);
        self.of.values().map(|entry| entry.used + idle).min()
    }

    pub(super) fn metrics(&self, now: Instant) -> SnapshotState {
        let rows = self.of.values().map(|entry| entry.snapshot.rows() as u64).sum();
        let oldest = self.of.values().map(|entry| now.duration_since(entry.taken)).max().unwrap_or_default();
        SnapshotState { count: self.of.len() as u64, bytes: self.bytes() as u64, rows, oldest }
    }

    fn bytes(&self) -> usize {
        self.of.values().map(|entry| entry.snapshot.bytes()).sum()
    }

    fn longest_unused(&self, now: Instant) -> Option<SyncId> {
        let unused = self.of.iter().filter(|(_, entry)| now.duration_since(entry.used) >= IN_USE);
        unused.min_by_key(|(_, entry)| entry.used).map(|(sync, _)| *sync)
    }
}

//! Metrics of snapshots of access: their number, size and age, and how often listings of syncs use them.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

/// Returns the state of the snapshots; `None` if there are none.
static SNAPSHOTS: RwLock<Option<SnapshotWatch>> = RwLock::new(None);

type SnapshotWatch = Box<dyn Fn() -> SnapshotState + Send + Sync>;

/// Buckets from a small organization to a very large one, in seconds.
const SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The snapshots in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SnapshotState {
    /// The number of snapshots.
    pub count: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// Their total number of database rows.
    pub rows: u64,
    /// The age of the oldest snapshot; zero if there is none.
    pub oldest: Duration,
}

/// The result of the read of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotRead {
    /// The snapshot was read.
    Ok,
    /// The database failed or was unreachable.
    Failed,
    /// The snapshot exceeded the memory limit.
    TooLarge,
    /// The read took too long.
    TooSlow,
    /// No caller waited for the snapshot any more.
    Cancelled,
}

impl SnapshotRead {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Registers the function that returns the state of the snapshots when the metrics are read. A later function
/// replaces an earlier one.
pub(crate) fn watch_snapshots(state: impl Fn() -> SnapshotState + Send + Sync + 'static) {
    *SNAPSHOTS.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(state));
}

fn state() -> Option<SnapshotState> {
    SNAPSHOTS.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|state| state())
}

/// The descriptions are in the code below.
pub(super) struct SnapshotInstruments {
    listings: Counter<u64>,
    reads: Histogram<f64>,
}

impl SnapshotInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        observe(meter);
        Self {
            listings: meter
                .u64_counter("baton_retool_snapshot_listings_total")
                .with_description("Listings of resources and grants that belong to a sync.")
                .build(),
            reads: meter
                .f64_histogram("baton_retool_snapshot_read_duration_seconds")
                .with_description("How long it took to read a snapshot of access.")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
                .build(),
        }
    }

    pub(super) fn listed(&self, is_there: bool) {
        let source = if is_there { "snapshot" } else { "statements" };
        self.listings.add(1, &[KeyValue::new("source", source)]);
    }

    pub(super) fn read(&self, outcome: SnapshotRead, took: Duration) {
        self.reads.record(took.as_secs_f64(), &[KeyValue::new("outcome", outcome.as_str())]);
    }
}

fn observe(meter: &Meter) {
    let gauge = |name, help, unit, value: fn(SnapshotState) -> u64| {
        meter
            .u64_observable_gauge(name)
            .with_description(help)
            .with_unit(unit)
            .with_callback(move |observer| {
                if let Some(state) = state() {
                    observer.observe(value(state), &[]);
                }
            })
            .build();
    };
    gauge("baton_retool_snapshots", "Snapshots of access in memory.", "", |state| state.count);
    gauge("baton_retool_snapshot_bytes", "Memory of all snapshots of access.", "By", |state| state.bytes);
    gauge("baton_retool_snapshot_rows", "Rows in all snapshots of access.", "", |state| state.rows);
    meter
        .f64_observable_gauge("baton_retool_snapshot_age_seconds")
        .with_description("How long ago the oldest snapshot of access was read; 0 when there is none.")
        .with_unit("s")
        .with_callback(|observer| {
            if let Some(state) = state() {
                observer.observe(state.oldest.as_secs_f64(), &[]);
            }
        })
        .build();
}

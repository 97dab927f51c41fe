//! The result of a sync.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::c1z::Expanded;
use crate::agent::sync::meter::Phase;
use crate::agent::sync::storage::Kind;

/// The result of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The id of the sync.
    pub sync_id: String,
    /// The scope of the sync.
    pub kind: Kind,
    /// When the sync began, as local time.
    pub started_at: String,
    /// An earlier run began the sync. Counts and durations cover this run only.
    pub resumed: bool,
    /// The counts of each resource type, in the connector's order.
    pub types: Vec<(String, Counts)>,
    /// The grants that expansion added.
    pub expanded: Expanded,
    /// The phases in the order in which they began.
    pub phases: Vec<Phase>,
    /// How long Validate took.
    pub validate: Duration,
    /// How long the sync took, from before Validate to after Cleanup.
    pub elapsed: Duration,
    /// How many calls were made.
    pub calls: u64,
    /// The largest response in bytes; 0 unless
    /// [`Options::measure_answers`](crate::agent::sync::Options::measure_answers) is set.
    pub largest_answer: usize,
    /// How many listings were skipped because the connector did not find a resource that it had listed.
    pub warnings: u64,
    /// How many rows were not stored, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// The row counts of one resource type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources of the type.
    pub resources: u64,
    /// Entitlements on them.
    pub entitlements: u64,
    /// Grants of those entitlements.
    pub grants: u64,
}

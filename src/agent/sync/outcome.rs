//! What a sync has read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::c1z::Expanded;
use crate::agent::sync::meter::Phase;
use crate::agent::sync::storage::Kind;

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
    /// The phases in the order in which they began.
    pub phases: Vec<Phase>,
    /// How long Validate took.
    pub validate: Duration,
    /// How long everything took, from before Validate to after Cleanup.
    pub elapsed: Duration,
    /// How many calls were made.
    pub calls: u64,
    /// The largest answer in bytes; 0 unless [`Options::measure_answers`](crate::agent::sync::Options::measure_answers).
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

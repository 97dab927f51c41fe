//! What the grants of a new file are written from.

use std::path::PathBuf;

use crate::agent::c1z::expand::Expansion;

/// Where the rows come from, besides what was derived.
pub(crate) struct Sources {
    /// The database with the syncs that are kept, and their ids.
    pub(crate) old: PathBuf,
    pub(crate) kept: Vec<String>,
    /// The database with this sync, its id, and the time to write into derived rows.
    pub(crate) current: PathBuf,
    pub(crate) sync_id: String,
    pub(crate) now: String,
    /// What was derived.
    pub(crate) expansion: Option<Expansion>,
}

//! The inputs for the grants of a new file.

use std::path::PathBuf;

use crate::agent::c1z::expand::Expansion;

/// The databases and the expansion that the rows come from.
pub(crate) struct Sources {
    /// The database with the syncs to keep, and their ids.
    pub(crate) old: PathBuf,
    pub(crate) kept: Vec<String>,
    /// The database of this sync, its id, and the time to write into derived rows.
    pub(crate) current: PathBuf,
    pub(crate) sync_id: String,
    pub(crate) now: String,
    /// The derived grants.
    pub(crate) expansion: Option<Expansion>,
}

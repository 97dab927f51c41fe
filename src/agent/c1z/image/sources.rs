//! What the grants of a new file are written from.

use std::path::Path;

use crate::agent::c1z::expand::Expansion;

/// Where the rows come from, besides what was derived.
pub(crate) struct Sources<'a> {
    /// The database with the syncs that are kept, and their ids.
    pub(crate) old: &'a Path,
    pub(crate) kept: &'a [String],
    /// The database with this sync, its id, and the time to write into derived rows.
    pub(crate) current: &'a Path,
    pub(crate) sync_id: &'a str,
    pub(crate) now: &'a str,
    /// What was derived.
    pub(crate) expansion: Option<Expansion>,
}

//! What the grants of a new file are written from.

use std::path::Path;

use crate::agent::c1z::expand::Expansion;

/// Where the rows come from, besides what was derived.
pub(in crate::agent::c1z) struct Sources<'a> {
    /// The database with the syncs that are kept, and their ids.
    pub(in crate::agent::c1z) old: &'a Path,
    pub(in crate::agent::c1z) kept: &'a [String],
    /// The database with this sync, its id, and the time to write into derived rows.
    pub(in crate::agent::c1z) current: &'a Path,
    pub(in crate::agent::c1z) sync_id: &'a str,
    pub(in crate::agent::c1z) now: &'a str,
    /// What was derived.
    pub(in crate::agent::c1z) expansion: Option<Expansion>,
}

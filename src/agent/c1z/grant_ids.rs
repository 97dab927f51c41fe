//! The grant ids that the running sync has stored.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;
use rusqlite::Connection;

use crate::agent::c1z::schema;
use crate::proto::connector::Grant;

/// How many ids are kept in memory, in about 20 MB, before the database takes over.
const LIMIT: usize = 1 << 20;

/// The grant ids that the running sync has stored.
///
/// Most connectors return each grant once. As long as they do, the database needs no index on the ids, which
/// costs more than the rest of a row. The index is created at the first id that may be a duplicate.
#[derive(Debug, Default)]
pub(super) struct GrantIds {
    hashes: HashSet<u64, RandomState>,
    by: RandomState,
    is_indexed: bool,
}

impl GrantIds {
    /// Returns true if no row has an id of this page, so that its grants need no lookup. Otherwise, the index
    /// exists from now on.
    pub(super) fn are_new(&mut self, database: &Connection, page: &[Grant]) -> rusqlite::Result<bool> {
        if self.is_indexed {
            return Ok(false);
        }
        let new = page.iter().all(|grant| self.hashes.insert(self.by.hash_one(&grant.id)));
        if new && self.hashes.len() <= LIMIT {
            return Ok(true);
        }
        self.index(database)?;
        Ok(false)
    }

    /// Creates the index on grant ids.
    pub(super) fn index(&mut self, database: &Connection) -> rusqlite::Result<()> {
        if !self.is_indexed {
            schema::create_unique_indexes(database)?;
            self.is_indexed = true;
            self.hashes = HashSet::default();
        }
        Ok(())
    }
}

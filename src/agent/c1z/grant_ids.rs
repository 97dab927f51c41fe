//! Which ids of grants the running sync has met.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;
use rusqlite::Connection;

use crate::agent::c1z::schema;
use crate::proto::connector::Grant;

/// How many ids are remembered before the database does it, in some 20 MB.
const MOST: usize = 1 << 20;

/// Which ids of grants the running sync has met.
///
/// Most connectors name a grant once. As long as they do, the database needs no index over the ids, which takes
/// longer to keep than all else about a row. It gets one at the first id that may have come before.
#[derive(Debug, Default)]
pub(super) struct GrantIds {
    hashes: HashSet<u64, RandomState>,
    by: RandomState,
    is_indexed: bool,
}

impl GrantIds {
    /// Whether no row has one of the ids of a page, so that its grants need not be looked for. If there may be one,
    /// the database can find it from now on.
    pub(super) fn are_new(&mut self, database: &Connection, page: &[Grant]) -> rusqlite::Result<bool> {
        if self.is_indexed {
            return Ok(false);
        }
        let new = page.iter().all(|grant| self.hashes.insert(self.by.hash_one(&grant.id)));
        if new && self.hashes.len() <= MOST {
            return Ok(true);
        }
        self.index(database)?;
        Ok(false)
    }

    /// Lets the database find grants by their ids.
    pub(super) fn index(&mut self, database: &Connection) -> rusqlite::Result<()> {
        if !self.is_indexed {
            schema::create_unique_indexes(database)?;
            self.is_indexed = true;
            self.hashes = HashSet::default();
        }
        Ok(())
    }
}

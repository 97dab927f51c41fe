//! The keys that the indexes need of every row: five numbers for each row.

use std::cmp::Ordering;

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::intern::{Interner, Pair, Pairs};
use crate::agent::c1z::stats::GrantCounts;

/// The rows in the order of the table. Rows are numbered from 0; the table's keys start at 1.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) rows: KeyColumns,
    pub(super) entitlements: Interner<Box<str>>,
    pub(super) principals: Pairs,
    pub(super) owners: Pairs,
    pub(super) syncs: Interner<Box<str>>,
    /// Ids that do not derive from entitlement and principal.
    pub(super) ids: Vec<Box<str>>,
    /// The rows with an expansion.
    pub(super) expandable: Vec<u32>,
    /// The rows whose expansion is marked as needed.
    pub(super) needing: Vec<u32>,
    /// The number of the sync whose grants are counted.
    pub(super) counted: u32,
}

/// The numbers of all rows, by column. Sorting reads one column in random order, which is faster for smaller
/// columns.
#[derive(Debug, Default)]
pub(super) struct KeyColumns {
    entitlements: Vec<u32>,
    principals: Vec<u32>,
    owners: Vec<u32>,
    syncs: Vec<u32>,
    ids: Vec<u32>,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) entitlement: u32,
    pub(super) principal: u32,
    pub(super) owner: u32,
    pub(super) sync: u32,
    /// The position of the id in [`Keys::ids`], or [`STANDARD_ID`].
    pub(super) id: u32,
}

/// The id is `<entitlement>:<principal type>:<principal id>`.
pub(super) const STANDARD_ID: u32 = u32::MAX;

/// The texts by number, with their positions in sorted order.
pub(crate) struct Ranks<'a> {
    pub(super) entitlements: Ranked<&'a str>,
    pub(super) principals: Ranked<&'a Pair>,
    pub(super) owners: Ranked<&'a Pair>,
    pub(super) syncs: Ranked<&'a str>,
}

/// Values by number, with the position of each in sorted order.
pub(super) struct Ranked<T> {
    pub(super) values: Vec<T>,
    ranks: Vec<u32>,
}

impl Keys {
    /// The numbers of all rows, which start at 0.
    pub(super) fn all(&self) -> Vec<u32> {
        (0..self.rows.len()).collect()
    }

    /// Checks that `more` additional rows can be numbered.
    pub(super) fn check_room(&self, more: usize) -> Result<(), WriteError> {
        if self.rows.len() as usize + more < STANDARD_ID as usize {
            Ok(())
        } else {
            Err(WriteError::TooManyPages)
        }
    }

    /// The number of rows of the counted sync for each type of owner.
    pub(super) fn counts(&self) -> GrantCounts {
        let mut by_owner = vec![0_u64; self.owners.values().len()];
        for (owner, sync) in self.rows.owners.iter().zip(&self.rows.syncs) {
            if let Some(count) = by_owner.get_mut(*owner as usize).filter(|_| *sync == self.counted) {
                *count += 1;
            }
        }
        let mut counts = GrantCounts::new();
        for ((kind, _), count) in self.owners.values().iter().zip(by_owner).filter(|(_, count)| *count > 0) {
            *counts.entry(kind.to_string()).or_default() += count;
        }
        counts
    }

    pub(super) fn ranks(&self) -> Ranks<'_> {
        Ranks {
            entitlements: Ranked::new(self.entitlements.values().into_iter().map(|id| &**id).collect()),
            principals: Ranked::new(self.principals.values().iter().collect()),
            owners: Ranked::new(self.owners.values().iter().collect()),
            syncs: Ranked::new(self.syncs.values().into_iter().map(|id| &**id).collect()),
        }
    }
}

impl KeyColumns {
    /// The number of rows.
    pub(super) fn len(&self) -> u32 {
        // `Keys::check_room` keeps the number below 2^32.
        self.entitlements.len() as u32
    }

    pub(super) fn reserve_exact(&mut self, more: usize) {
        let Self { entitlements, principals, owners, syncs, ids } = self;
        for column in [entitlements, principals, owners, syncs, ids] {
            column.reserve_exact(more);
        }
    }

    pub(super) fn push(&mut self, key: Key) {
        let Key { entitlement, principal, owner, sync, id } = key;
        self.entitlements.push(entitlement);
        self.principals.push(principal);
        self.owners.push(owner);
        self.syncs.push(sync);
        self.ids.push(id);
    }

    pub(super) fn entitlement(&self, row: u32) -> Option<u32> {
        self.entitlements.get(row as usize).copied()
    }

    pub(super) fn principal(&self, row: u32) -> Option<u32> {
        self.principals.get(row as usize).copied()
    }

    pub(super) fn owner(&self, row: u32) -> Option<u32> {
        self.owners.get(row as usize).copied()
    }

    pub(super) fn sync(&self, row: u32) -> Option<u32> {
        self.syncs.get(row as usize).copied()
    }

    /// The position of the id in [`Keys::ids`], or [`STANDARD_ID`].
    pub(super) fn id(&self, row: u32) -> Option<u32> {
        self.ids.get(row as usize).copied()
    }
}

impl<T: Ord> Ranked<T> {
    fn new(values: Vec<T>) -> Self {
        Self { ranks: ranks_of(values.len(), |one, other| values.get(one).cmp(&values.get(other))), values }
    }
}

impl<T: Copy> Ranked<T> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn rank(&self, number: u32) -> u32 {
        self.ranks.get(number as usize).copied().unwrap_or(u32::MAX)
    }

    pub(super) fn value(&self, number: u32) -> Option<T> {
        self.values.get(number as usize).copied()
    }
}

/// The position of each of `count` items in sorted order; equal items have the same position.
pub(super) fn ranks_of(count: usize, compare: impl Fn(usize, usize) -> Ordering) -> Vec<u32> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|one, other| compare(*one, *other));
    let mut ranks = vec![0; count];
    let mut place = 0_u32;
    let mut before = None;
    for thing in order {
        if before.is_some_and(|before| compare(before, thing) != Ordering::Equal) {
            place += 1;
        }
        before = Some(thing);
        if let Some(rank) = ranks.get_mut(thing) {
            *rank = place;
        }
    }
    ranks
}

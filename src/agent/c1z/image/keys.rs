//! What the indexes need to know of every row, in five short words a row.

use std::cmp::Ordering;

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::intern::{Interner, Pair, Pairs};
use crate::agent::c1z::stats::GrantCounts;

/// The rows, in the order of the table. They are numbered from 0; the table's keys count from 1.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) rows: Vec<Key>,
    pub(super) entitlements: Interner<Box<str>>,
    pub(super) principals: Pairs,
    pub(super) owners: Pairs,
    pub(super) syncs: Interner<Box<str>>,
    /// Ids that do not follow from entitlement and principal.
    pub(super) ids: Vec<Box<str>>,
    /// The rows with an expansion.
    pub(super) expandable: Vec<u32>,
    /// The rows whose expansion is marked as needed.
    pub(super) needing: Vec<u32>,
    /// The number of the sync that is counted.
    pub(super) counted: u32,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    pub(super) entitlement: u32,
    pub(super) principal: u32,
    pub(super) owner: u32,
    pub(super) sync: u32,
    /// Where the id is in [`Keys::ids`], or [`STANDARD_ID`].
    pub(super) id: u32,
}

/// The id is `<entitlement>:<principal type>:<principal id>`.
pub(super) const STANDARD_ID: u32 = u32::MAX;

/// The texts again, by their numbers, with their places in order.
pub(crate) struct Ranks<'a> {
    pub(super) entitlements: Ranked<&'a str>,
    pub(super) principals: Ranked<&'a Pair>,
    pub(super) owners: Ranked<&'a Pair>,
    pub(super) syncs: Ranked<&'a str>,
}

/// Values by number, and each one's place when they are sorted.
pub(super) struct Ranked<T> {
    pub(super) values: Vec<T>,
    ranks: Vec<u32>,
}

impl Keys {
    /// The numbers of all rows, which count from 0.
    pub(super) fn all(&self) -> Vec<u32> {
        (0_u32..).zip(&self.rows).map(|(row, _)| row).collect()
    }

    /// Checks that so many more rows can be numbered.
    pub(super) fn check_room(&self, more: usize) -> Result<(), WriteError> {
        if self.rows.len() + more < STANDARD_ID as usize { Ok(()) } else { Err(WriteError::TooManyPages) }
    }

    /// How many rows of the counted sync there are, by the types of their owners.
    pub(super) fn counts(&self) -> GrantCounts {
        let mut by_owner = vec![0_u64; self.owners.values().len()];
        for key in self.rows.iter().filter(|key| key.sync == self.counted) {
            if let Some(count) = by_owner.get_mut(key.owner as usize) {
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

/// For each of `count` things its place when they are sorted; equal things have the same place.
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

//! Tracks which users and groups of a snapshot have been deleted since, as later listings reveal.
//!
//! A sync lists users and groups after its snapshot was taken. Users and groups that are deleted by then are
//! not listed, so no grant may name them.

use std::sync::{Arc, PoisonError, RwLock};

use crate::retool::id::OrganizationId;

/// A table whose rows are resources in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// `organizations`
    Organizations,
    /// `users`
    Users,
    /// `groups`
    Groups,
    /// `pages`
    Pages,
    /// `resources`
    Resources,
}

/// The result of a listing: all rows of one organization with keys in a range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'a> {
    /// The table.
    pub table: Table,
    /// The organization; `None` for rows without one.
    pub parent: Option<OrganizationId>,
    /// The smallest key of the range.
    pub from: u32,
    /// The largest key of the range.
    pub to: u32,
    /// The keys found, in ascending order.
    pub keys: &'a [u32],
}

impl Listed<'_> {
    /// The key of the organization; 0 for none.
    pub(super) fn organization(&self) -> u32 {
        self.parent.map(|organization| organization.get().unsigned_abs()).unwrap_or_default()
    }
}

/// The users and groups that later listings did not find.
#[derive(Default)]
pub(super) struct Present(RwLock<Arc<Missing>>);

/// Users and groups that no longer exist.
#[derive(Default, Clone)]
pub(super) struct Missing {
    users: Seen,
    groups: Seen,
}

#[derive(Default, Clone)]
struct Seen {
    gone: Numbers,
    /// Found in another organization than at the time of the snapshot.
    moved: Numbers,
}

impl Present {
    pub(super) fn missing(&self) -> Arc<Missing> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `expected` has the numbers of all users of the organization, in ascending order; `keys` has the keys
    /// of all users.
    pub(super) fn note_users(&self, listed: &Listed<'_>, keys: &[u32], expected: impl Iterator<Item = u32>) {
        self.note(listed, keys, expected, |missing| &missing.users, |missing| &mut missing.users);
    }

    /// Like [`Present::note_users`].
    pub(super) fn note_groups(&self, listed: &Listed<'_>, keys: &[u32], expected: impl Iterator<Item = u32>) {
        self.note(listed, keys, expected, |missing| &missing.groups, |missing| &mut missing.groups);
    }

    fn note(
        &self,
        listed: &Listed<'_>,
        keys: &[u32],
        expected: impl Iterator<Item = u32>,
        seen: fn(&Missing) -> &Seen,
        seen_mut: fn(&mut Missing) -> &mut Seen,
    ) {
        let known = self.missing();
        let was_gone = |number: u32| seen(&known).gone.contains(number);
        let first = number_of(keys, listed.from);
        let found = listed.keys.iter().filter_map(|key| keys.binary_search(key).ok());
        let mut found = found.filter_map(|number| u32::try_from(number).ok()).peekable();
        let (mut absent, mut moved, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let in_range = |number: &u32| keys.get(*number as usize).is_some_and(|key| *key <= listed.to);
        for number in expected.skip_while(|number| *number < first).take_while(in_range) {
            while let Some(other) = found.next_if(|found| *found < number) {
                moved.push(other);
            }
            match found.next_if_eq(&number) {
                Some(_) if was_gone(number) => back.push(number),
                Some(_) => {}
                None if was_gone(number) => {}
                None => absent.push(number),
            }
        }
        moved.extend(found);
        if absent.is_empty() && moved.is_empty() && back.is_empty() {
            return;
        }
        let mut missing = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let seen = seen_mut(Arc::make_mut(&mut missing));
        for number in moved {
            seen.moved.insert(number);
            seen.gone.remove(number);
        }
        for number in back {
            seen.gone.remove(number);
        }
        for number in absent {
            if !seen.moved.contains(number) {
                seen.gone.insert(number);
            }
        }
    }
}

impl Missing {
    pub(super) fn has_user(&self, number: u32) -> bool {
        self.users.gone.contains(number)
    }

    pub(super) fn has_group(&self, number: u32) -> bool {
        self.groups.gone.contains(number)
    }
}

/// The first number whose key is `key` or higher.
fn number_of(keys: &[u32], key: u32) -> u32 {
    u32::try_from(keys.partition_point(|known| *known < key)).unwrap_or(u32::MAX)
}

/// A set of numbers as a bitmap: nearly always empty, and never more than one bit per user.
#[derive(Default, Clone)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|bits| bits & (1 << (number % 64)) != 0)
    }

    fn insert(&mut self, number: u32) {
        let index = number as usize / 64;
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        if let Some(bits) = self.0.get_mut(index) {
            *bits |= 1 << (number % 64);
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(bits) = self.0.get_mut(number as usize / 64) {
            *bits &= !(1 << (number % 64));
        }
    }
}

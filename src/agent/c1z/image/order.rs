//! The order of rows in indexes.
//!
//! Indexes sort by a few distinct texts that many rows share and whose sorted positions are known. So rows
//! are distributed by position (a counting sort), which takes a fraction of the time of comparing them.

use std::cmp::Ordering;

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Keys, Ranks, STANDARD_ID, ranks_of};

/// Sorts rows by positions below a limit; rows with the same position keep their order.
pub(super) fn sorted(rows: Vec<u32>, by: (usize, impl Fn(u32) -> Option<u32>)) -> Vec<u32> {
    let (places, place) = by;
    if places <= 1 {
        return rows;
    }
    let place = |row: u32| (place(row).unwrap_or_default() as usize).min(places - 1);
    let mut next = vec![0_u32; places];
    for row in &rows {
        if let Some(count) = next.get_mut(place(*row)) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut next {
        sum += std::mem::replace(start, sum);
    }
    let mut sorted = vec![0; rows.len()];
    for row in rows {
        let Some(next) = next.get_mut(place(row)) else { continue };
        if let Some(free) = sorted.get_mut(*next as usize) {
            *free = row;
        }
        *next += 1;
    }
    sorted
}

/// Returns the rows in the order of their ids. Most ids consist of entitlement and principal and never exist
/// as text.
///
/// # Errors
/// [`WriteError::SameId`] if two rows of one sync have the same id.
pub(super) fn of_ids(keys: &Keys, ranks: &Ranks<'_>) -> Result<Vec<u32>, WriteError> {
    let parts = Parts::new(ranks);
    let is_standard = |row: &u32| keys.rows.id(*row) == Some(STANDARD_ID);
    let (standard, mut explicit): (Vec<u32>, Vec<u32>) = keys.all().into_iter().partition(is_standard);
    let by_text = |row: &u32| {
        let mut id = String::new();
        put_id(*row, keys, ranks, &mut id);
        (id, sync_rank(*row, keys, ranks), *row)
    };
    explicit.sort_by_cached_key(by_text);
    let group = |row: u32| keys.rows.entitlement(row).map(|entitlement| parts.group(entitlement));
    let standard =
        sorted(standard, (ranks.syncs.len(), |row| keys.rows.sync(row).map(|sync| ranks.syncs.rank(sync))));
    let principal = |row: u32| keys.rows.principal(row).map(|principal| parts.principal(principal));
    let standard = sorted(standard, (parts.principals.len(), principal));
    let mut standard = sorted(standard, (parts.mixes.len(), group));
    // In groups with several entitlements, the texts decide the order.
    if parts.mixes.contains(&true) {
        for rows in standard.chunk_by_mut(|one, other| group(*one) == group(*other)) {
            let group = rows.first().and_then(|row| group(*row));
            if group.is_some_and(|group| parts.mixes.get(group as usize) == Some(&true)) {
                rows.sort_by_cached_key(by_text);
            }
        }
    }
    let rows = merged(standard, explicit, keys, ranks);
    for two in rows.windows(2) {
        if let [one, other] = two
            && is_same(*one, *other, keys, ranks, &parts)
        {
            let mut id = String::new();
            put_id(*one, keys, ranks, &mut id);
            return Err(WriteError::SameId(id));
        }
    }
    Ok(rows)
}

/// Standard ids, as the parts that they consist of.
///
/// The prefix of an id, its entitlement and a colon, decides the order of two ids, unless one prefix is a
/// prefix of the other. Entitlements with such prefixes share a group.
struct Parts {
    groups: Vec<u32>,
    /// Whether a group has several entitlements.
    mixes: Vec<bool>,
    /// Sorted positions of the principals by `<type>:<id>`; equal texts have the same position.
    principals: Vec<u32>,
}

impl Parts {
    fn new(ranks: &Ranks<'_>) -> Self {
        let names = &ranks.entitlements.values;
        let begins = |name: &str| name.bytes().chain(*b":").collect::<Vec<u8>>();
        let mut order: Vec<(Vec<u8>, usize)> =
            names.iter().enumerate().map(|(number, name)| (begins(name), number)).collect();
        order.sort_unstable();
        let mut groups = vec![0; names.len()];
        let mut mixes: Vec<bool> = Vec::new();
        let mut first: Option<&[u8]> = None;
        for (begin, number) in &order {
            match first {
                Some(first) if begin.starts_with(first) => {
                    if let Some(mixed) = mixes.last_mut() {
                        *mixed = true;
                    }
                }
                _ => {
                    first = Some(begin);
                    mixes.push(false);
                }
            }
            if let Some(group) = groups.get_mut(*number) {
                *group = u32::try_from(mixes.len() - 1).unwrap_or(u32::MAX);
            }
        }
        let principals = &ranks.principals.values;
        let joined =
            |at: usize| principals.get(at).map(|(kind, id)| kind.bytes().chain(*b":").chain(id.bytes()));
        let principals = ranks_of(principals.len(), |one, other| match (joined(one), joined(other)) {
            (Some(one), Some(other)) => one.cmp(other),
            _ => Ordering::Equal,
        });
        Self { groups, mixes, principals }
    }

    fn group(&self, entitlement: u32) -> u32 {
        self.groups.get(entitlement as usize).copied().unwrap_or_default()
    }

    fn principal(&self, principal: u32) -> u32 {
        self.principals.get(principal as usize).copied().unwrap_or_default()
    }
}

/// Merges two sorted lists.
fn merged(standard: Vec<u32>, explicit: Vec<u32>, keys: &Keys, ranks: &Ranks<'_>) -> Vec<u32> {
    if explicit.is_empty() {
        return standard;
    }
    let mut rows = Vec::with_capacity(standard.len() + explicit.len());
    let mut explicit = explicit.into_iter().peekable();
    let (mut one, mut other) = (String::new(), String::new());
    for row in standard {
        put_id(row, keys, ranks, &mut one);
        while let Some(next) = explicit.next_if(|next| {
            put_id(*next, keys, ranks, &mut other);
            (&other, sync_rank(*next, keys, ranks)) < (&one, sync_rank(row, keys, ranks))
        }) {
            rows.push(next);
        }
        rows.push(row);
    }
    rows.extend(explicit);
    rows
}

/// Whether two adjacent rows have the same id and sync.
fn is_same(one: u32, other: u32, keys: &Keys, ranks: &Ranks<'_>, parts: &Parts) -> bool {
    let rows = &keys.rows;
    if rows.sync(one) != rows.sync(other) {
        return false;
    }
    if rows.id(one) == Some(STANDARD_ID) && rows.id(other) == Some(STANDARD_ID) {
        let principal = |row: u32| rows.principal(row).map(|principal| parts.principal(principal));
        let group = |row: u32| rows.entitlement(row).map(|entitlement| parts.group(entitlement));
        if rows.entitlement(one) == rows.entitlement(other) {
            return principal(one) == principal(other);
        }
        if group(one) != group(other) {
            return false;
        }
    }
    let (mut first, mut second) = (String::new(), String::new());
    put_id(one, keys, ranks, &mut first);
    put_id(other, keys, ranks, &mut second);
    first == second
}

fn sync_rank(row: u32, keys: &Keys, ranks: &Ranks<'_>) -> u32 {
    keys.rows.sync(row).map_or(0, |sync| ranks.syncs.rank(sync))
}

fn put_id(row: u32, keys: &Keys, ranks: &Ranks<'_>, out: &mut String) {
    out.clear();
    if let Some(id) = keys.rows.id(row).and_then(|id| keys.ids.get(id as usize)) {
        out.push_str(id);
        return;
    }
    let entitlement = keys.rows.entitlement(row).and_then(|number| ranks.entitlements.value(number));
    let principal = keys.rows.principal(row).and_then(|number| ranks.principals.value(number));
    let Some((kind, id)) = principal else { return };
    for part in [entitlement.unwrap_or_default(), ":", kind, ":", id] {
        out.push_str(part);
    }
}

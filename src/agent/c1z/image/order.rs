//! The order of rows in indexes.
//!
//! What indexes sort by are few different texts that many rows share, and whose places are known. So rows are
//! dealt out to their places, which takes a fraction of the time of comparing them.

use std::cmp::Ordering;

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, Ranks, STANDARD_ID, ranks_of};

/// The rows sorted by places below a number; rows of one place keep their order.
pub(super) fn sorted(rows: Vec<u32>, keys: &Keys, by: (usize, impl Fn(&Key) -> u32)) -> Vec<u32> {
    let (places, place) = by;
    if places <= 1 {
        return rows;
    }
    let place = |row: u32| {
        let place = keys.rows.get(row as usize).map_or(0, &place);
        (place as usize).min(places - 1)
    };
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

/// The rows in the order of their ids. Most ids are made of entitlement and principal, and never exist as texts.
///
/// # Errors
/// [`WriteError::SameId`] when two rows of one sync have the same id.
pub(super) fn of_ids(keys: &Keys, ranks: &Ranks<'_>) -> Result<Vec<u32>, WriteError> {
    let parts = Parts::new(ranks);
    let is_standard = |row: &u32| keys.rows.get(*row as usize).is_some_and(|key| key.id == STANDARD_ID);
    let (standard, mut explicit): (Vec<u32>, Vec<u32>) = keys.all().into_iter().partition(is_standard);
    let by_text = |row: &u32| {
        let mut id = String::new();
        put_id(*row, keys, ranks, &mut id);
        (id, sync_rank(*row, keys, ranks), *row)
    };
    explicit.sort_by_cached_key(by_text);
    let standard = sorted(standard, keys, (ranks.syncs.len(), |key: &Key| ranks.syncs.rank(key.sync)));
    let standard = sorted(standard, keys, (parts.principals.len(), |key: &Key| parts.principal(key)));
    let mut standard = sorted(standard, keys, (parts.mixes.len(), |key: &Key| parts.group(key)));
    // Where ids of different entitlements mix, the texts decide.
    if parts.mixes.contains(&true) {
        let group = |row: &u32| keys.rows.get(*row as usize).map_or(0, |key| parts.group(key));
        for rows in standard.chunk_by_mut(|one, other| group(one) == group(other)) {
            if rows.first().is_some_and(|row| parts.mixes.get(group(row) as usize) == Some(&true)) {
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

/// Ids as the parts that they are made of, when nothing else is said.
///
/// What two ids begin with, an entitlement and a colon, decides their order, unless one of these beginnings begins
/// with the other. Entitlements whose beginnings begin with each other share a group.
struct Parts {
    groups: Vec<u32>,
    /// Whether a group has several entitlements.
    mixes: Vec<bool>,
    /// Places of the principals by `<type>:<id>`; those with the same text have the same place.
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

    fn group(&self, key: &Key) -> u32 {
        self.groups.get(key.entitlement as usize).copied().unwrap_or_default()
    }

    fn principal(&self, key: &Key) -> u32 {
        self.principals.get(key.principal as usize).copied().unwrap_or_default()
    }
}

/// Two orders as one.
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

/// Whether two rows that follow each other have the same id and sync.
fn is_same(one: u32, other: u32, keys: &Keys, ranks: &Ranks<'_>, parts: &Parts) -> bool {
    let (Some(left), Some(right)) = (keys.rows.get(one as usize), keys.rows.get(other as usize)) else {
        return false;
    };
    if left.sync != right.sync {
        return false;
    }
    if left.id == STANDARD_ID && right.id == STANDARD_ID {
        if left.entitlement == right.entitlement {
            return parts.principal(left) == parts.principal(right);
        }
        if parts.group(left) != parts.group(right) {
            return false;
        }
    }
    let (mut first, mut second) = (String::new(), String::new());
    put_id(one, keys, ranks, &mut first);
    put_id(other, keys, ranks, &mut second);
    first == second
}

fn sync_rank(row: u32, keys: &Keys, ranks: &Ranks<'_>) -> u32 {
    keys.rows.get(row as usize).map_or(0, |key| ranks.syncs.rank(key.sync))
}

fn put_id(row: u32, keys: &Keys, ranks: &Ranks<'_>, out: &mut String) {
    out.clear();
    let Some(key) = keys.rows.get(row as usize) else { return };
    if let Some(id) = keys.ids.get(key.id as usize) {
        out.push_str(id);
        return;
    }
    let Some((kind, id)) = ranks.principals.value(key.principal) else { return };
    for part in [ranks.entitlements.value(key.entitlement).unwrap_or_default(), ":", kind, ":", id] {
        out.push_str(part);
    }
}

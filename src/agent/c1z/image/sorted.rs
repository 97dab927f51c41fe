//! The indexes of the grants table: their entries in order.

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys;
use crate::agent::c1z::image::keys::{Key, Keys, Ranked, Ranks, STANDARD_ID};
use crate::agent::c1z::image::pages::Pages;
use crate::agent::c1z::image::record::{self, Value};
use crate::agent::c1z::image::tree::{Kind, Tree};

/// The indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexKind {
    Id,
    EntitlementAndPrincipal,
    EntitlementAndSync,
    Principal,
    Owner,
    Expandable,
    NeedsExpansion,
}

impl IndexKind {
    /// The larger ones first, so that two threads end together.
    pub(super) const ALL: [Self; 7] = [
        Self::Id,
        Self::EntitlementAndPrincipal,
        Self::EntitlementAndSync,
        Self::Principal,
        Self::Owner,
        Self::Expandable,
        Self::NeedsExpansion,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "idx_grants_external_sync_v1",
            Self::EntitlementAndPrincipal => "idx_grants_entitlement_id_principal_id_v1",
            Self::EntitlementAndSync => "idx_grants_entitlement_sync_grant_v1",
            Self::Principal => "idx_grants_principal_id_v1",
            Self::Owner => "idx_grants_resource_type_id_resource_id_v1",
            Self::Expandable => "idx_grants_sync_expansion_v1",
            Self::NeedsExpansion => "idx_grants_sync_needs_expansion_v1",
        }
    }
}

/// Writes one index.
pub(super) fn write(
    pages: &Pages<'_>,
    kind: IndexKind,
    root: u32,
    keys: &Keys,
    ranks: &Ranks<'_>,
) -> Result<(), WriteError> {
    let mut tree = Tree::new(pages, Kind::Index, root);
    match kind {
        IndexKind::Id => write_ids(&mut tree, keys, ranks)?,
        IndexKind::EntitlementAndPrincipal => {
            let order = order(keys, |key| {
                (ranks.entitlements.rank(key.entitlement), ranks.principals.rank(key.principal))
            });
            let mut entries = Entries { tree: &mut tree, record: Vec::new() };
            for row in order {
                let Some(key) = keys.rows.get(row as usize) else { continue };
                let (kind, principal) = pair(&ranks.principals, key.principal);
                let entitlement =
                    Value::Text(ranks.entitlements.value(key.entitlement).unwrap_or_default().as_bytes());
                entries.add(&[entitlement, Value::Text(kind), Value::Text(principal), number(row)])?;
            }
        }
        IndexKind::EntitlementAndSync => {
            let order =
                order(keys, |key| (ranks.entitlements.rank(key.entitlement), ranks.syncs.rank(key.sync)));
            let mut entries = Entries { tree: &mut tree, record: Vec::new() };
            for row in order {
                let Some(key) = keys.rows.get(row as usize) else { continue };
                let entitlement = ranks.entitlements.value(key.entitlement).unwrap_or_default();
                let values =
                    [Value::Text(entitlement.as_bytes()), sync(ranks, key), number(row), number(row)];
                entries.add(&values)?;
            }
        }
        IndexKind::Principal => write_pairs(&mut tree, keys, &ranks.principals, |key| key.principal)?,
        IndexKind::Owner => write_pairs(&mut tree, keys, &ranks.owners, |key| key.owner)?,
        IndexKind::Expandable => write_syncs(&mut tree, keys, ranks, &keys.expandable)?,
        IndexKind::NeedsExpansion => write_syncs(&mut tree, keys, ranks, &keys.needing)?,
    }
    tree.finish()
}

fn write_pairs(
    tree: &mut Tree<'_>,
    keys: &Keys,
    ranked: &Ranked<&(Box<str>, Box<str>)>,
    of: impl Fn(&Key) -> u32,
) -> Result<(), WriteError> {
    let mut entries = Entries { tree, record: Vec::new() };
    for row in order(keys, |key| (ranked.rank(of(key)), 0)) {
        let Some(key) = keys.rows.get(row as usize) else { continue };
        let (kind, id) = pair(ranked, of(key));
        entries.add(&[Value::Text(kind), Value::Text(id), number(row)])?;
    }
    Ok(())
}

fn write_syncs(tree: &mut Tree<'_>, keys: &Keys, ranks: &Ranks<'_>, rows: &[u32]) -> Result<(), WriteError> {
    let mut order: Vec<(u32, u32)> = rows
        .iter()
        .filter_map(|row| Some((ranks.syncs.rank(keys.rows.get(*row as usize)?.sync), *row)))
        .collect();
    order.sort_unstable();
    let mut entries = Entries { tree, record: Vec::new() };
    for (_, row) in order {
        let Some(key) = keys.rows.get(row as usize) else { continue };
        entries.add(&[sync(ranks, key), number(row)])?;
    }
    Ok(())
}

/// Writes the ids. Most are made of entitlement and principal and never exist as texts before this.
fn write_ids(tree: &mut Tree<'_>, keys: &Keys, ranks: &Ranks<'_>) -> Result<(), WriteError> {
    let mut explicit: Vec<u32> = Vec::new();
    let mut standard: Vec<u128> = Vec::with_capacity(keys.rows.len());
    let prefixes = Prefixes::new(ranks);
    for (row, key) in (0_u32..).zip(&keys.rows) {
        if key.id == STANDARD_ID {
            standard.push(prefixes.place(key, ranks, row));
        } else {
            explicit.push(row);
        }
    }
    standard.sort_unstable();
    let mut one = String::new();
    let mut other = String::new();
    explicit.sort_by_cached_key(|row| {
        keys.rows.get(*row as usize).map(|key| {
            (keys.ids.get(key.id as usize).cloned().unwrap_or_default(), ranks.syncs.rank(key.sync), *row)
        })
    });
    // Where ids of different entitlements mix, the texts decide.
    for mixed in standard.chunk_by_mut(|one, other| one >> 96 == other >> 96) {
        let mixes = mixed.first().is_some_and(|first| prefixes.mixes((first >> 96) as u32));
        if mixes {
            mixed.sort_by_cached_key(|place| {
                let row = *place as u32;
                let mut id = String::new();
                put_id(row, keys, ranks, &mut id);
                (id, keys.rows.get(row as usize).map(|key| ranks.syncs.rank(key.sync)), row)
            });
        }
    }

    let mut entries = Entries { tree, record: Vec::new() };
    let mut standard = standard.iter().map(|place| *place as u32).peekable();
    let mut explicit = explicit.iter().copied().peekable();
    let mut last = String::new();
    let mut last_sync = u32::MAX;
    loop {
        let next = match (standard.peek().copied(), explicit.peek().copied()) {
            (None, None) => return Ok(()),
            (Some(row), None) => row,
            (None, Some(row)) => row,
            (Some(left), Some(right)) => {
                put_id(left, keys, ranks, &mut one);
                put_id(right, keys, ranks, &mut other);
                let sync = |row: u32| keys.rows.get(row as usize).map(|key| ranks.syncs.rank(key.sync));
                if (&one, sync(left)) <= (&other, sync(right)) { left } else { right }
            }
        };
        if standard.next_if_eq(&next).is_none() {
            explicit.next();
        }
        let Some(key) = keys.rows.get(next as usize) else { continue };
        put_id(next, keys, ranks, &mut one);
        if one == last && last_sync == key.sync {
            return Err(WriteError::SameId(one));
        }
        entries.add(&[Value::Text(one.as_bytes()), sync(ranks, key), number(next)])?;
        std::mem::swap(&mut one, &mut last);
        last_sync = key.sync;
    }
}

/// How ids that begin with an entitlement and a colon sort.
///
/// Two such beginnings decide the order of two ids, unless one begins with the other. Entitlements whose
/// beginnings begin with each other share a group.
struct Prefixes {
    groups: Vec<u32>,
    mixes: Vec<bool>,
    /// Places of the principals by `<type>:<id>`.
    principals: Vec<u32>,
}

impl Prefixes {
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
        let principals = keys::ranks(principals.len(), |one, other| match (joined(one), joined(other)) {
            (Some(one), Some(other)) => one.cmp(other),
            _ => std::cmp::Ordering::Equal,
        });
        Self { groups, mixes, principals }
    }

    /// A number that sorts as the id does within groups that do not mix; the row is in its last 32 bits, the
    /// group in its first.
    fn place(&self, key: &Key, ranks: &Ranks<'_>, row: u32) -> u128 {
        let group = self.groups.get(key.entitlement as usize).copied().unwrap_or_default();
        let principal = self.principals.get(key.principal as usize).copied().unwrap_or_default();
        let sync = ranks.syncs.rank(key.sync);
        u128::from(group) << 96 | u128::from(principal) << 64 | u128::from(sync) << 32 | u128::from(row)
    }

    fn mixes(&self, group: u32) -> bool {
        self.mixes.get(group as usize).copied().unwrap_or_default()
    }
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

/// Rows by two places, then by their keys.
fn order(keys: &Keys, places: impl Fn(&Key) -> (u32, u32)) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = (0_u32..)
        .zip(&keys.rows)
        .map(|(row, key)| {
            let (first, second) = places(key);
            (u64::from(first) << 32 | u64::from(second), row)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row).collect()
}

struct Entries<'a, 'b> {
    tree: &'a mut Tree<'b>,
    record: Vec<u8>,
}

impl Entries<'_, '_> {
    fn add(&mut self, values: &[Value<'_>]) -> Result<(), WriteError> {
        self.record.clear();
        record::put(values, &mut self.record);
        self.tree.add_entry(&self.record)
    }
}

fn pair<'a>(ranked: &Ranked<&'a (Box<str>, Box<str>)>, number: u32) -> (&'a [u8], &'a [u8]) {
    ranked.value(number).map_or((&[], &[]), |(first, second)| (first.as_bytes(), second.as_bytes()))
}

fn sync<'a>(ranks: &Ranks<'a>, key: &Key) -> Value<'a> {
    Value::Text(ranks.syncs.value(key.sync).unwrap_or_default().as_bytes())
}

/// A row's key, which counts from 1.
fn number(row: u32) -> Value<'static> {
    Value::Integer(i64::from(row) + 1)
}

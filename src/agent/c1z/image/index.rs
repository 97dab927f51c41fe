//! The indexes of the grants table, and their entries.

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, Ranked, Ranks};
use crate::agent::c1z::image::layout::{Kind, Layout, key};
use crate::agent::c1z::image::order;
use crate::agent::c1z::image::pages::Records;
use crate::agent::c1z::image::record::{self, Value};
use crate::agent::c1z::intern::Pair;

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
    /// The ones that take longest to sort first.
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

    /// The rows in the order of this index.
    fn rows(self, keys: &Keys, ranks: &Ranks<'_>) -> Result<Vec<u32>, WriteError> {
        let entitlements =
            || (ranks.entitlements.len(), |key: &Key| ranks.entitlements.rank(key.entitlement));
        let principals = || (ranks.principals.len(), |key: &Key| ranks.principals.rank(key.principal));
        let syncs = || (ranks.syncs.len(), |key: &Key| ranks.syncs.rank(key.sync));
        Ok(match self {
            Self::Id => order::of_ids(keys, ranks)?,
            Self::EntitlementAndPrincipal => {
                order::sorted(order::sorted(keys.all(), keys, principals()), keys, entitlements())
            }
            Self::EntitlementAndSync => {
                order::sorted(order::sorted(keys.all(), keys, syncs()), keys, entitlements())
            }
            Self::Principal => order::sorted(keys.all(), keys, principals()),
            Self::Owner => order::sorted(
                keys.all(),
                keys,
                (ranks.owners.len(), |key: &Key| ranks.owners.rank(key.owner)),
            ),
            Self::Expandable => order::sorted(keys.expandable.clone(), keys, syncs()),
            Self::NeedsExpansion => order::sorted(keys.needing.clone(), keys, syncs()),
        })
    }
}

/// One index, in order.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) kind: IndexKind,
    pub(super) layout: Layout,
    rows: Vec<u32>,
}

impl Index {
    /// Sorts the rows and finds out how many pages they take.
    pub(super) fn new(
        kind: IndexKind,
        root: u32,
        keys: &Keys,
        ranks: &Ranks<'_>,
    ) -> Result<Self, WriteError> {
        let rows = kind.rows(keys, ranks)?;
        let count = u32::try_from(rows.len()).map_err(|_| WriteError::TooManyPages)?;
        let mut entries = Entries { kind, rows: &rows, keys, ranks };
        let layout = Layout::new(Kind::Index, root, count, |entry| entries.len(entry));
        Ok(Self { kind, layout, rows })
    }

    /// The entries, to be written.
    pub(super) fn entries<'a>(&'a self, keys: &'a Keys, ranks: &'a Ranks<'a>) -> Entries<'a> {
        Entries { kind: self.kind, rows: &self.rows, keys, ranks }
    }
}

/// The entries of an index.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    kind: IndexKind,
    rows: &'a [u32],
    keys: &'a Keys,
    ranks: &'a Ranks<'a>,
}

impl Records for Entries<'_> {
    fn len(&mut self, entry: u32) -> usize {
        self.with(entry, record::len)
    }

    fn put(&mut self, entry: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
        self.with(entry, |values| record::put(values, out));
        Ok(())
    }
}

impl Entries<'_> {
    /// Calls `take` with what an entry holds. The row is the last value of each.
    fn with<T>(&self, entry: u32, take: impl FnOnce(&[Value<'_>]) -> T) -> T {
        let Self { keys, ranks, .. } = *self;
        let row = self.rows.get(entry as usize).copied().unwrap_or_default();
        let Some(one) = keys.rows.get(row as usize) else { return take(&[]) };
        // Keys of rows stay far below the largest integer.
        let number = Value::Integer(key(row) as i64);
        let sync = Value::Text(ranks.syncs.value(one.sync).unwrap_or_default().as_bytes());
        let entitlement = ranks.entitlements.value(one.entitlement).unwrap_or_default().as_bytes();
        match self.kind {
            IndexKind::Id => match keys.ids.get(one.id as usize) {
                Some(id) => take(&[Value::Text(id.as_bytes()), sync, number]),
                None => {
                    let (kind, principal) = pair(&ranks.principals, one.principal);
                    let id = [entitlement, b":", kind, b":", principal];
                    take(&[Value::Texts(&id), sync, number])
                }
            },
            IndexKind::EntitlementAndPrincipal => {
                let (kind, principal) = pair(&ranks.principals, one.principal);
                take(&[Value::Text(entitlement), Value::Text(kind), Value::Text(principal), number])
            }
            IndexKind::EntitlementAndSync => take(&[Value::Text(entitlement), sync, number, number]),
            IndexKind::Principal => {
                let (kind, principal) = pair(&ranks.principals, one.principal);
                take(&[Value::Text(kind), Value::Text(principal), number])
            }
            IndexKind::Owner => {
                let (kind, owner) = pair(&ranks.owners, one.owner);
                take(&[Value::Text(kind), Value::Text(owner), number])
            }
            IndexKind::Expandable | IndexKind::NeedsExpansion => take(&[sync, number]),
        }
    }
}

fn pair<'a>(ranked: &Ranked<&'a Pair>, number: u32) -> (&'a [u8], &'a [u8]) {
    ranked.value(number).map_or((&[], &[]), |(first, second)| (first.as_bytes(), second.as_bytes()))
}

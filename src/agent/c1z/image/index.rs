//! The indexes of the grants table, and their entries.

use crate::agent::c1z::image::coded::{Coded, Codes, Header};
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Keys, Ranks};
use crate::agent::c1z::image::layout::{Kind, Layout, key};
use crate::agent::c1z::image::order;
use crate::agent::c1z::image::pages::Records;
use crate::agent::c1z::image::record::{self, text_kind, varint_len};

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
    /// All indexes; those that take longest to sort come first.
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
        let Ranks { entitlements, principals, owners, syncs } = ranks;
        let of = &keys.rows;
        let by_entitlement =
            (entitlements.len(), |row| of.entitlement(row).map(|number| entitlements.rank(number)));
        let by_principal = (principals.len(), |row| of.principal(row).map(|number| principals.rank(number)));
        let by_owner = (owners.len(), |row| of.owner(row).map(|number| owners.rank(number)));
        let by_sync = (syncs.len(), |row| of.sync(row).map(|number| syncs.rank(number)));
        Ok(match self {
            Self::Id => order::of_ids(keys, ranks)?,
            Self::EntitlementAndPrincipal => {
                order::sorted(order::sorted(keys.all(), by_principal), by_entitlement)
            }
            Self::EntitlementAndSync => order::sorted(order::sorted(keys.all(), by_sync), by_entitlement),
            Self::Principal => order::sorted(keys.all(), by_principal),
            Self::Owner => order::sorted(keys.all(), by_owner),
            Self::Expandable => order::sorted(keys.expandable.clone(), by_sync),
            Self::NeedsExpansion => order::sorted(keys.needing.clone(), by_sync),
        })
    }
}

/// One sorted index.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) kind: IndexKind,
    pub(super) layout: Layout,
    rows: Vec<u32>,
}

impl Index {
    /// Sorts the rows and computes their pages.
    pub(super) fn new(
        kind: IndexKind,
        root: u32,
        keys: &Keys,
        ranks: &Ranks<'_>,
        codes: &Codes,
    ) -> Result<Self, WriteError> {
        let rows = kind.rows(keys, ranks)?;
        let count = u32::try_from(rows.len()).map_err(|_| WriteError::TooManyPages)?;
        let mut entries = Entries { kind, rows: &rows, keys, codes };
        let layout = Layout::new(Kind::Index, root, count, |entry| entries.len(entry));
        Ok(Self { kind, layout, rows })
    }

    /// The entries to write.
    pub(super) fn entries<'a>(&'a self, keys: &'a Keys, codes: &'a Codes) -> Entries<'a> {
        Entries { kind: self.kind, rows: &self.rows, keys, codes }
    }
}

/// The entries of an index.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    kind: IndexKind,
    rows: &'a [u32],
    keys: &'a Keys,
    codes: &'a Codes,
}

/// The values of an entry before the row's key. Some entries hold the key twice.
enum Entry<'a> {
    One(&'a Coded),
    Two(&'a Coded, &'a Coded),
    /// With the key twice.
    Sorted(&'a Coded, &'a Coded),
    /// An id in two parts, and the sync.
    Id(&'a [u8], &'a [u8], &'a Coded),
    None,
}

impl Records for Entries<'_> {
    fn len(&mut self, entry: u32) -> usize {
        let (entry, number) = self.entry(entry);
        let key = 1 + record::integer(number).1;
        1 + key
            + match entry {
                Entry::One(texts) => texts.len(),
                Entry::Two(first, second) => first.len() + second.len(),
                Entry::Sorted(first, second) => first.len() + second.len() + key,
                Entry::Id(first, second, sync) => {
                    let id = first.len() + second.len();
                    varint_len(text_kind(id)) + id + sync.len()
                }
                Entry::None => 0,
            }
    }

    fn put(&mut self, entry: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let (entry, number) = self.entry(entry);
        let (kind, length) = record::integer(number);
        let bytes = number.to_be_bytes();
        let key = bytes.get(bytes.len() - length..).unwrap_or_default();
        let mut header = Header::new();
        match entry {
            Entry::One(texts) => {
                header.texts(texts);
                header.short(kind);
                header.put(out);
                out.extend_from_slice(&texts.bytes);
            }
            Entry::Two(first, second) => {
                header.texts(first);
                header.texts(second);
                header.short(kind);
                header.put(out);
                out.extend_from_slice(&first.bytes);
                out.extend_from_slice(&second.bytes);
            }
            Entry::Sorted(first, second) => {
                header.texts(first);
                header.texts(second);
                header.short(kind);
                header.short(kind);
                header.put(out);
                out.extend_from_slice(&first.bytes);
                out.extend_from_slice(&second.bytes);
                out.extend_from_slice(key);
            }
            Entry::Id(first, second, sync) => {
                header.value(text_kind(first.len() + second.len()));
                header.texts(sync);
                header.short(kind);
                header.put(out);
                out.extend_from_slice(first);
                out.extend_from_slice(second);
                out.extend_from_slice(&sync.bytes);
            }
            Entry::None => return Err(WriteError::Changed),
        }
        out.extend_from_slice(key);
        Ok(())
    }
}

impl<'a> Entries<'a> {
    /// The values of an entry, and the row's key, which is its last value.
    fn entry(&self, entry: u32) -> (Entry<'a>, i64) {
        let Self { keys, codes, .. } = *self;
        let row = self.rows.get(entry as usize).copied().unwrap_or_default();
        // The key is far below the largest integer.
        let number = key(row) as i64;
        let found = || -> Option<Entry<'a>> {
            let of = &keys.rows;
            let entitlement = || codes.entitlements.get(of.entitlement(row)? as usize);
            let principal = || codes.principals.get(of.principal(row)? as usize);
            let sync = || codes.syncs.get(of.sync(row)? as usize);
            Some(match self.kind {
                IndexKind::Id => match keys.ids.get(of.id(row)? as usize) {
                    Some(id) => Entry::Id(id.as_bytes(), &[], sync()?),
                    None => {
                        let end = codes.ends.get(of.principal(row)? as usize)?;
                        Entry::Id(&entitlement()?.bytes, end, sync()?)
                    }
                },
                IndexKind::EntitlementAndPrincipal => Entry::Two(entitlement()?, principal()?),
                IndexKind::EntitlementAndSync => Entry::Sorted(entitlement()?, sync()?),
                IndexKind::Principal => Entry::One(principal()?),
                IndexKind::Owner => Entry::One(codes.owners.get(of.owner(row)? as usize)?),
                IndexKind::Expandable | IndexKind::NeedsExpansion => Entry::One(sync()?),
            })
        };
        (found().unwrap_or(Entry::None), number)
    }
}

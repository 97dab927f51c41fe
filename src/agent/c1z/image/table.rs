//! The rows of the grants table: those of older syncs, those of this one, and the derived ones.

use std::path::Path;

use prost::Message as _;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::keys::{Key, Keys, STANDARD_ID};
use super::pages::Pages;
use super::record::{self, Value};
use super::tree::{Kind, Tree};
use super::{Sources, WriteError};
use crate::agent::c1z::blob;
use crate::agent::c1z::expand::{Expansion, bytes, text};
use crate::agent::expansion::{Derived, SetId};
use crate::proto::connector::Grant;

/// Writes all rows and answers what the indexes need.
pub(super) fn write(pages: &Pages<'_>, root: u32, sources: Sources<'_>) -> Result<Keys, WriteError> {
    let mut writer =
        Writer { tree: Tree::new(pages, Kind::Table, root), keys: Keys::default(), record: Vec::new() };
    writer.keys.counted = writer.keys.syncs.number(sources.sync_id);
    if !sources.kept.is_empty() {
        let kept = |sync: &str| sources.kept.iter().any(|one| one == sync);
        writer.stored(sources.old, kept, &[], None)?;
    }
    let expansion = sources.expansion.as_ref();
    let updated = expansion.map_or(&[][..], |expansion| &expansion.updated);
    let mut encoded = expansion.map(EncodedSources::new);
    writer.stored(sources.current, |_| true, updated, encoded.as_mut())?;
    if let (Some(expansion), Some(encoded)) = (expansion, &mut encoded) {
        writer.derived(&sources, expansion, encoded)?;
    }
    writer.tree.finish()?;
    Ok(writer.keys)
}

struct Writer<'a> {
    tree: Tree<'a>,
    keys: Keys,
    record: Vec<u8>,
}

/// What every row has, besides its sync.
#[derive(Clone, Copy)]
struct Columns<'a> {
    owner: (&'a str, &'a str),
    entitlement: &'a str,
    principal: (&'a str, &'a str),
    id: &'a str,
    expansion: Option<&'a [u8]>,
    needs_expansion: i64,
    data: &'a [u8],
    sync_id: &'a str,
    discovered_at: &'a str,
}

impl Writer<'_> {
    /// Writes the rows of a database, with other sources for those in `updated`.
    fn stored(
        &mut self,
        path: &Path,
        wanted: impl Fn(&str) -> bool,
        updated: &[(i64, SetId)],
        mut encoded: Option<&mut EncodedSources<'_>>,
    ) -> Result<(), WriteError> {
        let database = Connection::open(path)?;
        database.execute_batch("PRAGMA cache_size = -16384")?;
        let mut query = database.prepare(
            "SELECT id, sync_id, resource_type_id, resource_id, entitlement_id, principal_resource_type_id,
                    principal_resource_id, external_id, expansion, needs_expansion, data, discovered_at
             FROM v1_grants ORDER BY id",
        )?;
        let mut rows = query.query([])?;
        let mut updated = updated.iter().peekable();
        while let Some(row) = rows.next()? {
            let sync_id = text(row, 1)?;
            if !wanted(sync_id) {
                continue;
            }
            let number: i64 = row.get(0)?;
            let mut data = bytes(row, 10)?;
            let changed;
            if let (Some((_, set)), Some(encoded)) =
                (updated.next_if(|(row, _)| *row == number), encoded.as_deref_mut())
            {
                changed = with_sources(data, encoded.get(*set))
                    .map_err(|source| WriteError::Row(number, source))?;
                data = &changed;
            }
            self.row(Columns {
                owner: (text(row, 2)?, text(row, 3)?),
                entitlement: text(row, 4)?,
                principal: (text(row, 5)?, text(row, 6)?),
                id: text(row, 7)?,
                expansion: match row.get_ref(8)? {
                    ValueRef::Null => None,
                    _ => Some(bytes(row, 8)?),
                },
                needs_expansion: row.get(9)?,
                data,
                sync_id,
                discovered_at: text(row, 11)?,
            })?;
        }
        Ok(())
    }

    /// Writes one row that was stored.
    fn row(&mut self, columns: Columns<'_>) -> Result<(), WriteError> {
        let keys = &mut self.keys;
        let id = if is_standard(&columns) {
            STANDARD_ID
        } else {
            keys.ids.push(columns.id.into());
            u32::try_from(keys.ids.len() - 1).unwrap_or(STANDARD_ID)
        };
        let key = Key {
            entitlement: keys.entitlements.number(columns.entitlement),
            principal: keys.principals.number(columns.principal.0, columns.principal.1),
            owner: keys.owners.number(columns.owner.0, columns.owner.1),
            sync: keys.syncs.number(columns.sync_id),
            id,
        };
        self.add(key, &columns)
    }

    /// Writes a row, whose key is known.
    fn add(&mut self, key: Key, columns: &Columns<'_>) -> Result<(), WriteError> {
        self.keys.rows.push(key);
        let number = u32::try_from(self.keys.rows.len()).map_err(|_| WriteError::TooManyPages)?;
        if columns.expansion.is_some() {
            self.keys.expandable.push(number - 1);
        }
        if columns.needs_expansion == 1 {
            self.keys.needing.push(number - 1);
        }
        self.record.clear();
        let values = [
            // The key itself is beside the record.
            Value::Null,
            Value::Text(columns.owner.0.as_bytes()),
            Value::Text(columns.owner.1.as_bytes()),
            Value::Text(columns.entitlement.as_bytes()),
            Value::Text(columns.principal.0.as_bytes()),
            Value::Text(columns.principal.1.as_bytes()),
            Value::Text(columns.id.as_bytes()),
            columns.expansion.map_or(Value::Null, Value::Blob),
            Value::Integer(columns.needs_expansion),
            Value::Blob(columns.data),
            Value::Text(columns.sync_id.as_bytes()),
            Value::Text(columns.discovered_at.as_bytes()),
        ];
        record::put(&values, &mut self.record);
        self.tree.add_row(u64::from(number), &self.record)
    }

    /// Writes the derived grants, destination by destination.
    fn derived(
        &mut self,
        sources: &Sources<'_>,
        expansion: &Expansion,
        encoded: &mut EncodedSources<'_>,
    ) -> Result<(), WriteError> {
        let database = Connection::open(sources.current)?;
        let mut query = database.prepare(
            "SELECT data, resource_type_id, resource_id FROM v1_entitlements WHERE external_id = ?1",
        )?;
        let sync = self.keys.counted;
        self.keys.rows.reserve_exact(expansion.derived.len());
        let principals: Vec<u32> =
            expansion.principals.iter().map(|(kind, id)| self.keys.principals.number(kind, id)).collect();
        let immutable = blob::immutable_annotation();
        let mut id = String::new();
        let mut data = Vec::new();
        for grants in expansion.derived.chunk_by(|one, other| one.entitlement == other.entitlement) {
            let Some(name) = grants.first().and_then(|first| name(expansion, first)) else { continue };
            let mut found = query.query([name])?;
            let Some(row) = found.next()? else { continue };
            let mut entitlement = Vec::new();
            blob::put_record(blob::tag::grant::ENTITLEMENT, bytes(row, 0)?, &mut entitlement);
            let owner = (text(row, 1)?, text(row, 2)?);
            let entitlement_number = self.keys.entitlements.number(name);
            let owner_number = self.keys.owners.number(owner.0, owner.1);
            for grant in grants {
                let index = grant.principal.index as usize;
                let (Some((kind, principal)), Some(number), Some(carried)) = (
                    expansion.principals.get(index),
                    principals.get(index),
                    expansion.carried.get(grant.carried as usize),
                ) else {
                    continue;
                };
                id.clear();
                for part in [name, ":", kind, ":", principal] {
                    id.push_str(part);
                }
                data.clear();
                data.extend_from_slice(&entitlement);
                blob::put_record(blob::tag::grant::PRINCIPAL, carried, &mut data);
                blob::put_record(blob::tag::grant::ID, id.as_bytes(), &mut data);
                data.extend_from_slice(&immutable);
                data.extend_from_slice(encoded.get(grant.sources));
                let key = Key {
                    entitlement: entitlement_number,
                    principal: *number,
                    owner: owner_number,
                    sync,
                    id: STANDARD_ID,
                };
                self.add(
                    key,
                    &Columns {
                        owner,
                        entitlement: name,
                        principal: (kind, principal),
                        id: &id,
                        expansion: None,
                        needs_expansion: 0,
                        data: &data,
                        sync_id: sources.sync_id,
                        discovered_at: sources.now,
                    },
                )?;
            }
        }
        Ok(())
    }
}

fn name<'a>(expansion: &'a Expansion, grant: &Derived) -> Option<&'a str> {
    expansion.entitlements.get(grant.entitlement as usize).map(|name| &**name)
}

/// Whether an id is the one that derived grants get.
fn is_standard(columns: &Columns<'_>) -> bool {
    let rest = |text: &'_ str, part: &str| text.strip_prefix(part).map(str::len);
    let Some(after) = rest(columns.id, columns.entitlement) else { return false };
    let tail = columns.id.get(columns.id.len() - after..).unwrap_or_default();
    let Some(tail) = tail.strip_prefix(':').and_then(|tail| tail.strip_prefix(columns.principal.0)) else {
        return false;
    };
    tail.strip_prefix(':') == Some(columns.principal.1)
}

fn with_sources(data: &[u8], sources: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
    match blob::without_sources(data) {
        Some(mut grant) => {
            grant.extend_from_slice(sources);
            Ok(grant)
        }
        // Says what is wrong.
        None => Grant::decode(data).map(|grant| blob::grant(&grant)),
    }
}

/// Sources as grants have them, each set encoded once.
struct EncodedSources<'a> {
    expansion: &'a Expansion,
    /// Places of the entitlements in order of their ids.
    ranks: Vec<u32>,
    /// Where each set is in `bytes`; nothing for those not encoded yet.
    places: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

/// From here on encoding begins anew, to bound the memory.
const MOST_ENCODED: usize = 32 << 20;

impl<'a> EncodedSources<'a> {
    fn new(expansion: &'a Expansion) -> Self {
        let names = &expansion.entitlements;
        let ranks = super::keys::ranks(names.len(), |one, other| names.get(one).cmp(&names.get(other)));
        Self { expansion, ranks, places: vec![(0, 0); expansion.sets.len()], bytes: Vec::new() }
    }

    fn get(&mut self, set: SetId) -> &[u8] {
        let known = self.places.get(set.index()).copied().unwrap_or_default();
        let (start, end) = if known == (0, 0) { self.encode(set) } else { known };
        self.bytes.get(start as usize..end as usize).unwrap_or_default()
    }

    fn encode(&mut self, set: SetId) -> (u32, u32) {
        if self.bytes.len() > MOST_ENCODED {
            self.bytes.clear();
            self.places.fill((0, 0));
        }
        let mut members: Vec<(u32, bool)> = self.expansion.sets.members(set).collect();
        members.sort_unstable_by_key(|(entitlement, _)| self.ranks.get(*entitlement as usize));
        let entries = members.iter().filter_map(|(entitlement, direct)| {
            Some((&**self.expansion.entitlements.get(*entitlement as usize)?, *direct))
        });
        let start = self.bytes.len();
        self.bytes.extend(blob::sources(entries));
        let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let place = (position(start), position(self.bytes.len()));
        if let Some(known) = self.places.get_mut(set.index()) {
            *known = place;
        }
        place
    }
}

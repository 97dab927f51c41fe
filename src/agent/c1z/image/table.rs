//! The rows of the grants table: those of older syncs, those of this one, and the derived ones.

use std::path::Path;

use prost::Message as _;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::agent::c1z::blob;
use crate::agent::c1z::expand::{Expansion, bytes, text};
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, STANDARD_ID, ranks};
use crate::agent::c1z::image::pages::Pages;
use crate::agent::c1z::image::record::{self, Value};
use crate::agent::c1z::image::sources::Sources;
use crate::agent::c1z::image::tree::{Kind, Tree};
use crate::agent::expansion::{Derived, SetId};
use crate::proto::connector::Grant;

/// The table, as far as it is written.
pub(super) struct Table<'a> {
    writer: Writer<'a>,
    sources: Sources<'a>,
}

impl<'a> Table<'a> {
    /// Writes the rows that are stored, and answers what the indexes need of all rows, also of the derived
    /// ones, which [`Table::finish`] writes.
    pub(super) fn begin(
        pages: &'a Pages<'a>,
        root: u32,
        sources: Sources<'a>,
    ) -> Result<(Self, Keys), WriteError> {
        let mut keys = Keys::default();
        let mut writer = Writer { tree: Tree::new(pages, Kind::Table, root), rows: 0, record: Vec::new() };
        keys.counted = keys.syncs.number(sources.sync_id);
        if !sources.kept.is_empty() {
            let kept = |sync: &str| sources.kept.iter().any(|one| one == sync);
            writer.stored(&mut keys, sources.old, kept, &[], None)?;
        }
        let expansion = sources.expansion.as_ref();
        let updated = expansion.map_or(&[][..], |expansion| &expansion.updated);
        let mut encoded = expansion.map(EncodedSources::new);
        writer.stored(&mut keys, sources.current, |_| true, updated, encoded.as_mut())?;
        if let Some(expansion) = expansion {
            derived_keys(&mut keys, &sources, expansion)?;
        }
        Ok((Self { writer, sources }, keys))
    }

    /// Writes the rest.
    pub(super) fn finish(self) -> Result<(), WriteError> {
        let Self { mut writer, sources } = self;
        if let Some(expansion) = &sources.expansion {
            writer.derived(&sources, expansion)?;
        }
        writer.tree.finish()
    }
}

/// The keys of the derived grants, in the order in which they are written.
fn derived_keys(keys: &mut Keys, sources: &Sources<'_>, expansion: &Expansion) -> Result<(), WriteError> {
    let principals: Vec<u32> =
        expansion.principals.iter().map(|(kind, id)| keys.principals.number(kind, id)).collect();
    let sync = keys.counted;
    keys.rows.reserve_exact(expansion.derived.len());
    each_destination(sources, expansion, |destination, grants| {
        let entitlement = keys.entitlements.number(destination.name);
        let owner = keys.owners.number(destination.owner.0, destination.owner.1);
        keys.rows.extend(grants.iter().map(|grant| Key {
            entitlement,
            principal: principals.get(grant.principal.index as usize).copied().unwrap_or(u32::MAX),
            owner,
            sync,
            id: STANDARD_ID,
        }));
        Ok(())
    })
}

/// An entitlement that was derived for somebody.
struct Destination<'a> {
    name: &'a str,
    owner: (&'a str, &'a str),
    data: &'a [u8],
}

/// Calls `each` with every destination and its derived grants.
fn each_destination(
    sources: &Sources<'_>,
    expansion: &Expansion,
    mut each: impl FnMut(Destination<'_>, &[Derived]) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let database = Connection::open(sources.current)?;
    let mut query = database
        .prepare("SELECT data, resource_type_id, resource_id FROM v1_entitlements WHERE external_id = ?1")?;
    for grants in expansion.derived.chunk_by(|one, other| one.entitlement == other.entitlement) {
        let Some(name) = grants.first().and_then(|first| name(expansion, first)) else { continue };
        let mut found = query.query([name])?;
        // Destinations are stored entitlements.
        let Some(row) = found.next()? else { continue };
        each(Destination { name, owner: (text(row, 1)?, text(row, 2)?), data: bytes(row, 0)? }, grants)?;
    }
    Ok(())
}

struct Writer<'a> {
    tree: Tree<'a>,
    /// How many rows there are; the last one's key.
    rows: u32,
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
        keys: &mut Keys,
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
            let columns = Columns {
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
            };
            add_key(keys, &columns);
            self.add(&columns)?;
        }
        Ok(())
    }

    /// Writes a row.
    fn add(&mut self, columns: &Columns<'_>) -> Result<(), WriteError> {
        self.rows = self.rows.checked_add(1).ok_or(WriteError::TooManyPages)?;
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
        self.tree.add_row(u64::from(self.rows), &self.record)
    }

    /// Writes the derived grants, destination by destination.
    fn derived(&mut self, sources: &Sources<'_>, expansion: &Expansion) -> Result<(), WriteError> {
        let mut encoded = EncodedSources::new(expansion);
        let immutable = blob::immutable_annotation();
        let mut id = String::new();
        let mut data = Vec::new();
        each_destination(sources, expansion, |destination, grants| {
            let name = destination.name;
            let mut entitlement = Vec::new();
            blob::put_record(blob::tag::grant::ENTITLEMENT, destination.data, &mut entitlement);
            for grant in grants {
                let principal = expansion.principals.get(grant.principal.index as usize);
                let (kind, principal) = principal.map_or(("", ""), |(kind, id)| (&**kind, &**id));
                let carried = expansion.carried.get(grant.carried as usize).map_or(&[][..], |one| one);
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
                self.add(&Columns {
                    owner: destination.owner,
                    entitlement: name,
                    principal: (kind, principal),
                    id: &id,
                    expansion: None,
                    needs_expansion: 0,
                    data: &data,
                    sync_id: sources.sync_id,
                    discovered_at: sources.now,
                })?;
            }
            Ok(())
        })
    }
}

/// Remembers what the indexes need of a stored row.
fn add_key(keys: &mut Keys, columns: &Columns<'_>) {
    let position = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let id = if is_standard(columns) {
        STANDARD_ID
    } else {
        keys.ids.push(columns.id.into());
        position(keys.ids.len() - 1)
    };
    let key = Key {
        entitlement: keys.entitlements.number(columns.entitlement),
        principal: keys.principals.number(columns.principal.0, columns.principal.1),
        owner: keys.owners.number(columns.owner.0, columns.owner.1),
        sync: keys.syncs.number(columns.sync_id),
        id,
    };
    let row = position(keys.rows.len());
    keys.rows.push(key);
    if columns.expansion.is_some() {
        keys.expandable.push(row);
    }
    if columns.needs_expansion == 1 {
        keys.needing.push(row);
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
        let ranks = ranks(names.len(), |one, other| names.get(one).cmp(&names.get(other)));
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

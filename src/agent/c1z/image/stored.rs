//! The stored rows of the grants table: first the rows of older syncs, then those of this sync.

use std::borrow::Cow;

use prost::Message as _;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};

use crate::agent::c1z::blob;
use crate::agent::c1z::expand::{bytes, text};
use crate::agent::c1z::image::encoded::EncodedSources;
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, STANDARD_ID};
use crate::agent::c1z::image::record::{self, Value};
use crate::agent::c1z::image::sources::Sources;
use crate::agent::expansion::SetId;
use crate::proto::connector::Grant;

/// Selects the rows of a database from an id on.
pub(super) const QUERY: &str =
    "SELECT id, sync_id, resource_type_id, resource_id, entitlement_id, principal_resource_type_id,
         principal_resource_id, external_id, expansion, needs_expansion, data, discovered_at
     FROM v1_grants WHERE id >= ?1 ORDER BY id";

/// Data about the stored rows, collected by the first read.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// The sizes of their records in the new file.
    lengths: Vec<u32>,
    /// The rows whose database id does not follow the id of the previous row, and these ids.
    ids: Vec<(u32, i64)>,
    /// The number of rows of older syncs.
    old: u32,
}

/// The values of a row other than its data.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) owner: (&'a str, &'a str),
    pub(super) entitlement: &'a str,
    pub(super) principal: (&'a str, &'a str),
    pub(super) id: Value<'a>,
    pub(super) expansion: Option<&'a [u8]>,
    pub(super) needs_expansion: i64,
    pub(super) sync_id: &'a str,
    pub(super) discovered_at: &'a str,
}

impl Stored {
    /// Reads every row and records the keys that the indexes need.
    pub(super) fn read(sources: &Sources, keys: &mut Keys) -> Result<Self, WriteError> {
        let mut stored = Self::default();
        if !sources.kept.is_empty() {
            let kept = |sync: &str| sources.kept.iter().any(|one| one == sync);
            let database = Connection::open(&sources.old)?;
            stored.add_all(&database, keys, kept, &mut Updates::default())?;
        }
        stored.old = stored.len();
        let database = Connection::open(&sources.current)?;
        stored.add_all(&database, keys, |_| true, &mut Updates::new(sources))?;
        Ok(stored)
    }

    /// The number of rows.
    pub(super) fn len(&self) -> u32 {
        // Equal to the number of keys, which is checked.
        self.lengths.len() as u32
    }

    /// The size of a row's record.
    pub(super) fn record(&self, row: u32) -> usize {
        self.lengths.get(row as usize).copied().unwrap_or_default() as usize
    }

    fn add_all(
        &mut self,
        database: &Connection,
        keys: &mut Keys,
        wanted: impl Fn(&str) -> bool,
        updates: &mut Updates<'_>,
    ) -> Result<(), WriteError> {
        let mut query = database.prepare(QUERY)?;
        let mut rows = query.query([i64::MIN])?;
        while let Some(row) = rows.next()? {
            let sync_id = text(row, 1)?;
            if !wanted(sync_id) {
                continue;
            }
            let id: i64 = row.get(0)?;
            let data = updates.apply(id, bytes(row, 10)?)?;
            let columns = columns(row)?;
            let length = record::len(&values(&columns, Value::Blob(&data)));
            if self.id(self.len()) != Some(id) {
                self.ids.push((self.len(), id));
            }
            self.lengths.push(u32::try_from(length).map_err(|_| WriteError::Changed)?);
            add_key(keys, &columns, text(row, 7)?)?;
        }
        Ok(())
    }

    /// The id of a row in its database. For the row after the last one, the next number.
    fn id(&self, row: u32) -> Option<i64> {
        let run = self.ids.partition_point(|(first, _)| *first <= row).checked_sub(1)?;
        self.ids.get(run).map(|(first, id)| id + i64::from(row - first))
    }
}

/// The values of a row, in the column order of the table.
pub(super) fn values<'a>(columns: &Columns<'a>, data: Value<'a>) -> [Value<'a>; 12] {
    [
        // The key itself is stored outside the record.
        Value::Null,
        Value::Text(columns.owner.0.as_bytes()),
        Value::Text(columns.owner.1.as_bytes()),
        Value::Text(columns.entitlement.as_bytes()),
        Value::Text(columns.principal.0.as_bytes()),
        Value::Text(columns.principal.1.as_bytes()),
        columns.id,
        columns.expansion.map_or(Value::Null, Value::Blob),
        Value::Integer(columns.needs_expansion),
        data,
        Value::Text(columns.sync_id.as_bytes()),
        Value::Text(columns.discovered_at.as_bytes()),
    ]
}

/// Reads stored rows in order.
pub(super) struct Reading<'a, 'q> {
    stored: &'a Stored,
    old: Option<Rows<'q>>,
    current: Option<Rows<'q>>,
}

impl<'a, 'q> Reading<'a, 'q> {
    /// Begins at row `first`; `old` and `current` are [`QUERY`] on the two databases.
    pub(super) fn begin(
        stored: &'a Stored,
        first: u32,
        old: &'q mut rusqlite::Statement<'_>,
        current: &'q mut rusqlite::Statement<'_>,
    ) -> Result<Self, WriteError> {
        let old = if first < stored.old { Some(old.query([stored.id(first)])?) } else { None };
        let first = first.max(stored.old);
        let current = if first < stored.len() { Some(current.query([stored.id(first)])?) } else { None };
        Ok(Self { stored, old, current })
    }

    /// Appends the record of the next row.
    pub(super) fn put(
        &mut self,
        row: u32,
        updates: &mut Updates<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let is_old = row < self.stored.old;
        let expected = self.stored.id(row).unwrap_or_default();
        let rows = if is_old { &mut self.old } else { &mut self.current };
        let Some(rows) = rows else { return Err(WriteError::Changed) };
        loop {
            let Some(row) = rows.next()? else { return Err(WriteError::Changed) };
            let id: i64 = row.get(0)?;
            // Skips rows of syncs that are not kept.
            if id < expected {
                continue;
            }
            let data = bytes(row, 10)?;
            let data = if is_old { Cow::Borrowed(data) } else { updates.apply(id, data)? };
            record::put(&values(&columns(row)?, Value::Blob(&data)), out);
            return if id == expected { Ok(()) } else { Err(WriteError::Changed) };
        }
    }
}

/// The rows of this sync whose sources expansion changed.
#[derive(Default)]
pub(super) struct Updates<'a> {
    sets: &'a [(i64, SetId)],
    encoded: Option<EncodedSources<'a>>,
}

impl<'a> Updates<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        match &sources.expansion {
            Some(expansion) => {
                Self { sets: &expansion.updated, encoded: Some(EncodedSources::new(expansion)) }
            }
            None => Self::default(),
        }
    }

    /// The encoded field of a set of sources.
    pub(super) fn encoded(&mut self, set: SetId) -> &[u8] {
        self.encoded.as_mut().map_or(&[], |encoded| encoded.get(set))
    }

    fn apply<'d>(&mut self, row: i64, data: &'d [u8]) -> Result<Cow<'d, [u8]>, WriteError> {
        let Ok(at) = self.sets.binary_search_by_key(&row, |(row, _)| *row) else {
            return Ok(Cow::Borrowed(data));
        };
        let Some((_, set)) = self.sets.get(at) else { return Ok(Cow::Borrowed(data)) };
        let sources = self.encoded(*set);
        let changed = match blob::without_sources(data) {
            Some(mut grant) => {
                grant.extend_from_slice(sources);
                grant
            }
            // Decoding produces the error for an invalid row.
            None => {
                let decoded = Grant::decode(data).map_err(|source| WriteError::Row(row, source))?;
                blob::grant(&decoded)
            }
        };
        Ok(Cow::Owned(changed))
    }
}

fn columns<'a>(row: &'a Row<'_>) -> rusqlite::Result<Columns<'a>> {
    Ok(Columns {
        owner: (text(row, 2)?, text(row, 3)?),
        entitlement: text(row, 4)?,
        principal: (text(row, 5)?, text(row, 6)?),
        id: Value::Text(bytes(row, 7)?),
        expansion: match row.get_ref(8)? {
            ValueRef::Null => None,
            _ => Some(bytes(row, 8)?),
        },
        needs_expansion: row.get(9)?,
        sync_id: text(row, 1)?,
        discovered_at: text(row, 11)?,
    })
}

/// Records the keys of a row that the indexes need.
fn add_key(keys: &mut Keys, columns: &Columns<'_>, id: &str) -> Result<(), WriteError> {
    keys.check_room(1)?;
    let id = if is_standard(columns, id) {
        STANDARD_ID
    } else {
        keys.ids.push(id.into());
        // There are fewer ids than rows.
        keys.ids.len() as u32 - 1
    };
    let key = Key {
        entitlement: keys.entitlements.number(columns.entitlement),
        principal: keys.principals.number(columns.principal.0, columns.principal.1),
        owner: keys.owners.number(columns.owner.0, columns.owner.1),
        sync: keys.syncs.number(columns.sync_id),
        id,
    };
    let row = keys.rows.len();
    keys.rows.push(key);
    if columns.expansion.is_some() {
        keys.expandable.push(row);
    }
    if columns.needs_expansion == 1 {
        keys.needing.push(row);
    }
    Ok(())
}

/// Whether an id has the form of the ids of derived grants.
fn is_standard(columns: &Columns<'_>, id: &str) -> bool {
    let (kind, principal) = columns.principal;
    id.strip_prefix(columns.entitlement)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|rest| rest.strip_prefix(kind))
        .and_then(|rest| rest.strip_prefix(':'))
        == Some(principal)
}

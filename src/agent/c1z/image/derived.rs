//! The rows of derived grants.

use rusqlite::Connection;

use crate::agent::c1z::blob::{self, tag};
use crate::agent::c1z::expand::{Expansion, bytes, text};
use crate::agent::c1z::image::coded::{Coded, Header, end_of_id};
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, STANDARD_ID};
use crate::agent::c1z::image::record::{blob_kind, text_kind, varint_len};
use crate::agent::c1z::image::sources::Sources;
use crate::agent::c1z::image::stored::Updates;
use crate::agent::c1z::intern::Pair;
use crate::agent::expansion::Derived;

/// The derived grants and their common parts, encoded.
pub(super) struct Derivation<'a> {
    expansion: &'a Expansion,
    destinations: Vec<Destination<'a>>,
    /// The positions of the destinations, by the numbers of their entitlements.
    places: Vec<u32>,
    principals: Vec<Holder>,
    /// The encoded field of each carried principal.
    carried: Vec<Vec<u8>>,
    /// The field that marks a grant as not revocable.
    immutable: Vec<u8>,
    /// The sizes of the encoded fields of the sets of sources.
    lengths: Vec<u32>,
    /// The id of the sync and the time.
    end: Coded,
}

/// An entitlement that has derived grants.
struct Destination<'a> {
    /// Its first grant.
    first: usize,
    name: &'a str,
    owner: Pair,
    /// The first three texts of its rows.
    texts: Coded,
    /// Its encoded field.
    entitlement: Vec<u8>,
}

/// A principal that holds a derived grant.
struct Holder {
    texts: Coded,
    end_of_id: Box<[u8]>,
}

impl<'a> Derivation<'a> {
    pub(super) fn read(sources: &'a Sources, expansion: &'a Expansion) -> Result<Self, WriteError> {
        let database = Connection::open(&sources.current)?;
        let mut query = database.prepare(
            "SELECT data, resource_type_id, resource_id FROM v1_entitlements WHERE external_id = ?1",
        )?;
        let mut destinations = Vec::new();
        let mut places = vec![u32::MAX; expansion.entitlements.len()];
        let mut first = 0;
        for grants in expansion.derived.chunk_by(|one, other| one.entitlement == other.entitlement) {
            let entitlement = grants.first().map_or(u32::MAX, |grant| grant.entitlement);
            // Destinations are stored entitlements.
            let name = expansion.entitlements.get(entitlement as usize).ok_or(WriteError::Changed)?;
            if let Some(place) = places.get_mut(entitlement as usize) {
                *place = destinations.len() as u32;
            }
            let mut found = query.query([name])?;
            let row = found.next()?.ok_or(WriteError::Changed)?;
            let owner: Pair = (text(row, 1)?.into(), text(row, 2)?.into());
            destinations.push(Destination {
                first,
                name,
                texts: Coded::new(&[&owner.0, &owner.1, name]),
                owner,
                entitlement: field(tag::grant::ENTITLEMENT, bytes(row, 0)?),
            });
            first += grants.len();
        }
        let holder =
            |(kind, id): &Pair| Holder { texts: Coded::new(&[kind, id]), end_of_id: end_of_id(kind, id) };
        Ok(Self {
            expansion,
            destinations,
            places,
            principals: expansion.principals.iter().map(holder).collect(),
            carried: expansion.carried.iter().map(|one| field(tag::grant::PRINCIPAL, one)).collect(),
            immutable: blob::immutable_annotation(),
            lengths: lengths(expansion),
            end: Coded::new(&[&sources.sync_id, &sources.now]),
        })
    }

    /// The number of derived grants.
    pub(super) fn len(&self) -> usize {
        self.expansion.derived.len()
    }

    /// Adds the keys that the indexes need.
    pub(super) fn add_keys(&self, keys: &mut Keys) -> Result<(), WriteError> {
        let numbers: Vec<u32> =
            self.expansion.principals.iter().map(|(kind, id)| keys.principals.number(kind, id)).collect();
        keys.check_room(self.len())?;
        keys.rows.reserve_exact(self.len());
        let sync = keys.counted;
        for (number, destination) in self.destinations.iter().enumerate() {
            let entitlement = keys.entitlements.number(destination.name);
            let owner = keys.owners.number(&destination.owner.0, &destination.owner.1);
            let end = self.destinations.get(number + 1).map_or(self.len(), |next| next.first);
            let grants = self.expansion.derived.get(destination.first..end).unwrap_or_default();
            for grant in grants {
                let principal = numbers.get(grant.principal.index as usize).copied().unwrap_or(u32::MAX);
                keys.rows.push(Key { entitlement, principal, owner, sync, id: STANDARD_ID });
            }
        }
        Ok(())
    }

    /// The size of a row's record; 0 if there is no such row.
    pub(super) fn record(&self, number: usize) -> usize {
        let Some(row) = self.row(number) else { return 0 };
        let sources = self.lengths.get(row.grant.sources.index()).copied().unwrap_or_default() as usize;
        let id = row.id();
        let data = row.data(&self.immutable) + sources;
        1 + 3
            + row.destination.texts.len()
            + row.holder.texts.len()
            + varint_len(text_kind(id))
            + id
            + varint_len(blob_kind(data))
            + data
            + self.end.len()
    }

    /// Appends a row's record.
    pub(super) fn put(
        &self,
        number: usize,
        updates: &mut Updates<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let row = self.row(number).ok_or(WriteError::Changed)?;
        let Row { destination, holder, carried, grant } = row;
        let sources = updates.encoded(grant.sources);
        let mut header = Header::new();
        // The key is stored outside the record.
        header.short(NULL);
        header.texts(&destination.texts);
        header.texts(&holder.texts);
        header.value(text_kind(row.id()));
        // A derived grant does not expand.
        header.short(NULL);
        header.short(ZERO);
        header.value(blob_kind(row.data(&self.immutable) + sources.len()));
        header.texts(&self.end);
        header.put(out);
        out.extend_from_slice(&destination.texts.bytes);
        out.extend_from_slice(&holder.texts.bytes);
        out.extend_from_slice(destination.name.as_bytes());
        out.extend_from_slice(&holder.end_of_id);
        out.extend_from_slice(&destination.entitlement);
        out.extend_from_slice(carried);
        blob::put_head(tag::grant::ID, row.id(), out);
        out.extend_from_slice(destination.name.as_bytes());
        out.extend_from_slice(&holder.end_of_id);
        out.extend_from_slice(&self.immutable);
        out.extend_from_slice(sources);
        out.extend_from_slice(&self.end.bytes);
        Ok(())
    }

    fn row(&self, number: usize) -> Option<Row<'_>> {
        let grant = self.expansion.derived.get(number)?;
        let place = *self.places.get(grant.entitlement as usize)?;
        Some(Row {
            grant,
            destination: self.destinations.get(place as usize)?,
            holder: self.principals.get(grant.principal.index as usize)?,
            carried: self.carried.get(grant.carried as usize)?,
        })
    }
}

/// The codes of NULL and of the number 0.
const NULL: u8 = 0;
const ZERO: u8 = 8;

/// The parts of a row.
struct Row<'a> {
    grant: &'a Derived,
    destination: &'a Destination<'a>,
    holder: &'a Holder,
    carried: &'a [u8],
}

impl Row<'_> {
    /// The size of the id.
    fn id(&self) -> usize {
        self.destination.name.len() + self.holder.end_of_id.len()
    }

    /// The size of the encoded grant without its sources.
    fn data(&self, immutable: &[u8]) -> usize {
        let id = self.id();
        self.destination.entitlement.len()
            + self.carried.len()
            + blob::head_len(tag::grant::ID, id)
            + id
            + immutable.len()
    }
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    blob::put_record(number, content, &mut out);
    out
}

/// The sizes of the encoded fields of all sets of sources.
fn lengths(expansion: &Expansion) -> Vec<u32> {
    let sets = &expansion.sets;
    let name = |number: u32| expansion.entitlements.get(number as usize).map(|name| name.len());
    sets.ids()
        .map(|set| {
            let entries = sets.members(set).filter_map(|(number, direct)| Some((name(number)?, direct)));
            u32::try_from(blob::sources_len(entries)).unwrap_or(u32::MAX)
        })
        .collect()
}

//! The rows of derived grants.

use rusqlite::Connection;

use crate::agent::c1z::blob::{self, tag};
use crate::agent::c1z::expand::{Expansion, bytes, text};
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::{Key, Keys, STANDARD_ID};
use crate::agent::c1z::image::record::{self, Value};
use crate::agent::c1z::image::sources::Sources;
use crate::agent::c1z::image::stored::{Columns, Updates, values};
use crate::agent::c1z::intern::Pair;
use crate::agent::expansion::Derived;

/// The derived grants, and what many of them have in common, encoded.
pub(super) struct Derivation<'a> {
    sources: &'a Sources,
    expansion: &'a Expansion,
    destinations: Vec<Destination<'a>>,
    /// The field of each carried principal.
    carried: Vec<Vec<u8>>,
    /// The field that says that the grant cannot be revoked.
    immutable: Vec<u8>,
    /// The sizes of the fields of the sets of sources.
    lengths: Vec<u32>,
}

/// An entitlement that was derived for somebody.
struct Destination<'a> {
    /// Its first grant.
    first: usize,
    name: &'a str,
    owner: Pair,
    /// The field.
    entitlement: Vec<u8>,
}

impl<'a> Derivation<'a> {
    pub(super) fn read(sources: &'a Sources, expansion: &'a Expansion) -> Result<Self, WriteError> {
        let database = Connection::open(&sources.current)?;
        let mut query = database.prepare(
            "SELECT data, resource_type_id, resource_id FROM v1_entitlements WHERE external_id = ?1",
        )?;
        let mut destinations = Vec::new();
        let mut first = 0;
        for grants in expansion.derived.chunk_by(|one, other| one.entitlement == other.entitlement) {
            let entitlement = grants.first().map_or(u32::MAX, |grant| grant.entitlement);
            // Destinations are stored entitlements.
            let name = expansion.entitlements.get(entitlement as usize).ok_or(WriteError::Changed)?;
            let mut found = query.query([name])?;
            let row = found.next()?.ok_or(WriteError::Changed)?;
            destinations.push(Destination {
                first,
                name,
                owner: (text(row, 1)?.into(), text(row, 2)?.into()),
                entitlement: field(tag::grant::ENTITLEMENT, bytes(row, 0)?),
            });
            first += grants.len();
        }
        Ok(Self {
            sources,
            expansion,
            destinations,
            carried: expansion.carried.iter().map(|one| field(tag::grant::PRINCIPAL, one)).collect(),
            immutable: blob::immutable_annotation(),
            lengths: lengths(expansion),
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.expansion.derived.len()
    }

    /// Adds what the indexes need of them.
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
            keys.rows.extend(grants.iter().map(|grant| Key {
                entitlement,
                principal: numbers.get(grant.principal.index as usize).copied().unwrap_or(u32::MAX),
                owner,
                sync,
                id: STANDARD_ID,
            }));
        }
        Ok(())
    }

    /// The size of a row's record.
    pub(super) fn record(&self, number: usize) -> usize {
        let length = |grant: &Derived| self.lengths.get(grant.sources.index()).copied().unwrap_or_default();
        self.with(number, |columns, grant, parts| {
            let data = parts.iter().map(|part| part.len()).sum::<usize>() + length(grant) as usize;
            record::len_with_blob(&values(&columns, Value::Null), data)
        })
    }

    /// Appends a row's record.
    pub(super) fn put(&self, number: usize, updates: &mut Updates<'_>, out: &mut Vec<u8>) {
        self.with(number, |columns, grant, parts| {
            let [entitlement, carried, head, name, colon, kind, other, principal, immutable] = parts;
            let sources = updates.encoded(grant.sources);
            let data = [entitlement, carried, head, name, colon, kind, other, principal, immutable, sources];
            record::put(&values(&columns, Value::Blobs(&data)), out);
        });
    }

    /// Calls `take` with a row's columns and all of its data but the sources, in parts.
    fn with<T>(&self, number: usize, take: impl FnOnce(Columns<'_>, &Derived, [&[u8]; 9]) -> T) -> T {
        const NONE: Derived = Derived {
            entitlement: u32::MAX,
            principal: crate::agent::expansion::Principal { index: u32::MAX, kind: u32::MAX },
            sources: crate::agent::expansion::SetId::EMPTY,
            carried: u32::MAX,
        };
        let grant = self.expansion.derived.get(number).unwrap_or(&NONE);
        let at = self.destinations.partition_point(|one| one.first <= number);
        let destination = at.checked_sub(1).and_then(|at| self.destinations.get(at));
        let (name, owner, entitlement) = destination.map_or(("", ("", ""), &[][..]), |one| {
            (one.name, (&*one.owner.0, &*one.owner.1), &one.entitlement)
        });
        let principal = self.expansion.principals.get(grant.principal.index as usize);
        let (kind, principal) = principal.map_or(("", ""), |(kind, id)| (&**kind, &**id));
        let id = [name.as_bytes(), b":", kind.as_bytes(), b":", principal.as_bytes()];
        let columns = Columns {
            owner,
            entitlement: name,
            principal: (kind, principal),
            id: Value::Texts(&id),
            expansion: None,
            needs_expansion: 0,
            sync_id: &self.sources.sync_id,
            discovered_at: &self.sources.now,
        };
        let carried = self.carried.get(grant.carried as usize).map_or(&[][..], |field| field);
        let mut head = [0; 16];
        let head = blob::put_head(tag::grant::ID, id.iter().map(|part| part.len()).sum(), &mut head);
        let [name, colon, kind, other, principal] = id;
        take(
            columns,
            grant,
            [entitlement, carried, head, name, colon, kind, other, principal, &self.immutable],
        )
    }
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    blob::put_record(number, content, &mut out);
    out
}

/// The sizes of the fields of all sets of sources.
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

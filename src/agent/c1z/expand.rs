//! Expands the stored grants: maps rows to numbers, and keeps the result until the file is written.

use std::collections::HashMap;
use std::ops::ControlFlow;

use prost::Message as _;
use rusqlite::{Connection, Row};

use crate::agent::c1z::intern::{Interner, Pair, Pairs};
use crate::agent::c1z::rows::Refusal;
use crate::agent::c1z::{Error, blob};
use crate::agent::expansion::{self, Edge, Principal, SetId, SourceSets};
use crate::proto::connector::{GrantExpandable, GrantSources, Resource, ResourceId};

/// The counts of an expansion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Grants that were added.
    pub derived: u64,
    /// Grants whose sources changed.
    pub updated: u64,
    /// Pairs of entitlements where the holders of one also hold the other.
    pub edges: u64,
    /// Cycles of entitlements.
    pub cycles: u64,
    /// Named entitlements that are not stored and were skipped.
    pub unknown_entitlements: u64,
}

/// The result of an expansion, in the form that is needed to write the file.
#[derive(Debug)]
pub(super) struct Expansion {
    /// Entitlement ids; the stored entitlements come first, in the order of their rows.
    pub(super) entitlements: Vec<Box<str>>,
    /// Principals by their index.
    pub(super) principals: Vec<Pair>,
    /// Encoded principals, which derived grants reuse.
    pub(super) carried: Vec<Box<[u8]>>,
    /// The rows whose sources changed, in ascending order of their ids.
    pub(super) updated: Vec<(i64, SetId)>,
    pub(super) derived: Vec<expansion::Derived>,
    pub(super) sets: SourceSets,
}

/// How often progress is reported while the grants are read, in rows.
const REPORT_EVERY: usize = 1 << 16;

/// Expands the stored grants. `None` if `progress` stops the expansion.
pub(super) fn expand(
    database: &Connection,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Option<(Expansion, Expanded)>, Refusal> {
    let mut load = Load::default();
    load.entitlements(database)?;
    let stored = load.names.len();
    let edges = load.edges(database)?;
    // Without edges, the grants need not be read.
    if !edges.is_empty() && load.grants(database, progress)?.is_break() {
        return Ok(None);
    }
    let before: Vec<SetId> = load.grants.iter().map(|grant| grant.sources).collect();
    let outcome = expansion::expand(stored, &mut load.grants, &edges, &mut load.sets, progress);
    let Some(outcome) = outcome else { return Ok(None) };
    let updated = load.row_ids.iter().zip(&load.grants).zip(&before);
    let updated = updated
        .filter(|((_, grant), before)| grant.sources != **before)
        .map(|((row, grant), _)| (*row, grant.sources))
        .collect();
    load.sets.freeze();
    let expanded = Expanded {
        derived: outcome.derived.len() as u64,
        updated: outcome.updated,
        edges: outcome.edges,
        cycles: outcome.cycles,
        unknown_entitlements: load.unknown,
    };
    let result = Expansion {
        entitlements: load.names.into_values(),
        principals: load.principals.into_values(),
        carried: load.carried.into_values(),
        updated,
        derived: outcome.derived,
        sets: load.sets,
    };
    Ok(Some((result, expanded)))
}

#[derive(Default)]
struct Load {
    names: Interner<Box<str>>,
    /// The resources of the stored entitlements.
    owners: Vec<Pair>,
    principals: Pairs,
    kinds: Interner<Box<str>>,
    carried: Interner<Box<[u8]>>,
    sets: SourceSets,
    grants: Vec<expansion::Grant>,
    row_ids: Vec<i64>,
    unknown: u64,
}

impl Load {
    fn entitlements(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let mut query = database.prepare(
            "SELECT external_id, resource_type_id, resource_id FROM main.v1_entitlements ORDER BY id",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            self.names.number(text(row, 0)?);
            self.owners.push((text(row, 1)?.into(), text(row, 2)?.into()));
        }
        Ok(())
    }

    fn edges(&mut self, database: &Connection) -> Result<Vec<Edge>, Refusal> {
        let mut query = database.prepare(
            "SELECT id, expansion, entitlement_id, principal_resource_type_id, principal_resource_id,
                    external_id
             FROM main.v1_grants WHERE expansion IS NOT NULL AND needs_expansion = 1 ORDER BY id",
        )?;
        let mut rows = query.query([])?;
        let mut edges: Vec<Edge> = Vec::new();
        // Most edges occur many times: once for every grant that expands the same entitlement.
        let mut known: HashMap<(u32, u32), usize> = HashMap::new();
        while let Some(row) = rows.next()? {
            let expandable =
                GrantExpandable::decode(bytes(row, 1)?).map_err(|source| damaged(row, source))?;
            let Some(destination) = self.names.find(text(row, 2)?) else {
                self.unknown += 1;
                continue;
            };
            let kinds: Vec<u32> =
                expandable.resource_type_ids.iter().map(|kind| self.kinds.number(kind.as_str())).collect();
            let kinds = Some(kinds).filter(|kinds| !kinds.is_empty());
            for id in expandable.entitlement_ids.iter().filter(|id| !id.trim().is_empty()) {
                let Some(source) = self.names.find(id.as_str()) else {
                    self.unknown += 1;
                    continue;
                };
                let owner = self.owners.get(source as usize);
                let principal = (text(row, 3)?, text(row, 4)?);
                if owner.is_none_or(|(kind, id)| (&**kind, &**id) != principal) {
                    let grant = text(row, 5)?.to_owned();
                    return Err(Refusal::Other(Error::ForeignExpansion { grant, entitlement: id.clone() }));
                }
                let edge = Edge { source, destination, shallow: expandable.shallow, kinds: kinds.clone() };
                let same = known.get(&(source, destination)).and_then(|at| edges.get(*at));
                if same != Some(&edge) {
                    known.insert((source, destination), edges.len());
                    edges.push(edge);
                }
            }
        }
        Ok(edges)
    }

    fn grants(
        &mut self,
        database: &Connection,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Refusal> {
        let mut query = database.prepare(
            "SELECT id, data, entitlement_id, principal_resource_type_id, principal_resource_id
             FROM main.v1_grants ORDER BY id",
        )?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let data = bytes(row, 1)?;
            let entitlement = self.names.number(text(row, 2)?);
            let principal = self.principal(text(row, 3)?, text(row, 4)?);
            let sources = match blob::field(data, blob::tag::grant::SOURCES) {
                None => SetId::EMPTY,
                Some(encoded) => self.sources(encoded).map_err(|source| damaged(row, source))?,
            };
            let carried = match blob::field(data, blob::tag::grant::PRINCIPAL) {
                Some(embedded) => self.carried.number(embedded),
                // Other writers may omit from the message what the columns contain.
                None => self.carried.number(bare_principal(text(row, 3)?, text(row, 4)?).as_slice()),
            };
            self.row_ids.push(row.get(0)?);
            self.grants.push(expansion::Grant { entitlement, principal, sources, carried });
            if self.grants.len().is_multiple_of(REPORT_EVERY) && progress(0, 0).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn principal(&mut self, kind: &str, id: &str) -> Option<Principal> {
        if kind.is_empty() && id.is_empty() {
            return None;
        }
        Some(Principal { index: self.principals.number(kind, id), kind: self.kinds.number(kind) })
    }

    fn sources(&mut self, encoded: &[u8]) -> Result<SetId, prost::DecodeError> {
        let mut set = SetId::EMPTY;
        for (key, source) in GrantSources::decode(encoded)?.sources {
            let entitlement = self.names.number(key.as_str());
            set = self.sets.with(set, entitlement, source.is_direct);
        }
        Ok(set)
    }
}

/// Encodes a principal that has only an id.
fn bare_principal(kind: &str, id: &str) -> Vec<u8> {
    let id = ResourceId { resource_type: kind.to_owned(), resource: id.to_owned(), baton_resource: false };
    Resource { id: Some(id), ..Resource::default() }.encode_to_vec()
}

fn damaged(row: &Row<'_>, source: prost::DecodeError) -> Refusal {
    match row.get(0) {
        Ok(id) => Refusal::Other(Error::Row { table: "v1_grants", row: id, source }),
        Err(error) => Refusal::Database(error),
    }
}

/// The bytes of a column that is stored as text or as a blob.
pub(super) fn bytes<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_bytes()?)
}

/// A text column.
pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

//! Reads rows that the running sync has stored.

use prost::Message;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::agent::c1z::{Error, rows};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// In the order of storing.
    Ascending,
    /// The last stored row first.
    Descending,
}

/// The position at which a page ended. Rows that are stored later come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId(pub(super) i64);

impl RowId {
    /// The id as a number, for storing it as text.
    pub fn number(self) -> i64 {
        self.0
    }

    /// The id with this number, whether or not such a row exists.
    pub fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// A page of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The rows; fewer than the limit at the end.
    pub rows: Vec<T>,
    /// The position from which to request the next page; `None` if there are no more rows.
    pub next: Option<RowId>,
}

/// The result of a read: the outer error comes from the database, the inner one from decoding a row.
pub(super) type Read<T> = rusqlite::Result<Result<T, Error>>;

pub(super) fn resource_types(database: &Connection) -> Read<Vec<ResourceType>> {
    let mut query = database.prepare_cached("SELECT id, data FROM main.v1_resource_types ORDER BY id")?;
    let rows = query.query_map([], |row| message("v1_resource_types", row))?;
    rows.collect()
}

pub(super) fn resource_type(database: &Connection, id: &str) -> Read<Option<ResourceType>> {
    database
        .prepare_cached("SELECT id, data FROM main.v1_resource_types WHERE external_id = ?1")?
        .query_row([id], |row| message("v1_resource_types", row))
        .optional()
        .map(Option::transpose)
}

pub(super) fn resources(
    database: &Connection,
    order: Order,
    after: Option<RowId>,
    limit: usize,
) -> Read<Page<Resource>> {
    let (query, start) = match order {
        Order::Ascending => {
            ("SELECT id, data FROM main.v1_resources WHERE id > ?1 ORDER BY id LIMIT ?2", i64::MIN)
        }
        Order::Descending => {
            ("SELECT id, data FROM main.v1_resources WHERE id < ?1 ORDER BY id DESC LIMIT ?2", i64::MAX)
        }
    };
    page(database, query, after.map_or(start, |after| after.0), limit, |row| message("v1_resources", row))
}

pub(super) fn resource(database: &Connection, id: &ResourceId) -> Read<Option<Resource>> {
    database
        .prepare_cached("SELECT id, data FROM main.v1_resources WHERE external_id = ?1")?
        .query_row([rows::external_id(id)], |row| message("v1_resources", row))
        .optional()
        .map(Option::transpose)
}

pub(super) fn has_entitlement(database: &Connection, id: &str) -> rusqlite::Result<bool> {
    database.prepare_cached("SELECT 1 FROM main.v1_entitlements WHERE external_id = ?1")?.exists([id])
}

pub(super) fn entitlement(database: &Connection, id: &str) -> Read<Option<Entitlement>> {
    database
        .prepare_cached("SELECT id, data FROM main.v1_entitlements WHERE external_id = ?1")?
        .query_row([id], |row| message("v1_entitlements", row))
        .optional()
        .map(Option::transpose)
}

pub(super) fn entitlements(
    database: &Connection,
    after: Option<RowId>,
    limit: usize,
) -> Read<Page<Entitlement>> {
    let query = "SELECT id, data FROM main.v1_entitlements WHERE id > ?1 ORDER BY id LIMIT ?2";
    page(database, query, after.map_or(i64::MIN, |after| after.0), limit, |row| {
        message("v1_entitlements", row)
    })
}

pub(super) fn grants(database: &Connection, after: Option<RowId>, limit: usize) -> Read<Page<Grant>> {
    let query = "SELECT id, data, expansion FROM main.v1_grants WHERE id > ?1 ORDER BY id LIMIT ?2";
    page(database, query, after.map_or(i64::MIN, |after| after.0), limit, grant)
}

/// Runs a query that takes the start row and the limit and returns the id first, and builds one page.
fn page<T>(
    database: &Connection,
    query: &str,
    start: i64,
    limit: usize,
    read: impl Fn(&Row<'_>) -> Read<T>,
) -> Read<Page<T>> {
    let mut query = database.prepare_cached(query)?;
    let mut found = query.query(params![start, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut page = Page { rows: Vec::new(), next: None };
    while let Some(row) = found.next()? {
        match read(row)? {
            Ok(one) => page.rows.push(one),
            Err(error) => return Ok(Err(error)),
        }
        page.next = Some(RowId(row.get(0)?));
    }
    if page.rows.len() < limit {
        page.next = None;
    }
    Ok(Ok(page))
}

/// Decodes a row's message from the columns `id` and `data`.
pub(super) fn message<M: Message + Default>(table: &'static str, row: &Row<'_>) -> Read<M> {
    let decoded = M::decode(row.get_ref(1)?.as_blob()?);
    let id = row.get(0)?;
    Ok(decoded.map_err(|source| Error::Row { table, row: id, source }))
}

/// Decodes a grant from the columns `id`, `data` and `expansion`.
pub(super) fn grant(row: &Row<'_>) -> Read<Grant> {
    let decoded = rows::whole_grant(row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob_or_null()?);
    let id = row.get(0)?;
    Ok(decoded.map_err(|source| Error::Row { table: "v1_grants", row: id, source }))
}

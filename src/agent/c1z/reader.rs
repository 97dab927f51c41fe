//! Reads a file without changing it.

use std::path::{Path, PathBuf};

use prost::Message;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::agent::c1z::container::{self, DecodeLimits, Found};
use crate::agent::c1z::database::{adopt, failed, tune};
use crate::agent::c1z::lookup::{self, Page, Read, RowId};
use crate::agent::c1z::workspace::Workspace;
use crate::agent::c1z::{Error, rows, schema};
use crate::proto::connector::{Entitlement, Grant, Resource, ResourceId, ResourceType};

/// A sync in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The id of the sync.
    pub sync_id: String,
    /// `full`, `partial`, `resources_only` or a kind that later writers add.
    pub kind: String,
    /// When it began: `YYYY-MM-DD HH:MM:SS.fff`, in the writer's local time.
    pub started_at: String,
    /// When it was completed; `None` for an unfinished sync.
    pub ended_at: Option<String>,
    /// The full sync that a partial one belongs to, or empty.
    pub parent_sync_id: String,
}

/// Selects the resources to list. Empty selects all.
#[derive(Debug, Clone, Default)]
pub struct ResourceFilter {
    /// Only resources of this type.
    pub resource_type: Option<String>,
    /// Only resources below this parent.
    pub parent: Option<ResourceId>,
}

/// Selects the entitlements to list. Empty selects all.
#[derive(Debug, Clone, Default)]
pub struct EntitlementFilter {
    /// Only entitlements of resources of this type.
    pub resource_type: Option<String>,
    /// Only entitlements of this resource.
    pub resource: Option<ResourceId>,
}

/// Selects the grants to list. Empty selects all.
#[derive(Debug, Clone, Default)]
pub struct GrantFilter {
    /// Only grants of entitlements of resources of this type.
    pub resource_type: Option<String>,
    /// Only grants of entitlements of this resource.
    pub resource: Option<ResourceId>,
    /// Only grants of this entitlement.
    pub entitlement: Option<String>,
    /// Only grants whose principal has this type.
    pub principal_type: Option<String>,
    /// Only grants of this principal.
    pub principal: Option<ResourceId>,
}

/// A read-only view of one sync in a file of format v1, written by any agent.
#[derive(Debug)]
pub struct Reader {
    database: Connection,
    path: PathBuf,
    run: Option<Run>,
    workspace: Workspace,
}

const UNPACKED: &str = "read.db";

impl Reader {
    /// Opens a file and selects the sync that ended last, of any kind, as `baton` does. The file is unpacked
    /// into a private folder below `temp_dir` and is not changed.
    ///
    /// # Errors
    /// [`Error::Missing`] if the file does not exist, [`Error::Empty`] if it is empty, and the errors of
    /// [`Store::open`](super::Store::open) if it is not a file of format v1. A file without a finished sync
    /// is not an error.
    pub fn open(path: &Path, temp_dir: Option<&Path>, limits: DecodeLimits) -> Result<Self, Error> {
        if container::look(path)? == Found::Nothing {
            let path = path.to_owned();
            return Err(if path.exists() { Error::Empty { path } } else { Error::Missing { path } });
        }
        let workspace = Workspace::create(temp_dir)?;
        let unpacked = workspace.file(UNPACKED);
        container::unpack(path, &unpacked, limits)?;
        adopt(&unpacked, path)?;
        let opened = || -> rusqlite::Result<Connection> {
            let database = Connection::open(&unpacked)?;
            tune(&database)?;
            // The file may lack indexes, and filters would then read everything.
            schema::create_indexes(&database)?;
            Ok(database)
        };
        let database = opened().map_err(|error| Error::damaged(path, error.to_string()))?;
        let mut reader = Self { database, path: path.to_owned(), run: None, workspace };
        reader.run = reader
            .runs()?
            .into_iter()
            .filter(|run| run.ended_at.is_some())
            .max_by(|one, other| (&one.ended_at, &one.sync_id).cmp(&(&other.ended_at, &other.sync_id)));
        Ok(reader)
    }

    /// Selects another sync, finished or not.
    ///
    /// # Errors
    /// [`Error::NoFinishedSync`] if the file has no such sync.
    pub fn choose(&mut self, sync_id: &str) -> Result<(), Error> {
        let found = self.runs()?.into_iter().find(|run| run.sync_id == sync_id);
        self.run = Some(found.ok_or_else(|| Error::NoFinishedSync { path: self.path.clone() })?);
        Ok(())
    }

    /// The selected sync.
    ///
    /// # Errors
    /// [`Error::NoFinishedSync`] if no sync of the file is finished and none was selected; this also applies
    /// to all methods below.
    pub fn run(&self) -> Result<&Run, Error> {
        self.run.as_ref().ok_or_else(|| Error::NoFinishedSync { path: self.path.clone() })
    }

    /// All syncs in the file, in the order in which they were written.
    ///
    /// # Errors
    /// [`Error::Database`]; this also applies to all methods below.
    pub fn runs(&self) -> Result<Vec<Run>, Error> {
        let read = || -> rusqlite::Result<Vec<Run>> {
            self.database
                .prepare_cached(
                    "SELECT sync_id, sync_type, started_at, ended_at, parent_sync_id FROM v1_sync_runs
                     ORDER BY id",
                )?
                .query_map([], |row| {
                    Ok(Run {
                        sync_id: row.get(0)?,
                        kind: row.get(1)?,
                        started_at: row.get(2)?,
                        ended_at: row.get(3)?,
                        parent_sync_id: row.get(4)?,
                    })
                })?
                .collect()
        };
        read().map_err(failed("read", &self.workspace))
    }

    /// Returns the resource types.
    ///
    /// # Errors
    /// [`Error::Row`] if a row does not decode; this also applies to all methods below.
    pub fn resource_types(&self) -> Result<Vec<ResourceType>, Error> {
        let all = self.page(Query::new("v1_resource_types", "NULL"), None, usize::MAX, |row| {
            lookup::message("v1_resource_types", row)
        })?;
        Ok(all.rows)
    }

    /// Returns a page of at most `limit` resources.
    pub fn resources(
        &self,
        filter: &ResourceFilter,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Page<Resource>, Error> {
        let mut query = Query::new("v1_resources", "NULL");
        query.equal("resource_type_id", filter.resource_type.as_deref());
        query.is("parent_resource_type_id", "parent_resource_id", filter.parent.as_ref());
        self.messages(query, after, limit)
    }

    /// Returns a resource by its type and id.
    pub fn resource(&self, id: &ResourceId) -> Result<Option<Resource>, Error> {
        self.by_external_id("v1_resources", &rows::external_id(id))
    }

    /// Returns a page of at most `limit` entitlements.
    pub fn entitlements(
        &self,
        filter: &EntitlementFilter,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Page<Entitlement>, Error> {
        let mut query = Query::new("v1_entitlements", "NULL");
        query.equal("resource_type_id", filter.resource_type.as_deref());
        query.is("resource_type_id", "resource_id", filter.resource.as_ref());
        self.messages(query, after, limit)
    }

    /// Returns an entitlement by its id.
    pub fn entitlement(&self, id: &str) -> Result<Option<Entitlement>, Error> {
        self.by_external_id("v1_entitlements", id)
    }

    /// Returns a page of at most `limit` grants. GrantExpandable is the last of their annotations.
    pub fn grants(
        &self,
        filter: &GrantFilter,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Page<Grant>, Error> {
        let mut query = Query::new("v1_grants", "expansion");
        query.equal("resource_type_id", filter.resource_type.as_deref());
        query.is("resource_type_id", "resource_id", filter.resource.as_ref());
        query.equal("entitlement_id", filter.entitlement.as_deref());
        query.equal("principal_resource_type_id", filter.principal_type.as_deref());
        query.is("principal_resource_type_id", "principal_resource_id", filter.principal.as_ref());
        self.page(query, after, limit, lookup::grant)
    }

    /// Returns a grant by its id. GrantExpandable is the last of its annotations.
    pub fn grant(&self, id: &str) -> Result<Option<Grant>, Error> {
        let mut query = Query::new("v1_grants", "expansion");
        query.equal("external_id", Some(id));
        Ok(self.page(query, None, 1, lookup::grant)?.rows.pop())
    }

    fn by_external_id<M: Message + Default>(
        &self,
        table: &'static str,
        id: &str,
    ) -> Result<Option<M>, Error> {
        let mut query = Query::new(table, "NULL");
        query.equal("external_id", Some(id));
        Ok(self.messages(query, None, 1)?.rows.pop())
    }

    fn messages<M: Message + Default>(
        &self,
        query: Query,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Page<M>, Error> {
        let table = query.table;
        self.page(query, after, limit, |row| lookup::message(table, row))
    }

    fn page<T>(
        &self,
        mut query: Query,
        after: Option<RowId>,
        limit: usize,
        read: impl Fn(&rusqlite::Row<'_>) -> Read<T>,
    ) -> Result<Page<T>, Error> {
        query.equal("sync_id", Some(&self.run()?.sync_id));
        if let Some(after) = after {
            query.conditions.push_str(" AND id > ?");
            query.values.push(Value::Integer(after.0));
        }
        query.values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let text = format!(
            "SELECT id, data, {} FROM {} WHERE true{} ORDER BY id LIMIT ?",
            query.extra, query.table, query.conditions
        );
        let found = || -> Read<Page<T>> {
            let mut statement = self.database.prepare_cached(&text)?;
            let mut rows = statement.query(params_from_iter(query.values.iter()))?;
            let mut page = Page { rows: Vec::new(), next: None };
            while let Some(row) = rows.next()? {
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
        };
        found().map_err(failed("read", &self.workspace))?
    }
}

/// A query under construction.
struct Query {
    table: &'static str,
    /// A third column to read.
    extra: &'static str,
    conditions: String,
    values: Vec<Value>,
}

impl Query {
    fn new(table: &'static str, extra: &'static str) -> Self {
        Self { table, extra, conditions: String::new(), values: Vec::new() }
    }

    fn equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.conditions.push_str(&format!(" AND {column} = ?"));
            self.values.push(Value::Text(value.to_owned()));
        }
    }

    fn is(&mut self, type_column: &str, id_column: &str, id: Option<&ResourceId>) {
        if let Some(id) = id {
            self.equal(type_column, Some(&id.resource_type));
            self.equal(id_column, Some(&id.resource));
        }
    }
}

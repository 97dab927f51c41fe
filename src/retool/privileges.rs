//! What the role may read and change. The privileges are probed and never assumed.
//!
//! An unreadable required column is an error that shows the GRANT to run. An unreadable optional column is
//! left out of the statements, with one warning (decision optional-privileges).

mod column;
mod grantee;
pub(crate) mod missing;
mod probe;
pub(crate) mod reads;
mod scope;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::postgres::session::Session;
use crate::retool::error::DatabaseError;
use grantee::Grantee;
use missing::Lacking;
use reads::{OPTIONAL, Optional, Reads, reads_of, tables_of_diagnosis};
use writes::Writes;

pub(crate) use column::Column;
pub(crate) use missing::MissingPrivileges;
pub(crate) use scope::Scope;
pub(crate) use writes::Feature;
pub(crate) use writes::{GROUPS, NUMBERING, Need, PAGES_UPDATED_AT, RIGHTS_BY_DEFAULT};

/// Whether a column can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ColumnStatus {
    Readable,
    NotGranted,
    NoSuchColumn,
    NoSuchTable,
}

/// What the role may read, as found by one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Privileges {
    column_statuses: BTreeMap<Column, ColumnStatus>,
    role: String,
    /// The schema of Retool's tables: the first in the search_path with the table `organizations`.
    schema: Option<String>,
    /// The server's version number as Postgres encodes it.
    server_version: i32,
    /// The schema with the tables if the role may not use it, as Postgres spells it.
    closed_schema: Option<String>,
    /// `None` if no changes are made.
    writes: Option<Writes>,
    /// The changes that the configuration allows.
    features: Vec<Feature>,
    /// Tables with some or all rows hidden from the role by row-level security.
    row_security: BTreeMap<&'static str, RowSecurity>,
}

/// The effect of row-level security on a table for the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowSecurity {
    /// The role has no policy: it sees no rows, and no error reports it.
    HidesAll,
    /// Policies decide which rows the role sees.
    Filters,
}

impl Privileges {
    /// Queries the server for every column that `scope` needs or can use, and for the columns in `also`.
    ///
    /// # Errors
    /// Only the errors of the statement itself. Missing privileges are data; see [`Privileges::require`].
    pub(crate) async fn probe(
        session: &Session,
        scope: Scope,
        also: &[Column],
    ) -> Result<Self, PostgresError> {
        let optional = OPTIONAL.iter().map(|optional| optional.column);
        let columns: Vec<Column> = required(scope).chain(optional).chain(also.iter().copied()).collect();
        let rows = probe::probe(session, &columns).await?;
        let mut privileges = Self {
            column_statuses: BTreeMap::new(),
            role: String::new(),
            schema: None,
            server_version: session.version(),
            closed_schema: None,
            writes: None,
            features: scope.features(),
            row_security: BTreeMap::new(),
        };
        for row in rows {
            let column_status = match (row.table_exists, row.column_exists, row.readable) {
                (_, true, true) => ColumnStatus::Readable,
                (_, true, false) => ColumnStatus::NotGranted,
                (true, false, _) => ColumnStatus::NoSuchColumn,
                (false, false, _) => ColumnStatus::NoSuchTable,
            };
            let column = usize::try_from(row.ordinal - 1).ok().and_then(|index| columns.get(index));
            if let Some(column) = column {
                privileges.column_statuses.insert(*column, column_status);
            }
            privileges.role = row.role;
            privileges.schema = row.schema;
            if let (true, Some(column)) = (row.row_security, column) {
                let effect = if row.policy_for_role { RowSecurity::Filters } else { RowSecurity::HidesAll };
                privileges.row_security.insert(column.table, effect);
            }
            if let Some(schema) = row.closed_schema {
                privileges.closed_schema = Some(schema);
            }
        }
        if scope.provisioning {
            let schema = privileges.schema.clone().unwrap_or_default();
            privileges.writes = Some(Writes::probe(session, &schema, &privileges.qualified("groups")).await?);
        }
        Ok(privileges)
    }

    /// The table's schema-qualified name for statements. Without a known schema the statement fails as for a
    /// missing table.
    pub(crate) fn qualified(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
            None => quoted(table),
        }
    }

    /// The schema of Retool's tables, as Postgres spells it; `None` if no table was found.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The server's version number as Postgres encodes it: 150004 for 15.4.
    pub(crate) fn server_version(&self) -> i32 {
        self.server_version
    }

    /// Whether the column exists and is readable.
    pub(crate) fn readable(&self, column: Column) -> bool {
        self.column_statuses.get(&column) == Some(&ColumnStatus::Readable)
    }

    /// Verifies that the role has all privileges for these kinds of changes.
    ///
    /// # Errors
    /// [`DatabaseError::OtherVersion`] if columns are missing, otherwise [`DatabaseError::MissingPrivileges`]
    /// with every missing GRANT.
    pub(crate) fn require_changes(&self, features: &[Feature]) -> Result<(), DatabaseError> {
        // Without access to the schema the tables are invisible, and every privilege would appear to be
        // missing.
        if let (None, Some(grant)) = (&self.schema, self.grant_on_schema()) {
            return Err(MissingPrivileges { role: self.role.clone(), grants: vec![grant] }.into());
        }
        let Some(writes) = &self.writes else { return Ok(()) };
        let absent = writes.absent(features);
        if !absent.is_empty() {
            return Err(DatabaseError::OtherVersion { absent });
        }
        Ok(writes.require(features, self.grantee())?)
    }

    /// Verifies that at least one of the allowed kinds of changes can work.
    ///
    /// # Errors
    /// The errors of [`Privileges::require_changes`], if none can work.
    pub(crate) fn require_any_change(&self) -> Result<(), DatabaseError> {
        // A new group is useless unless its members or its access can be changed.
        let mut features = self.features.iter().filter(|feature| **feature != Feature::ManagedGroups);
        let impossible = |feature: &Feature| {
            let writes = self.writes.as_ref();
            writes.is_some_and(|writes| writes.is_unknown(*feature) || !writes.absent(&[*feature]).is_empty())
        };
        if features.all(impossible) { self.require_changes(&self.features) } else { Ok(()) }
    }

    /// Whether an optional column may be updated.
    pub(crate) fn may_update(&self, column: Column) -> bool {
        PAGES_UPDATED_AT == Need::Update(column) && self.sets_pages_updated_at()
    }

    /// Whether `group_pages."updatedAt"` may be set. Existing roles lack this privilege.
    pub(crate) fn sets_pages_updated_at(&self) -> bool {
        self.writes.as_ref().is_some_and(Writes::sets_pages_updated_at)
    }

    /// The GRANT for setting `group_pages."updatedAt"`, if it is missing.
    pub(crate) fn grant_on_pages_updated_at(&self) -> Option<String> {
        let (table, name) = (PAGES_UPDATED_AT.table(), PAGES_UPDATED_AT.column());
        let grant = || self.grantee().on_columns("UPDATE", [name], table);
        (!self.sets_pages_updated_at()).then(grant)
    }

    /// The role and the schema, for the text of a GRANT.
    pub(crate) fn grantee(&self) -> Grantee<'_> {
        Grantee { role: &self.role, schema: self.schema() }
    }

    /// The role, as the server names it.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Verifies that everything that `scope` needs can be read.
    ///
    /// # Errors
    /// [`PostgresError::UnknownSchema`] if the table `organizations` is missing.
    /// [`DatabaseError::OtherVersion`] if other tables or columns are missing. [`PostgresError::Forbidden`]
    /// if row-level security hides a whole table, because the result would look as if no user had access.
    /// Otherwise [`DatabaseError::MissingPrivileges`] with every missing GRANT; only the GRANT on the schema
    /// if the role cannot see into it.
    pub(crate) fn require(&self, scope: Scope) -> Result<(), DatabaseError> {
        let lacking = self.lacking(required(scope));
        if let (true, Some(grant)) = (lacking.is_absent(), self.grant_on_schema()) {
            return Err(MissingPrivileges { role: self.role.clone(), grants: vec![grant] }.into());
        }
        if lacking.tables.contains(&"organizations") {
            return Err(PostgresError::UnknownSchema { reason: lacking.absent().join(", ").into() }.into());
        }
        if lacking.is_absent() {
            return Err(DatabaseError::OtherVersion { absent: lacking.absent() });
        }
        if !lacking.grants.is_empty() {
            return Err(MissingPrivileges { role: self.role.clone(), grants: lacking.grants }.into());
        }
        let hidden = self.hidden(required(scope));
        if !hidden.is_empty() {
            let role = quoted(&self.role);
            return Err(PostgresError::Forbidden {
                reason: format!(
                    "row-level security hides every row of {} from the role {role}; run as a superuser: ALTER ROLE {role} BYPASSRLS;",
                    hidden.join(", ")
                )
                .into(),
            }
            .into());
        }
        Ok(())
    }

    /// Verifies that an optional column can be read, for an operation that needs it.
    ///
    /// # Errors
    /// [`DatabaseError::MissingPrivileges`] with the GRANT, or [`DatabaseError::OtherVersion`] if the column
    /// does not exist.
    pub(crate) fn require_column(&self, column: Column) -> Result<(), DatabaseError> {
        let lacking = self.lacking([column]);
        if lacking.is_absent() {
            return Err(DatabaseError::OtherVersion { absent: lacking.absent() });
        }
        if lacking.grants.is_empty() {
            return Ok(());
        }
        Err(MissingPrivileges { role: self.role.clone(), grants: lacking.grants }.into())
    }

    /// The missing tables, columns and GRANTs for these columns.
    pub(crate) fn lacking(&self, columns: impl IntoIterator<Item = Column>) -> Lacking {
        let mut lacking = Lacking::default();
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for column in columns {
            match self.column_statuses.get(&column) {
                Some(ColumnStatus::Readable) => {}
                Some(ColumnStatus::NotGranted) => {
                    missing.entry(column.table).or_default().insert(column.name);
                }
                Some(ColumnStatus::NoSuchColumn) => lacking.columns.push(column),
                Some(ColumnStatus::NoSuchTable) | None if lacking.tables.contains(&column.table) => {}
                Some(ColumnStatus::NoSuchTable) | None => lacking.tables.push(column.table),
            }
        }
        let grants =
            missing.into_iter().map(|(table, columns)| self.grantee().on_columns("SELECT", columns, table));
        lacking.grants.extend(grants);
        lacking
    }

    /// The GRANT on the schema with the tables, if the role cannot see into it.
    pub(crate) fn grant_on_schema(&self) -> Option<String> {
        let schema = self.closed_schema.as_deref()?;
        Some(format!("GRANT USAGE ON SCHEMA {} TO {};", quoted(schema), quoted(&self.role)))
    }

    /// The tables of these columns with all rows hidden from the role by row-level security.
    pub(crate) fn hidden(&self, columns: impl IntoIterator<Item = Column>) -> Vec<&'static str> {
        let mut tables: Vec<_> = columns.into_iter().map(|column| column.table).collect();
        tables.retain(|table| self.row_security.get(table) == Some(&RowSecurity::HidesAll));
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// The tables with some rows hidden from the role by policies.
    pub(crate) fn filtered(&self) -> impl Iterator<Item = &'static str> {
        let effects = self.row_security.iter();
        effects.filter(|(_, effect)| **effect == RowSecurity::Filters).map(|(table, _)| *table)
    }

    /// The missing GRANTs for this kind of change; none if no changes are made.
    pub(crate) fn lacking_changes(&self, feature: Feature) -> Vec<String> {
        self.writes.as_ref().map(|writes| writes.missing(feature, self.grantee())).unwrap_or_default()
    }

    /// Whether none of the privileges for this kind of change are granted.
    pub(crate) fn is_unknown(&self, feature: Feature) -> bool {
        self.writes.as_ref().is_some_and(|writes| writes.is_unknown(feature))
    }

    /// Whether policies decide which rows of the table the role may write.
    pub(crate) fn is_policed(&self, table: &str) -> bool {
        self.row_security.contains_key(table)
    }

    /// One sentence for each optional column that is not granted and whose absence makes results wrong, with
    /// the GRANT; for each table with some rows hidden; and for each allowed kind of change that lacks
    /// privileges.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let filtered = self.filtered().map(|table| {
            let role = quoted(&self.role);
            format!("row-level security shows the role {role} only the rows of {table} that its policies allow; to read all rows, run as a superuser: ALTER ROLE {role} BYPASSRLS;")
        });
        OPTIONAL
            .iter()
            .filter(|optional| optional.matters)
            .filter_map(|Optional { column, loss, .. }| match self.column_statuses.get(column)? {
                ColumnStatus::NotGranted => Some(format!(
                    "{loss}; to change that, run: {}",
                    self.grantee().on_columns("SELECT", [column.name], column.table)
                )),
                ColumnStatus::Readable | ColumnStatus::NoSuchColumn | ColumnStatus::NoSuchTable => None,
            })
            .chain(filtered)
            .chain(self.writes.iter().flat_map(|writes| writes.warnings(&self.features, self.grantee())))
            .collect()
    }
}

fn required(scope: Scope) -> impl Iterator<Item = Column> {
    reads_of(scope).flat_map(Reads::columns).map(|(column, _)| column)
}

/// The optional column with that name, if it exists.
pub(crate) fn optional(table: &str, name: &str) -> Option<Column> {
    OPTIONAL
        .iter()
        .map(|optional| optional.column)
        .find(|column| column.table == table && column.name == name)
}

/// The column with that name, if statements may leave out updating it.
pub(crate) fn updatable(table: &str, name: &str) -> Option<Column> {
    let Need::Update(column) = PAGES_UPDATED_AT else { return None };
    (column.table == table && column.name == name).then_some(column)
}

/// Whether statements may use the table.
pub(crate) fn is_table(name: &str) -> bool {
    let read = reads_of(Scope::default()).map(|reads| reads.table);
    read.chain(tables_of_diagnosis()).any(|table| table == name)
}

/// The column with that name, required or optional.
pub(crate) fn column_named(table: &str, name: &str) -> Option<Column> {
    let needed = required(Scope::default());
    let optional = OPTIONAL.iter().map(|optional| optional.column);
    needed.into_iter().chain(optional).find(|column| column.table == table && column.name == name)
}

#[cfg(test)]
mod tests;

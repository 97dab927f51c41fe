//! What the role may read and change, probed rather than assumed.
//!
//! A required column that cannot be read is an error that prints the GRANT to run. An optional one is
//! left out of the statements and mentioned once.

mod column;
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
use missing::Lacking;
use reads::{AUDIT, FOLDERS, OF_DIAGNOSIS, OPTIONAL, Optional, Reads, reads_of};
use writes::Writes;

pub(crate) use column::Column;
pub(crate) use missing::MissingPrivileges;
pub(crate) use scope::Scope;
pub(crate) use writes::Feature;
pub(crate) use writes::{GROUPS, NUMBERING, Need, PAGES_UPDATED_AT, RIGHTS_BY_DEFAULT};

/// What one column of the database is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Readable,
    NotGranted,
    NoSuchColumn,
    NoSuchTable,
}

/// What the role may read, as found by one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Privileges {
    standings: BTreeMap<Column, Standing>,
    role: String,
    /// The schema of Retool's tables: the first of the search_path that has the table `organizations`.
    schema: Option<String>,
    /// The release of the server as Postgres numbers it.
    server_version: i32,
    /// The schema that has the tables and that the role may not use, as Postgres spells it.
    closed_schema: Option<String>,
    /// Nothing while no changes are made.
    writes: Option<Writes>,
    /// The changes that the configuration allows.
    features: Vec<Feature>,
    /// Tables of which row-level security shows the role some rows only, or none.
    row_security: BTreeMap<&'static str, RowSecurity>,
}

/// What row-level security does to a table for the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowSecurity {
    /// There is no policy for the role: it sees no row, and no error says so.
    HidesAll,
    /// Policies decide which rows the role sees.
    Filters,
}

impl Privileges {
    /// Asks the server about every column that `scope` needs or can use, and about these.
    ///
    /// # Errors
    /// Only those of the statement itself; missing privileges are data, see [`Privileges::require`].
    pub(crate) async fn probe(
        session: &Session,
        scope: Scope,
        also: &[Column],
    ) -> Result<Self, PostgresError> {
        let optional = OPTIONAL.iter().map(|optional| optional.column);
        let columns: Vec<Column> = required(scope).chain(optional).chain(also.iter().copied()).collect();
        let rows = probe::probe(session, &columns).await?;
        let mut privileges = Self {
            standings: BTreeMap::new(),
            role: String::new(),
            schema: None,
            server_version: session.version(),
            closed_schema: None,
            writes: None,
            features: scope.features(),
            row_security: BTreeMap::new(),
        };
        for row in rows {
            let standing = match (row.table_exists, row.column_exists, row.readable) {
                (_, true, true) => Standing::Readable,
                (_, true, false) => Standing::NotGranted,
                (true, false, _) => Standing::NoSuchColumn,
                (false, false, _) => Standing::NoSuchTable,
            };
            let column = usize::try_from(row.ordinal - 1).ok().and_then(|index| columns.get(index));
            if let Some(column) = column {
                privileges.standings.insert(*column, standing);
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

    /// The table with its schema, for statements. Without a schema to name it fails like a table that is not there.
    pub(crate) fn qualified(&self, table: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
            None => quoted(table),
        }
    }

    /// The schema of Retool's tables, as Postgres spells it; nothing where no table was found.
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The release of the server as Postgres numbers it: 150004 for 15.4.
    pub(crate) fn server_version(&self) -> i32 {
        self.server_version
    }

    /// Whether the column is there and may be read.
    pub(crate) fn readable(&self, column: Column) -> bool {
        self.standings.get(&column) == Some(&Standing::Readable)
    }

    /// Makes sure that everything these kinds of changes need may be done.
    ///
    /// # Errors
    /// [`DatabaseError::MissingPrivileges`] with every GRANT that is missing.
    pub(crate) fn require_changes(&self, features: &[Feature]) -> Result<(), DatabaseError> {
        // Without the schema nothing in it is seen, and each privilege would seem to be missing.
        if let (None, Some(grant)) = (&self.schema, self.grant_on_schema()) {
            return Err(MissingPrivileges { role: self.role.clone(), grants: vec![grant] }.into());
        }
        match &self.writes {
            Some(writes) => Ok(writes.require(features, &self.role)?),
            None => Ok(()),
        }
    }

    /// Whether the column may be updated, of those that statements may do without updating.
    pub(crate) fn may_update(&self, column: Column) -> bool {
        PAGES_UPDATED_AT == Need::Update(column) && self.sets_pages_updated_at()
    }

    /// Whether `group_pages."updatedAt"` may be set; existing roles may not.
    pub(crate) fn sets_pages_updated_at(&self) -> bool {
        self.writes.as_ref().is_some_and(Writes::sets_pages_updated_at)
    }

    /// The GRANT for that, where it is missing.
    pub(crate) fn grant_on_pages_updated_at(&self) -> Option<String> {
        let (table, name) = (PAGES_UPDATED_AT.table(), PAGES_UPDATED_AT.column());
        let grant = || format!("GRANT UPDATE ({}) ON {table} TO {};", quoted(name), quoted(&self.role));
        (!self.sets_pages_updated_at()).then(grant)
    }

    /// The role, as the server names it.
    pub(crate) fn role(&self) -> &str {
        &self.role
    }

    /// Makes sure that everything `scope` needs can be read.
    ///
    /// # Errors
    /// [`PostgresError::UnknownSchema`] when tables or columns are not there at all, [`PostgresError::Forbidden`] when
    /// row-level security hides a whole table, which would read as nobody having anything, else
    /// [`DatabaseError::MissingPrivileges`] with every GRANT that is missing; only that on the schema while the
    /// role cannot see into it.
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

    /// Makes sure that one optional column can be read, for what cannot do without it.
    ///
    /// # Errors
    /// [`DatabaseError::MissingPrivileges`] with the GRANT, or [`PostgresError::UnknownSchema`] when there is no such column.
    pub(crate) fn require_column(&self, column: Column) -> Result<(), DatabaseError> {
        let lacking = self.lacking([column]);
        if lacking.is_absent() {
            return Err(PostgresError::UnknownSchema { reason: lacking.absent().join(", ").into() }.into());
        }
        if lacking.grants.is_empty() {
            return Ok(());
        }
        Err(MissingPrivileges { role: self.role.clone(), grants: lacking.grants }.into())
    }

    /// What the role lacks of these columns.
    pub(crate) fn lacking(&self, columns: impl IntoIterator<Item = Column>) -> Lacking {
        let mut lacking = Lacking::default();
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for column in columns {
            match self.standings.get(&column) {
                Some(Standing::Readable) => {}
                Some(Standing::NotGranted) => {
                    missing.entry(column.table).or_default().insert(column.name);
                }
                Some(Standing::NoSuchColumn) => lacking.columns.push(column),
                Some(Standing::NoSuchTable) | None if lacking.tables.contains(&column.table) => {}
                Some(Standing::NoSuchTable) | None => lacking.tables.push(column.table),
            }
        }
        let grants = missing.into_iter().map(|(table, columns)| grant(table, columns, &self.role));
        lacking.grants.extend(grants);
        lacking
    }

    /// The GRANT on the schema that has the tables, while the role cannot see into it.
    pub(crate) fn grant_on_schema(&self) -> Option<String> {
        let schema = self.closed_schema.as_deref()?;
        Some(format!("GRANT USAGE ON SCHEMA {} TO {};", quoted(schema), quoted(&self.role)))
    }

    /// The tables among those of these columns of which row-level security shows the role no row.
    pub(crate) fn hidden(&self, columns: impl IntoIterator<Item = Column>) -> Vec<&'static str> {
        let mut tables: Vec<_> = columns.into_iter().map(|column| column.table).collect();
        tables.retain(|table| self.row_security.get(table) == Some(&RowSecurity::HidesAll));
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// The tables of which policies show the role some rows only.
    pub(crate) fn filtered(&self) -> impl Iterator<Item = &'static str> {
        let effects = self.row_security.iter();
        effects.filter(|(_, effect)| **effect == RowSecurity::Filters).map(|(table, _)| *table)
    }

    /// The GRANTs without which this kind of change cannot be made; none while no changes are made.
    pub(crate) fn lacking_changes(&self, feature: Feature) -> Vec<String> {
        self.writes.as_ref().map(|writes| writes.missing(feature, &self.role)).unwrap_or_default()
    }

    /// Whether nothing at all was granted for this kind of change.
    pub(crate) fn is_unknown(&self, feature: Feature) -> bool {
        self.writes.as_ref().is_some_and(|writes| writes.is_unknown(feature))
    }

    /// Whether policies decide which rows of the table the role may write.
    pub(crate) fn is_policed(&self, table: &str) -> bool {
        self.row_security.contains_key(table)
    }

    /// One sentence for each optional column whose absence changes the answers, with the GRANT where
    /// there is one, for each table that shows some of its rows only, and for each kind of change that is
    /// allowed and cannot be made.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let filtered = self.filtered().map(|table| {
            let role = quoted(&self.role);
            format!("row-level security shows the role {role} only the rows of {table} that its policies let through; to read all run as a superuser: ALTER ROLE {role} BYPASSRLS;")
        });
        OPTIONAL
            .iter()
            .filter(|optional| optional.matters)
            .filter_map(|Optional { column, loss, .. }| match self.standings.get(column)? {
                Standing::NotGranted => Some(format!(
                    "{loss}; to change that run: {}",
                    grant(column.table, [column.name], &self.role)
                )),
                Standing::Readable | Standing::NoSuchColumn | Standing::NoSuchTable => None,
            })
            .chain(filtered)
            .chain(self.writes.iter().flat_map(|writes| writes.warnings(&self.features, &self.role)))
            .collect()
    }
}

fn required(scope: Scope) -> impl Iterator<Item = Column> {
    reads_of(scope).flat_map(Reads::columns).map(|(column, _)| column)
}

fn grant<'a>(table: &str, columns: impl IntoIterator<Item = &'a str>, role: &str) -> String {
    let columns: Vec<String> = columns.into_iter().map(quoted).collect();
    format!("GRANT SELECT ({}) ON {} TO {};", columns.join(", "), quoted(table), quoted(role))
}

/// The optional column of that name, if statements may mention it.
pub(crate) fn optional(table: &str, name: &str) -> Option<Column> {
    OPTIONAL
        .iter()
        .map(|optional| optional.column)
        .find(|column| column.table == table && column.name == name)
}

/// The column of that name, if statements may do without updating it.
pub(crate) fn updatable(table: &str, name: &str) -> Option<Column> {
    let Need::Update(column) = PAGES_UPDATED_AT else { return None };
    (column.table == table && column.name == name).then_some(column)
}

/// Whether statements may name the table.
pub(crate) fn is_table(name: &str) -> bool {
    let read = reads_of(Scope::default()).chain(FOLDERS).chain(AUDIT).map(|reads| reads.table);
    read.chain(OF_DIAGNOSIS.iter().copied()).any(|table| table == name)
}

/// The column of that name, whether it is needed or optional.
pub(crate) fn column_named(table: &str, name: &str) -> Option<Column> {
    let needed = required(Scope::default());
    let optional = OPTIONAL.iter().map(|optional| optional.column);
    needed.into_iter().chain(optional).find(|column| column.table == table && column.name == name)
}

#[cfg(test)]
mod tests;

//! Facts about the server, its tables, and what the role may do with them.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::session::Limits;
use crate::postgres::statement::{guarded, only};
use crate::retool::database::{Database, PROBE};
use crate::retool::error::DatabaseError;
use crate::retool::privileges::reads::{
    AUDIT, FOLDERS, OPTIONAL, Reads, Sort, of_go_connector, parts_of, reads_of,
};
use crate::retool::privileges::{Column, Feature, Privileges, Scope};

/// Retool's list of the migrations of its tables.
const MIGRATIONS: Column = Column { table: "SequelizeMeta", name: "name" };

/// Retool's newer access control lists, for a comparison.
const ACCESS_LISTS: &[Column] = &[
    Column { table: "access_control_lists", name: "id" },
    Column { table: "access_control_lists", name: "entityType" },
    Column { table: "access_control_lists", name: "entityId" },
    Column { table: "access_control_lists", name: "accessLevel" },
    Column { table: "access_control_list_members", name: "aclId" },
    Column { table: "access_control_list_members", name: "memberType" },
    Column { table: "access_control_list_members", name: "memberId" },
];

/// The facts about a database.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The server itself.
    pub server: Server,
    /// Missing tables and columns that are required, each in a few words.
    pub absent: Vec<String>,
    /// Whether even the table `organizations` is missing.
    pub is_another_database: bool,
    /// The GRANT on the schema of the tables, if the role may not use it.
    pub grant_on_schema: Option<String>,
    /// Columns whose type the statements cannot read, each in a few words.
    pub odd_types: Vec<String>,
    /// The tables that must be readable.
    pub parts: Vec<Part>,
    /// Tables with all rows hidden from the role by row-level security.
    pub hidden: Vec<&'static str>,
    /// Tables with some rows hidden from the role by row-level security.
    pub filtered: Vec<&'static str>,
    /// Optional columns.
    pub optional: Vec<OptionalColumn>,
    /// The folders; only `doctor` reads them.
    pub folders: Standing,
    /// The audit log; only `doctor` reads it.
    pub audit: Standing,
    /// Columns that only the Go connector reads.
    pub go_connector: Standing,
    /// Retool's list of its own migrations.
    pub migrations: Standing,
    /// Retool's access control lists.
    pub access_lists: Standing,
    /// The changes that the settings allow.
    pub changes: Vec<Change>,
}

/// Facts about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// The version, such as `15.18`.
    pub version: String,
    /// The major version, such as 15; 9 for all versions before 10.
    pub release: i32,
    /// The database of the session.
    pub database: String,
    /// The role of the session.
    pub role: String,
    /// Whether the server is a standby and cannot be changed.
    pub standby: bool,
    /// Whether the role is a superuser.
    pub superuser: bool,
    /// Whether a pooler that shares sessions is in between (PgBouncer, RDS Proxy).
    pub pooled: bool,
    /// The server's statement timeout for this session, in milliseconds.
    pub statement_timeout_ms: i64,
}

/// Tables that are read for the same purpose.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// The purpose.
    pub what: &'static str,
    /// The missing GRANTs.
    pub grants: Vec<String>,
}

/// A column that the program does not require.
#[derive(Debug, Clone)]
pub(crate) struct OptionalColumn {
    /// `table.column`.
    pub name: String,
    /// The effect of its absence.
    pub loss: &'static str,
    /// Whether results are wrong without it, and not just less complete.
    pub matters: bool,
    /// The access to the column.
    pub access: Access,
    /// Whether that access is granted.
    pub standing: Standing,
}

/// A kind of change, and what prevents it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// The kind of change.
    pub feature: Feature,
    /// The missing GRANTs.
    pub grants: Vec<String>,
    /// Whether none of its privileges are granted.
    pub is_unknown: bool,
    /// The table that it writes, if policies decide which of its rows the role may write.
    pub policed: Option<&'static str>,
}

/// How a column is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is read.
    Read,
    /// It is set to a value.
    Set,
}

/// Whether columns are readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All are readable.
    Readable,
    /// They need these GRANTs.
    NotGranted(Vec<String>),
    /// This version of Retool does not have them.
    Absent,
}

const SERVER: &str = r#"
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int4 / 10000 AS release, current_database()::text AS database,
       current_user::text AS role, pg_is_in_recovery() AS standby,
       coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
       (1000 * extract(epoch FROM current_setting('statement_timeout')::interval))::int8 AS statement_timeout_ms
"#;

const TYPES: &str = r#"
SELECT wanted.ordinal::int8, coalesce(base.typname, type.typname)::text AS type_name,
       coalesce(base.typtype, type.typtype) = 'e' AS is_enum
FROM unnest($1, $2) WITH ORDINALITY AS wanted (table_name, column_name, ordinal)
JOIN pg_namespace AS home ON home.nspname = $3
JOIN pg_class AS relation ON relation.relnamespace = home.oid AND relation.relname = wanted.table_name
JOIN pg_attribute AS attribute
  ON attribute.attrelid = relation.oid
 AND attribute.attname = wanted.column_name AND attribute.attnum > 0
JOIN pg_type AS type ON type.oid = attribute.atttypid
LEFT JOIN pg_type AS base ON base.oid = type.typbasetype
ORDER BY wanted.ordinal
"#;

/// Collects facts about the server, its tables and what the role may do with them.
///
/// # Errors
/// The errors of the statements and of the session. A missing table, column or privilege is a fact, not an
/// error.
pub(crate) async fn facts(database: &Database) -> Result<Facts, DatabaseError> {
    let scope = database.scope();
    let mut server = only(database.read_catalog("diagnosis.server", SERVER, &[], server).await?)?;
    let also: Vec<Column> = [MIGRATIONS]
        .into_iter()
        .chain(ACCESS_LISTS.iter().copied())
        .chain(of_go_connector())
        .chain(columns(FOLDERS))
        .chain(columns(AUDIT))
        .collect();
    let privileges = {
        let lease = database.pool().get().await?;
        let session = lease.session()?;
        server.pooled = matches!(session.limits(), Limits::OfTransaction { .. });
        guarded(&lease, PROBE, Privileges::probe(session, scope, &also)).await?
    };
    let standing = |columns: &mut dyn Iterator<Item = Column>| standing(&privileges, columns);
    let required: Vec<Column> = reads_of(scope).flat_map(Reads::columns).map(|(column, _)| column).collect();
    let lacking = privileges.lacking(required.iter().copied());
    Ok(Facts {
        server,
        is_another_database: lacking.tables.contains(&"organizations"),
        absent: lacking.absent(),
        grant_on_schema: privileges.grant_on_schema().filter(|_| lacking.is_absent()),
        odd_types: odd_types(database, scope, privileges.schema()).await?,
        parts: parts_of(scope)
            .map(|part| Part { what: part.what, grants: privileges.lacking(columns(part.tables)).grants })
            .collect(),
        hidden: privileges.hidden(required.iter().copied()),
        filtered: privileges.filtered().filter(|table| required.iter().any(|c| c.table == *table)).collect(),
        optional: OPTIONAL
            .iter()
            .filter(|optional| scope.reads(optional.column.table))
            .map(|optional| OptionalColumn {
                name: format!("{}.{}", optional.column.table, optional.column.name),
                loss: optional.loss,
                matters: optional.matters,
                access: Access::Read,
                standing: standing(&mut [optional.column].into_iter()),
            })
            .chain(time_of_changes(&privileges, scope))
            .collect(),
        folders: standing(&mut columns(FOLDERS)),
        audit: standing(&mut columns(AUDIT)),
        go_connector: standing(&mut of_go_connector().filter(|column| scope.reads(column.table))),
        migrations: standing(&mut [MIGRATIONS].into_iter()),
        access_lists: standing(&mut ACCESS_LISTS.iter().copied()),
        changes: scope
            .features()
            .into_iter()
            .map(|feature| Change {
                feature,
                grants: privileges.lacking_changes(feature),
                is_unknown: privileges.is_unknown(feature),
                policed: Some(feature.table()).filter(|table| privileges.is_policed(table)),
            })
            .collect(),
    })
}

/// The only write privilege that changes do not require.
fn time_of_changes(privileges: &Privileges, scope: Scope) -> Option<OptionalColumn> {
    scope.features().contains(&Feature::Pages).then(|| OptionalColumn {
        name: "group_pages.updatedAt".to_owned(),
        loss: "a change to a group's access to an app does not update the time of its row",
        matters: false,
        access: Access::Set,
        standing: match privileges.grant_on_pages_updated_at() {
            None => Standing::Readable,
            Some(grant) => Standing::NotGranted(vec![grant]),
        },
    })
}

fn columns(reads: &'static [Reads]) -> impl Iterator<Item = Column> {
    reads.iter().flat_map(Reads::columns).map(|(column, _)| column)
}

fn standing(privileges: &Privileges, columns: &mut dyn Iterator<Item = Column>) -> Standing {
    let lacking = privileges.lacking(columns);
    match (lacking.is_absent(), lacking.grants) {
        (false, grants) if grants.is_empty() => Standing::Readable,
        (_, grants) if !grants.is_empty() => Standing::NotGranted(grants),
        _ => Standing::Absent,
    }
}

fn server(row: &Row) -> Result<Server, tokio_postgres::Error> {
    Ok(Server {
        version: row.try_get("version")?,
        release: row.try_get("release")?,
        database: row.try_get("database")?,
        role: row.try_get("role")?,
        standby: row.try_get("standby")?,
        superuser: row.try_get("superuser")?,
        pooled: false,
        statement_timeout_ms: row.try_get("statement_timeout_ms")?,
    })
}

async fn odd_types(
    database: &Database,
    scope: Scope,
    schema: Option<&str>,
) -> Result<Vec<String>, DatabaseError> {
    let optional = OPTIONAL.iter().map(|optional| (optional.column, optional.sort));
    let wanted: Vec<(Column, Sort)> = reads_of(scope).flat_map(Reads::columns).chain(optional).collect();
    let tables: Vec<&str> = wanted.iter().map(|(column, _)| column.table).collect();
    let names: Vec<&str> = wanted.iter().map(|(column, _)| column.name).collect();
    let found = database
        .read_catalog(
            "diagnosis.types",
            TYPES,
            &[(&tables, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY), (&schema, Type::TEXT)],
            |row| Ok((row.try_get::<_, i64>(0)?, row.try_get::<_, String>(1)?, row.try_get::<_, bool>(2)?)),
        )
        .await?;
    let wanted_at = |ordinal: i64| usize::try_from(ordinal - 1).ok().and_then(|at| wanted.get(at));
    Ok(found
        .into_iter()
        .filter_map(|(ordinal, type_name, is_enum)| {
            let (column, sort) = wanted_at(ordinal)?;
            (!sort.reads(&type_name, is_enum)).then(|| {
                let Column { table, name } = column;
                format!("{table}.\"{name}\" is of type {type_name} and should be {}", sort.as_str())
            })
        })
        .collect())
}

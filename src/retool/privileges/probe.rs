//! The statement that probes what the role may read.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::error::PostgresError;
use crate::postgres::session::Session;
use crate::postgres::statement::{self, Parameter};
use crate::retool::privileges::column::Column;
use crate::retool::privileges::reads::tables_of_diagnosis;

/// Looks up every column by name in the first schema of the search_path that has `organizations` and that the
/// role may use. A schema that has the table but may not be used is reported. `$3` has the schemas that were
/// usable at the start of the session. `$4` is the search_path, because a GRANT may have been run since. `$5`
/// has the tables that count only if their owner has the rights of the owner of `organizations`: a Retool may
/// lack them, so that another role could create a view of that name.
const PROBE: &str = r#"
SELECT wanted.ordinal::int8 AS ordinal,
       home.name AS schema,
       relation.oid IS NOT NULL AS table_exists,
       attribute.attnum IS NOT NULL AS column_exists,
       coalesce(has_column_privilege(attribute.attrelid, attribute.attnum, 'SELECT'), false) AS readable,
       current_user::text AS role,
       (SELECT schema.nspname::text
        FROM pg_class AS closed
        JOIN pg_namespace AS schema ON schema.oid = closed.relnamespace
        WHERE closed.relname = wanted.table_name
          AND schema.nspname = ANY (string_to_array(replace($4, '"', ''), ', '))
          AND NOT has_schema_privilege(schema.oid, 'USAGE')
        LIMIT 1) AS closed_schema,
       coalesce(row_security_active(relation.oid), false) AS row_security,
       EXISTS (SELECT FROM pg_policy AS policy, unnest(policy.polroles) AS of_role (id)
               WHERE policy.polrelid = relation.oid
                 AND policy.polcmd IN ('r', '*') AND policy.polpermissive
                 AND (of_role.id = 0 OR pg_has_role(of_role.id, 'USAGE'))) AS policy_for_role
FROM unnest($1, $2) WITH ORDINALITY AS wanted (table_name, column_name, ordinal)
LEFT JOIN (SELECT schema.oid, schema.nspname::text AS name, first.relowner AS owner
           FROM unnest($3 || string_to_array(replace(replace($4, '"', ''), '$user', current_user::text), ', '))
                    WITH ORDINALITY AS searched (name, place)
           JOIN pg_namespace AS schema ON schema.nspname = searched.name
           JOIN pg_class AS first ON first.relnamespace = schema.oid
           WHERE has_schema_privilege(schema.oid, 'USAGE') AND first.relname = 'organizations' AND first.relkind IN ('r', 'p', 'v', 'm', 'f')
           ORDER BY searched.place
           LIMIT 1) AS home ON true
LEFT JOIN pg_class AS relation
       ON relation.relnamespace = home.oid
      AND relation.relname = wanted.table_name
      AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND (wanted.table_name <> ALL ($5) OR pg_has_role(relation.relowner, home.owner, 'MEMBER'))
LEFT JOIN pg_attribute AS attribute
       ON attribute.attrelid = relation.oid
      AND attribute.attname = wanted.column_name
      AND attribute.attnum > 0
      AND NOT attribute.attisdropped
"#;

/// A row of [`PROBE`].
pub(super) struct Found {
    pub(super) ordinal: i64,
    pub(super) schema: Option<String>,
    pub(super) table_exists: bool,
    pub(super) column_exists: bool,
    pub(super) readable: bool,
    pub(super) role: String,
    pub(super) closed_schema: Option<String>,
    pub(super) row_security: bool,
    pub(super) policy_for_role: bool,
}

impl Found {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            ordinal: row.try_get("ordinal")?,
            schema: row.try_get("schema")?,
            table_exists: row.try_get("table_exists")?,
            column_exists: row.try_get("column_exists")?,
            readable: row.try_get("readable")?,
            role: row.try_get("role")?,
            closed_schema: row.try_get("closed_schema")?,
            row_security: row.try_get("row_security")?,
            policy_for_role: row.try_get("policy_for_role")?,
        })
    }
}

/// Returns one row per column, in the order of `columns`.
///
/// # Errors
/// Only the errors of the statement itself. A missing column is a row, not an error.
pub(super) async fn probe(session: &Session, columns: &[Column]) -> Result<Vec<Found>, PostgresError> {
    let tables: Vec<&str> = columns.iter().map(|column| column.table).collect();
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let searched = session.search_path();
    let lackable: Vec<&str> = tables_of_diagnosis().collect();
    let parameters: [Parameter<'_>; 5] = [
        (&tables, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&searched.schemas, Type::TEXT_ARRAY),
        (&searched.setting, Type::TEXT),
        (&lackable, Type::TEXT_ARRAY),
    ];
    statement::run(session, PROBE, &parameters, Found::of).await
}

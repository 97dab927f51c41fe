//! The schemas in which Retool's triggers resolve names, and the objects in them that belong to other roles.
//!
//! A trigger runs with the rights of the role that changes the row, and resolves names in that role's
//! search_path. Postgres prefers the operator or function whose types match best, in whichever schema it is,
//! and the first table or type with a name. Another role that may create objects in one of the schemas could
//! therefore run code as our role (decision trusted-triggers).

use crate::postgres::error::PostgresError;
use crate::postgres::transaction::{Deferred, Transaction};
use crate::retool::fragment::fill;
use crate::retool::privileges::Privileges;
use crate::retool::shadowing_object::ShadowingObject;
use crate::retool::template;

/// The owners of Retool's tables and of their schema.
const HOME: &str = r#"
    SELECT relation.relowner AS of_tables, schema.nspowner AS of_schema
    FROM pg_catalog.pg_class relation
    JOIN pg_catalog.pg_namespace schema ON schema.oid OPERATOR(pg_catalog.=) relation.relnamespace
    WHERE relation.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass({'organizations'})"#;

/// The schemas of the search_path, in order.
const PATH: &str = r#"
    SELECT schema.oid, schema.nspname, schema.nspowner, schema.nspacl, searched.place
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS searched (name, place)
    JOIN pg_catalog.pg_namespace schema ON schema.nspname OPERATOR(pg_catalog.=) searched.name
    WHERE schema.nspname OPERATOR(pg_catalog.<>) 'pg_catalog'"#;

/// Whether a role that runs code as our role gets no additional rights: it is a superuser, or it already has
/// the rights of the owner of Retool's tables, of the owner of their schema, or of our role.
const TRUSTED: &str = r#"(
    pg_catalog.pg_has_role({@role}, home.of_tables, 'MEMBER')
    OR pg_catalog.pg_has_role({@role}, home.of_schema, 'MEMBER')
    OR pg_catalog.pg_has_role({@role}, current_user, 'MEMBER'))"#;

/// Objects of other roles that share a name with an object of Postgres, of Retool or of an extension. A table
/// or a type counts only if its schema comes first.
///
/// The statement runs with the search_path of triggers, so every name in it is qualified.
const SHADOWING_OBJECTS: &str = r#"
WITH home AS ({@home}),
path AS ({@path}),
named AS (
    SELECT 'operator' AS kind, 'pg_catalog.pg_operator'::pg_catalog.regclass AS catalog, o.oid, o.oprname AS name,
           o.oprnamespace AS schema, o.oprowner AS owner
    FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT 'function', 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proname, p.pronamespace, p.proowner
    FROM pg_catalog.pg_proc p
    UNION ALL
    SELECT 'table', 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relname, c.relnamespace, c.relowner
    FROM pg_catalog.pg_class c
    UNION ALL
    SELECT 'type', 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typname, t.typnamespace, t.typowner
    FROM pg_catalog.pg_type t
    WHERE t.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND t.typelem OPERATOR(pg_catalog.=) 0::pg_catalog.oid
),
searched AS (
    SELECT named.kind, named.name, named.owner, path.nspname, path.place,
           {@trusted}
           OR EXISTS (SELECT
                      FROM pg_catalog.pg_depend belongs
                      JOIN pg_catalog.pg_extension extension ON extension.oid OPERATOR(pg_catalog.=) belongs.refobjid
                      WHERE belongs.classid OPERATOR(pg_catalog.=) named.catalog AND belongs.objid OPERATOR(pg_catalog.=) named.oid
                        AND belongs.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
                        AND belongs.deptype OPERATOR(pg_catalog.=) 'e'
                        AND {@trusted_extension}) AS trusted
    FROM named
    JOIN path ON path.oid OPERATOR(pg_catalog.=) named.schema
    CROSS JOIN home
),
own AS (
    SELECT kind, name, 0::pg_catalog.int8 AS place
    FROM named
    WHERE schema OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace
    UNION ALL
    SELECT kind, name, place FROM searched WHERE trusted
)
SELECT DISTINCT theirs.kind::pg_catalog.text AS kind, theirs.nspname::pg_catalog.text AS schema,
       theirs.name::pg_catalog.text AS name, pg_catalog.pg_get_userbyid(theirs.owner)::pg_catalog.text AS owner
FROM searched theirs
WHERE NOT theirs.trusted
  AND EXISTS (SELECT
              FROM own
              WHERE own.kind OPERATOR(pg_catalog.=) theirs.kind AND own.name OPERATOR(pg_catalog.=) theirs.name
                AND (own.kind OPERATOR(pg_catalog.=) ANY (ARRAY['operator', 'function']::pg_catalog.text[])
                     OR own.place OPERATOR(pg_catalog.>) theirs.place))
ORDER BY 1, 2, 3, 4
LIMIT 10
"#;

/// Roles without such rights that may create objects in a schema of the search_path; an empty name stands for
/// PUBLIC.
const CREATORS: &str = r#"
WITH home AS ({@home}),
path AS ({@path})
SELECT DISTINCT path.nspname::pg_catalog.text AS schema,
       CASE WHEN acl.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN ''
            ELSE pg_catalog.pg_get_userbyid(acl.grantee)::pg_catalog.text END AS role
FROM path
CROSS JOIN LATERAL pg_catalog.aclexplode(path.nspacl) acl
CROSS JOIN home
WHERE acl.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND acl.grantee OPERATOR(pg_catalog.<>) path.nspowner
  AND CASE WHEN acl.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN true ELSE NOT {@trusted_grantee} END
ORDER BY 1, 2
"#;

/// A role that may create objects in a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creator {
    /// The schema, as Postgres spells it.
    pub(crate) schema: String,
    /// The role; empty for PUBLIC.
    pub(crate) role: String,
}

/// Objects of other roles that a trigger can use instead of those of Postgres or Retool, at most ten.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn shadowing_objects(
    transaction: &Transaction<'_>,
    privileges: &Privileges,
) -> Result<Vec<ShadowingObject>, PostgresError> {
    let statement = template::render(&filled(SHADOWING_OBJECTS), privileges);
    let rows = transaction.write("transaction.shadowing_objects", &statement, &[], Deferred::Later, |row| {
        Ok(ShadowingObject {
            kind: row.try_get("kind")?,
            schema: row.try_get("schema")?,
            name: row.try_get("name")?,
            owner: row.try_get("owner")?,
        })
    });
    rows.await
}

/// The roles that can create such objects.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn creators(
    transaction: &Transaction<'_>,
    privileges: &Privileges,
) -> Result<Vec<Creator>, PostgresError> {
    let statement = template::render(&filled(CREATORS), privileges);
    let rows = transaction.write("diagnosis.creators", &statement, &[], Deferred::Later, |row| {
        Ok(Creator { schema: row.try_get("schema")?, role: row.try_get("role")? })
    });
    rows.await
}

fn filled(statement: &str) -> String {
    let trusted = |role| fill(TRUSTED, "role", role);
    [
        ("home", HOME.to_owned()),
        ("path", PATH.to_owned()),
        ("trusted", trusted("named.owner")),
        ("trusted_extension", trusted("extension.extowner")),
        ("trusted_grantee", trusted("acl.grantee")),
    ]
    .iter()
    .fold(statement.to_owned(), |statement, (name, text)| fill(&statement, name, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn the_statements_mention_known_tables() {
        for statement in [SHADOWING_OBJECTS, CREATORS] {
            assert!(mentions_only_optional_columns(&filled(statement)), "{statement}");
        }
    }
}

//! Checks which other roles can create objects in the schema where Retool's triggers resolve names, and
//! counts rows that Retool itself would refuse.

use crate::postgres::statement::only;
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;

use tokio_postgres::types::Type;

/// Roles with CREATE on the schema, besides its owner, the owner of the tables and superusers.
const CREATORS: &str = r#"
SELECT DISTINCT CASE WHEN acl.grantee = 0 THEN '' ELSE pg_get_userbyid(acl.grantee)::text END AS role
FROM pg_namespace home, aclexplode(home.nspacl) acl
WHERE home.nspname = $1 AND acl.privilege_type = 'CREATE' AND acl.grantee <> home.nspowner
  AND NOT EXISTS (SELECT FROM pg_class c
                  WHERE c.relnamespace = home.oid AND c.relname = 'organizations' AND c.relowner = acl.grantee)
  AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = acl.grantee AND r.rolsuper)
ORDER BY 1
"#;

/// Operators and functions of the schema that share a name with a built-in of Postgres and belong neither to
/// an extension nor to the owner of the tables or a superuser.
const IMPOSTORS: &str = r#"
SELECT found.name AS name
FROM (SELECT o.oid, 'pg_operator'::regclass AS kind, o.oprname::text AS name, o.oprowner AS owner
      FROM pg_operator o JOIN pg_namespace home ON home.oid = o.oprnamespace AND home.nspname = $1
      WHERE EXISTS (SELECT FROM pg_operator own
                    WHERE own.oprnamespace = 'pg_catalog'::regnamespace AND own.oprname = o.oprname)
      UNION ALL
      SELECT p.oid, 'pg_proc'::regclass, p.proname::text, p.proowner
      FROM pg_proc p JOIN pg_namespace home ON home.oid = p.pronamespace AND home.nspname = $1
      WHERE EXISTS (SELECT FROM pg_proc own
                    WHERE own.pronamespace = 'pg_catalog'::regnamespace AND own.proname = p.proname)) found
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = found.kind AND d.objid = found.oid AND d.deptype = 'e')
  AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace home ON home.oid = c.relnamespace AND home.nspname = $1
                  WHERE c.relname = 'organizations' AND c.relowner = found.owner)
  AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = found.owner AND r.rolsuper)
GROUP BY found.name
ORDER BY found.name
LIMIT 10
"#;

/// The roles that can define objects which Retool's triggers would run with the rights of the role that
/// changes a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creators {
    /// The schema of Retool's tables.
    pub schema: String,
    /// The roles; an empty name means PUBLIC.
    pub roles: Vec<String>,
    /// Names of such operators and functions that exist already, at most ten.
    pub impostors: Vec<String>,
}

/// Inspects the schema of Retool's tables.
///
/// # Errors
/// The errors of the statements.
pub(crate) async fn creators(database: &Database) -> Result<Creators, DatabaseError> {
    let privileges = database.privileges().await?;
    let schema = privileges.schema().unwrap_or_default();
    let roles = database
        .read_catalog("diagnosis.creators", CREATORS, &[(&schema, Type::TEXT)], |row| row.try_get("role"))
        .await?;
    let impostors = database
        .read_catalog("diagnosis.impostors", IMPOSTORS, &[(&schema, Type::TEXT)], |row| row.try_get("name"))
        .await?;
    Ok(Creators { schema: schema.to_owned(), roles, impostors })
}

const CROSSING: &str = r#"
SELECT count(*) AS memberships
FROM {user_groups} m
JOIN {users} u ON u.id = m."userId"
JOIN {groups} g ON g.id = m."groupId"
WHERE u."organizationId" <> g."organizationId"
"#;

/// Counts the memberships of users in a group of another organization (decision foreign-members).
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn crossing_memberships(database: &Database) -> Result<i64, DatabaseError> {
    let read = database.read_once("diagnosis.crossing", CROSSING, &[], |row| row.try_get("memberships"));
    Ok(only(read.await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn the_statement_mentions_known_tables() {
        assert!(mentions_only_optional_columns(CROSSING));
    }
}

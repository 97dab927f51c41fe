//! The table `resources` (data sources) and the access to them: `group_resources`,
//! `group_resource_folder_defaults` and the universal resource access of `groups`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::access::AccessLevel;
use crate::retool::database::{Database, key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{OrganizationId, ResourceId, UserId};
use crate::retool::tables::{Page, Users};

/// A row of `resources`: one environment of a data source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Primary key.
    pub id: ResourceId,
    /// The organization.
    pub organization: OrganizationId,
    /// Technical name.
    pub name: String,
    /// Display name, if any.
    pub display_name: Option<String>,
    /// The type of system it connects to, such as `postgresql`.
    pub kind: String,
}

const LIST: &str = r#"
SELECT r.id::int8 AS id, r."organizationId"::int8 AS organization, coalesce(r.name::text, '') AS name,
       r."displayName"::text AS display_name, coalesce(r.type::text, '') AS kind
FROM {resources} r
WHERE r."organizationId" = $1 AND r.id >= $2 AND r.id > 0
ORDER BY r.id
LIMIT $3
"#;

const GET: &str = r#"
SELECT r.id::int8 AS id, r."organizationId"::int8 AS organization, coalesce(r.name::text, '') AS name,
       r."displayName"::text AS display_name, coalesce(r.type::text, '') AS kind
FROM {resources} r
WHERE r.id = $1 AND r."organizationId" > 0
"#;

fn resource(row: &Row) -> Result<Resource, tokio_postgres::Error> {
    Ok(Resource {
        id: key(row, "id")?,
        organization: key(row, "organization")?,
        name: row.try_get("name")?,
        display_name: row.try_get::<_, Option<String>>("display_name")?.filter(|name| !name.is_empty()),
        kind: row.try_get("kind")?,
    })
}

/// A page of the resources of the organization, by key. Empty if there are none, or if the organization does
/// not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(
    database: &Database,
    organization: OrganizationId,
    page: Page,
) -> Result<Vec<Resource>, DatabaseError> {
    let parameters: [Parameter<'_>; 3] =
        [(&organization.get(), Type::INT4), (&page.from, Type::INT8), (&page.limit, Type::INT8)];
    database.read("resources.list", LIST, &parameters, resource).await
}

/// The resource, or `None` if the row does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(database: &Database, id: ResourceId) -> Result<Option<Resource>, DatabaseError> {
    Ok(database.read("resources.get", GET, &[(&id.get(), Type::INT4)], resource).await?.pop())
}

/// A user with access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserAccess {
    /// The user.
    pub user: UserId,
    /// The highest level through any of the user's groups.
    pub level: AccessLevel,
}

/// Lists users with access. The first steps find the groups and their levels (1 read, 2 write, 3 own), the
/// last steps their members. A row of `group_resources` names the resource in one of two columns (decision
/// resource-environments); of two rows the higher level counts. The check whether a user is listed comes last
/// and runs once per user, so that a membership of a deleted user grants nothing. Written as `IS NOT TRUE`,
/// it lets Postgres estimate that nearly all users pass.
///
/// Only one of the last two steps runs; the other returns nothing. If the groups have few memberships, these
/// are read by group. If they have a large part of the table, memberships are scanned in the order of their
/// users, and the scan stops when the page is full. By group, every page would read all of them again.
const USER_ACCESS: &str = r#"
WITH resource AS {materialized} (
    SELECT r.id, r."organizationId" AS organization_id, r."resourceFolderId" AS folder_id
    FROM {resources} r
    WHERE r.id = $1 AND r."organizationId" > 0
),
candidate AS {materialized} (
    SELECT g.id,
           CASE g."universalResourceAccess" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END AS universal
    FROM resource
    JOIN {groups} g ON g."organizationId" = resource.organization_id
    WHERE g.id > 0 AND {g:groups.archivedAt} IS NULL
),
explicit AS {materialized} (
    SELECT gr."groupId" AS group_id,
           max(CASE gr."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END) AS level
    FROM {group_resources} gr
    WHERE (gr."resourceId" = (SELECT id FROM resource) OR {gr:group_resources.resourceIdForEnv} = (SELECT id FROM resource))
      AND gr."groupId" = ANY (ARRAY(SELECT id FROM candidate))
    GROUP BY gr."groupId"
),
folder AS {materialized} (
    SELECT gf."groupId" AS group_id,
           CASE gf."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END AS level
    FROM {group_resource_folder_defaults} gf
    WHERE gf."resourceFolderId" = (SELECT folder_id FROM resource)
      AND gf."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
grantor AS {materialized} (
    SELECT c.id, greatest(c.universal, coalesce(e.level, f.level, 0)) AS level
    FROM candidate c
    LEFT JOIN explicit e ON e.group_id = c.id
    LEFT JOIN folder f ON f.group_id = c.id
    WHERE greatest(c.universal, coalesce(e.level, f.level, 0)) > 0
),
threshold AS {materialized} (
    SELECT greatest(4000, c.reltuples / 16)::int8 AS memberships
    FROM pg_class c
    WHERE c.oid = {'user_groups'}::regclass
),
spread AS {materialized} (
    SELECT count(*) >= (SELECT memberships FROM threshold) AS wide
    FROM (
        SELECT
        FROM grantor
        JOIN {user_groups} ug ON ug."groupId" = grantor.id
        LIMIT (SELECT memberships FROM threshold)
    ) membership
),
holder_by_group AS (
    SELECT ug."userId" AS id, max(grantor.level) AS level
    FROM grantor
    JOIN {user_groups} ug ON ug."groupId" = grantor.id
    WHERE NOT (SELECT wide FROM spread) AND ug."userId" >= $2 AND ug."userId" > 0
    GROUP BY ug."userId"
),
holder_in_order AS (
    SELECT ug."userId" AS id,
           max(CASE WHEN ug."groupId" IN (SELECT id FROM grantor WHERE level = 3) THEN 3
                    WHEN ug."groupId" IN (SELECT id FROM grantor WHERE level = 2) THEN 2
                    ELSE 1 END) AS level
    FROM {user_groups} ug
    WHERE (SELECT wide FROM spread) AND ug."userId" >= $2 AND ug."userId" > 0
      AND (ug."groupId" IN (SELECT id FROM grantor)) IS TRUE
    GROUP BY ug."userId"
)
(SELECT holder.id::int8 AS id, holder.level::int4 AS level
FROM holder_by_group holder
WHERE EXISTS (
    SELECT FROM {users} u
    WHERE u.id = holder.id AND (u."organizationId" <= 0 OR ($3 AND u.enabled IS NOT TRUE)) IS NOT TRUE
)
ORDER BY holder.id
LIMIT $4)
UNION ALL
(SELECT holder.id::int8 AS id, holder.level::int4 AS level
FROM holder_in_order holder
JOIN {users} u ON u.id = holder.id
WHERE (u."organizationId" <= 0 OR ($3 AND u.enabled IS NOT TRUE)) IS NOT TRUE
ORDER BY holder.id
LIMIT $4)
ORDER BY 1
"#;

/// A page of the users with access to the resource, by user key. Empty if there are none, or if the resource
/// does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn user_access(
    database: &Database,
    resource: ResourceId,
    users: Users,
    page: Page,
) -> Result<Vec<UserAccess>, DatabaseError> {
    let enabled_only = users.enabled_only();
    let parameters: [Parameter<'_>; 4] = [
        (&resource.get(), Type::INT4),
        (&page.from, Type::INT8),
        (&enabled_only, Type::BOOL),
        (&page.limit, Type::INT8),
    ];
    let rows = database
        .read("resources.user_access", USER_ACCESS, &parameters, |row| {
            Ok((key(row, "id")?, AccessLevel::from_rank(row.try_get("level")?)))
        })
        .await?;
    Ok(rows.into_iter().filter_map(|(user, level)| Some(UserAccess { user, level: level? })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST, GET, USER_ACCESS] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

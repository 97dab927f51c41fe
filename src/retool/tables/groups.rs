//! The tables `groups` and `user_groups`. An archived group counts as deleted if `groups.archivedAt` is
//! readable (decision archived-groups).

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, UserId};
use crate::retool::tables::memberships::Membership;
use crate::retool::tables::{Page, Users};

/// A row of `groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Primary key.
    pub id: GroupId,
    /// The organization; Retool has built-in groups without one (decision without-organization).
    pub organization: Option<OrganizationId>,
    /// Display name, unique within the organization.
    pub name: String,
}

const LIST_OF_ORGANIZATION: &str = r#"
SELECT g.id::int8 AS id, g."organizationId"::int8 AS organization, coalesce(g.name::text, '') AS name
FROM {groups} g
WHERE g."organizationId" = $1 AND g.id >= $2 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
LIMIT $3
"#;

const LIST_WITHOUT_ORGANIZATION: &str = r#"
SELECT g.id::int8 AS id, g."organizationId"::int8 AS organization, coalesce(g.name::text, '') AS name
FROM {groups} g
WHERE g."organizationId" IS NULL AND g.id >= $1 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
LIMIT $2
"#;

const GET: &str = r#"
SELECT g.id::int8 AS id, g."organizationId"::int8 AS organization, coalesce(g.name::text, '') AS name
FROM {groups} g
WHERE g.id = $1 AND (g."organizationId" IS NULL OR g."organizationId" > 0) AND {g:groups.archivedAt} IS NULL
"#;

fn group(row: &Row) -> Result<Group, tokio_postgres::Error> {
    Ok(Group {
        id: key(row, "id")?,
        organization: optional_key(row, "organization")?,
        name: row.try_get("name")?,
    })
}

/// A page of the groups of the organization, or of groups without one, by key. Empty if there are none, or if
/// the organization does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(
    database: &Database,
    organization: Option<OrganizationId>,
    page: Page,
) -> Result<Vec<Group>, DatabaseError> {
    match organization {
        Some(organization) => {
            let parameters: [Parameter<'_>; 3] =
                [(&organization.get(), Type::INT4), (&page.from, Type::INT8), (&page.limit, Type::INT8)];
            database.read("groups.list", LIST_OF_ORGANIZATION, &parameters, group).await
        }
        None => {
            let parameters: [Parameter<'_>; 2] = [(&page.from, Type::INT8), (&page.limit, Type::INT8)];
            database.read("groups.list", LIST_WITHOUT_ORGANIZATION, &parameters, group).await
        }
    }
}

/// The group, or `None` if the row does not exist or is archived.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(database: &Database, id: GroupId) -> Result<Option<Group>, DatabaseError> {
    Ok(database.read("groups.get", GET, &[(&id.get(), Type::INT4)], group).await?.pop())
}

/// A row of `user_groups` whose user exists. Retool has one row per user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// The user.
    pub user: UserId,
    /// The kind of membership.
    pub membership: Membership,
}

/// Lists members by user. The first step reads the group's rows with the index on `"groupId"`. Without this
/// step, Postgres scans the whole table by primary key to get the order. A membership across two
/// organizations is listed like any other.
const MEMBERS: &str = r#"
WITH membership AS {materialized} (
    SELECT ug."userId" AS user_id, coalesce(ug."isAdmin", false) AS is_admin
    FROM {groups} g
    JOIN {user_groups} ug ON ug."groupId" = g.id
    WHERE g.id = $1 AND {g:groups.archivedAt} IS NULL AND ug."userId" >= $2
)
SELECT u.id::int8 AS id, m.is_admin
FROM membership m
JOIN {users} u ON u.id = m.user_id
WHERE u.id > 0
  AND (u."organizationId" IS NULL OR u."organizationId" > 0)
  AND (u.enabled OR NOT $3)
ORDER BY u.id
LIMIT $4
"#;

/// A page of the members of the group, by user key. Empty if there are none, or if the group does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn members(
    database: &Database,
    group: GroupId,
    users: Users,
    page: Page,
) -> Result<Vec<Member>, DatabaseError> {
    let enabled_only = users.enabled_only();
    let parameters: [Parameter<'_>; 4] = [
        (&group.get(), Type::INT4),
        (&page.from, Type::INT8),
        (&enabled_only, Type::BOOL),
        (&page.limit, Type::INT8),
    ];
    database
        .read("groups.members", MEMBERS, &parameters, |row| {
            let membership = if row.try_get("is_admin")? { Membership::Admin } else { Membership::Member };
            Ok(Member { user: key(row, "id")?, membership })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST_OF_ORGANIZATION, LIST_WITHOUT_ORGANIZATION, GET, MEMBERS] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

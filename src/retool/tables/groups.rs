//! The tables `groups` and `user_groups`. An archived group is treated as gone where
//! `groups.archivedAt` can be read (decision D41).

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, UserId};

/// A row of `groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Primary key.
    pub id: GroupId,
    /// The organization; Retool has built-in groups without one.
    pub organization: Option<OrganizationId>,
    /// Shown name, unique within the organization.
    pub name: String,
}

macro_rules! columns {
    () => {
        r#"
SELECT g.id::int8, g."organizationId"::int8, coalesce(g.name::text, '')
FROM groups g
"#
    };
}

const LIST_OF_ORGANIZATION: &str = concat!(
    columns!(),
    r#"WHERE g."organizationId" = $1 AND g.id >= $2 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
LIMIT $3
"#
);

const LIST_WITHOUT_ORGANIZATION: &str = concat!(
    columns!(),
    r#"WHERE g."organizationId" IS NULL AND g.id >= $1 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
LIMIT $2
"#
);

const GET: &str = concat!(
    columns!(),
    r#"WHERE g.id = $1 AND (g."organizationId" IS NULL OR g."organizationId" > 0) AND {g:groups.archivedAt} IS NULL
"#
);

fn group(row: &Row) -> Result<Group, tokio_postgres::Error> {
    Ok(Group { id: key(row, 0)?, organization: optional_key(row, 1)?, name: row.try_get(2)? })
}

/// Groups of the organization, or those without one, by key from `from` on, `limit` at most. Empty
/// when there are none, or no such organization.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn list(
    database: &Database,
    organization: Option<OrganizationId>,
    from: i64,
    limit: i64,
) -> Result<Vec<Group>, DatabaseError> {
    match organization {
        Some(organization) => {
            let parameters: [Parameter<'_>; 3] =
                [(&organization.get(), Type::INT4), (&from, Type::INT8), (&limit, Type::INT8)];
            database.read("groups.list", LIST_OF_ORGANIZATION, &parameters, group).await
        }
        None => {
            let parameters: [Parameter<'_>; 2] = [(&from, Type::INT8), (&limit, Type::INT8)];
            database.read("groups.list", LIST_WITHOUT_ORGANIZATION, &parameters, group).await
        }
    }
}

/// The group, or `None` when there is no such row or it is archived.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn get(database: &Database, id: GroupId) -> Result<Option<Group>, DatabaseError> {
    Ok(database.read("groups.get", GET, &[(&id.get(), Type::INT4)], group).await?.pop())
}

/// A row of `user_groups` whose user exists. Retool has one row per user and group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// Whether the user also manages the group.
    pub is_admin: bool,
}

/// Members by user. The first step takes the group's rows by the index on `"groupId"`; asked for them
/// in the order of a key straight away, Postgres walks the whole table by primary key instead.
/// Nobody from another organization is a member, whatever an old row says.
const MEMBERS: &str = r#"
WITH membership AS MATERIALIZED (
    SELECT ug."userId" AS user_id, coalesce(ug."isAdmin", false) AS is_admin, g."organizationId" AS organization_id
    FROM groups g
    JOIN user_groups ug ON ug."groupId" = g.id
    WHERE g.id = $1 AND {g:groups.archivedAt} IS NULL AND ug."userId" >= $2
)
SELECT u.id::int8, m.is_admin
FROM membership m
JOIN users u ON u.id = m.user_id
WHERE u.id > 0
  AND (u."organizationId" IS NULL OR u."organizationId" > 0)
  AND (u.enabled OR NOT $3)
  AND (m.organization_id IS NULL OR u."organizationId" IS NULL OR u."organizationId" = m.organization_id)
ORDER BY u.id
LIMIT $4
"#;

/// Members of the group by user key from `from` on, `limit` at most. Empty when there are none, or no
/// such group.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn members(
    database: &Database,
    group: GroupId,
    enabled_only: bool,
    from: i64,
    limit: i64,
) -> Result<Vec<Member>, DatabaseError> {
    let parameters: [Parameter<'_>; 4] =
        [(&group.get(), Type::INT4), (&from, Type::INT8), (&enabled_only, Type::BOOL), (&limit, Type::INT8)];
    database
        .read("groups.members", MEMBERS, &parameters, |row| {
            Ok(Member { user: key(row, 0)?, is_admin: row.try_get(1)? })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::optional_columns::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST_OF_ORGANIZATION, LIST_WITHOUT_ORGANIZATION, GET, MEMBERS] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

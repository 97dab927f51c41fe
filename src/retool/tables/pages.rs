//! The table `pages` (Retool's apps) and the access to them: `group_pages`, `group_folder_defaults` and the
//! universal access of `groups`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::access::{Access, AccessLevel, AccessLevels, ExplicitAccess};
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, UserId};
use crate::retool::tables::managed_groups::{ManagedGroupNames, with_conditions};
use crate::retool::tables::{self, Users};

/// A row of `pages` that is not deleted and belongs to an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Primary key.
    pub id: PageId,
    /// The organization.
    pub organization: OrganizationId,
    /// Display name, unique only within its folder.
    pub name: String,
}

const LIST: &str = r#"
SELECT p.id::int8 AS id, p."organizationId"::int8 AS organization, coalesce(p.name::text, '') AS name
FROM {pages} p
WHERE p."organizationId" = $1 AND p.id >= $2 AND p.id > 0 AND p."deletedAt" IS NULL
ORDER BY p.id
LIMIT $3
"#;

const GET: &str = r#"
SELECT p.id::int8 AS id, p."organizationId"::int8 AS organization, coalesce(p.name::text, '') AS name
FROM {pages} p
WHERE p.id = $1 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
"#;

fn page(row: &Row) -> Result<Page, tokio_postgres::Error> {
    Ok(Page { id: key(row, "id")?, organization: key(row, "organization")?, name: row.try_get("name")? })
}

/// A page of the pages of the organization, by key. Empty if there are none, or if the organization does not
/// exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(
    database: &Database,
    organization: OrganizationId,
    part: tables::Page,
) -> Result<Vec<Page>, DatabaseError> {
    let parameters: [Parameter<'_>; 3] =
        [(&organization.get(), Type::INT4), (&part.from, Type::INT8), (&part.limit, Type::INT8)];
    database.read("pages.list", LIST, &parameters, page).await
}

/// The page, or `None` if the row does not exist, is deleted, or belongs to no organization.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(database: &Database, id: PageId) -> Result<Option<Page>, DatabaseError> {
    Ok(database.read("pages.get", GET, &[(&id.get(), Type::INT4)], page).await?.pop())
}

/// A holder of access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A group.
    Group {
        /// The group.
        group: GroupId,
        /// The sources of its access. The effective level is never `None` here.
        access: Access,
    },
    /// A user in managed groups of the page.
    User {
        /// The user.
        user: UserId,
        /// The levels of these groups.
        levels: AccessLevels,
    },
}

impl Holder {
    /// The holder's position in the listing: groups first, by key, then users.
    pub(crate) fn order(&self) -> u32 {
        match self {
            Self::Group { group, .. } => group.get().unsigned_abs(),
            Self::User { user, .. } => user.get().unsigned_abs() + FIRST_USER,
        }
    }
}

/// Larger than the key of any group. The statement contains the same number.
const FIRST_USER: u32 = 1 << 31;

/// Lists groups with access, then the members of managed groups, in one statement (decision
/// one-statement-per-page). `group_pages` has no index that begins with
/// the page. Its rows are therefore looked up by group and page for all groups of the organization, in one
/// index scan.
const HOLDERS: &str = r#"
WITH page AS {materialized} (
    SELECT p.id, p."organizationId" AS organization_id, p."folderId" AS folder_id
    FROM {pages} p
    WHERE p.id = $1 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
),
candidate AS {materialized} (
    SELECT g.id, g."universalAccess" AS universal
    FROM page
    JOIN {groups} g ON g."organizationId" = page.organization_id
    WHERE g.id > 0 AND {g:groups.archivedAt} IS NULL
),
explicit AS {materialized} (
    SELECT gp."groupId" AS group_id, gp."accessLevel" AS level, coalesce({@managed_group}, false) AS managed
    FROM {group_pages} gp
    JOIN {groups} g ON g.id = gp."groupId"
    WHERE gp."pageId" = (SELECT id FROM page) AND gp."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
folder AS {materialized} (
    SELECT gf."groupId" AS group_id, gf."accessLevel" AS level
    FROM {group_folder_defaults} gf
    WHERE gf."folderId" = (SELECT folder_id FROM page) AND gf."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
holder AS (
    SELECT c.id::int8 AS position, NULL::int8 AS user_id, c.universal::text AS universal, e.group_id IS NOT NULL AS has_own_row,
           e.level::text AS explicit, f.level::text AS folder,
           false AS reads, false AS writes, false AS owns
    FROM candidate c
    LEFT JOIN explicit e ON e.group_id = c.id
    LEFT JOIN folder f ON f.group_id = c.id
    WHERE c.id >= $3
      AND (c.universal IN ('read', 'write', 'own')
           OR CASE WHEN e.group_id IS NOT NULL THEN e.level ELSE f.level END IN ('read', 'write', 'own'))
    UNION ALL
    SELECT u.id::int8 + 2147483648, u.id::int8, NULL, false, NULL, NULL,
           bool_or(e.level = 'read'), bool_or(e.level = 'write'), bool_or(e.level = 'own')
    FROM explicit e
    JOIN {user_groups} m ON m."groupId" = e.group_id
    JOIN {users} u ON u.id = m."userId"
    WHERE e.managed AND u.id > 0 AND u.id >= $3 - 2147483648 AND (u.enabled OR NOT $5)
      AND (u."organizationId" IS NULL OR u."organizationId" > 0)
    GROUP BY u.id
)
SELECT position, user_id, universal, has_own_row, explicit, folder, reads, writes, owns
FROM holder
ORDER BY position
LIMIT $4
"#;

/// A page of the holders of access to the page, by [`Holder::order`]. Empty if there are none, or if the page
/// does not exist (decision errors-are-not-empty).
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn holders(
    database: &Database,
    page: PageId,
    names: ManagedGroupNames,
    users: Users,
    part: tables::Page,
) -> Result<Vec<Holder>, DatabaseError> {
    let enabled_only = users.enabled_only();
    let parameters: [Parameter<'_>; 5] = [
        (&page.get(), Type::INT4),
        (&names.prefix, Type::TEXT),
        (&part.from, Type::INT8),
        (&part.limit, Type::INT8),
        (&enabled_only, Type::BOOL),
    ];
    database.read("pages.holders", &with_conditions(HOLDERS), &parameters, holder).await
}

fn holder(row: &Row) -> Result<Holder, tokio_postgres::Error> {
    match optional_key(row, "user_id")? {
        Some(user) => {
            let levels = AccessLevels {
                read: row.try_get("reads")?,
                write: row.try_get("writes")?,
                own: row.try_get("owns")?,
            };
            Ok(Holder::User { user, levels })
        }
        None => Ok(Holder::Group { group: key(row, "position")?, access: access(row)? }),
    }
}

/// Reads the sources of a group's access from the row's columns.
pub(crate) fn access(row: &Row) -> Result<Access, tokio_postgres::Error> {
    let level = |name: &str| -> Result<Option<AccessLevel>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<&str>>(name)?.and_then(AccessLevel::from_database))
    };
    let has_own_row: bool = row.try_get("has_own_row")?;
    Ok(Access {
        universal: level("universal")?,
        explicit: if has_own_row {
            ExplicitAccess::of_row(level("explicit")?)
        } else {
            ExplicitAccess::NoRow
        },
        folder: level("folder")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST, GET, &with_conditions(HOLDERS)] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

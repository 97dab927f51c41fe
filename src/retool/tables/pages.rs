//! The table `pages` (Retool's apps) and who may use them: `group_pages`, `group_folder_defaults` and
//! the universal access of `groups`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::access::{Access, AccessLevel};
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, UserId};
use crate::retool::tables::managed_groups::is_managed;

/// A row of `pages` that is not deleted and belongs to an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Primary key.
    pub id: PageId,
    /// The organization.
    pub organization: OrganizationId,
    /// Shown name, unique within its folder only.
    pub name: String,
}

macro_rules! columns {
    () => {
        r#"
SELECT p.id::int8, p."organizationId"::int8, coalesce(p.name::text, '')
FROM pages p
"#
    };
}

const LIST: &str = concat!(
    columns!(),
    r#"WHERE p."organizationId" = $1 AND p.id >= $2 AND p.id > 0 AND p."deletedAt" IS NULL
ORDER BY p.id
LIMIT $3
"#
);

const GET: &str = concat!(
    columns!(),
    r#"WHERE p.id = $1 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
"#
);

fn page(row: &Row) -> Result<Page, tokio_postgres::Error> {
    Ok(Page { id: key(row, 0)?, organization: key(row, 1)?, name: row.try_get(2)? })
}

/// Pages of the organization by key from `from` on, `limit` at most. Empty when there are none, or no
/// such organization.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn list(
    database: &Database,
    organization: OrganizationId,
    from: i64,
    limit: i64,
) -> Result<Vec<Page>, DatabaseError> {
    let parameters: [Parameter<'_>; 3] =
        [(&organization.get(), Type::INT4), (&from, Type::INT8), (&limit, Type::INT8)];
    database.read("pages.list", LIST, &parameters, page).await
}

/// The page, or `None` when there is no such row, it is deleted, or it belongs to no organization.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn get(database: &Database, id: PageId) -> Result<Option<Page>, DatabaseError> {
    Ok(database.read("pages.get", GET, &[(&id.get(), Type::INT4)], page).await?.pop())
}

/// Somebody who may do something with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A group.
    Group {
        /// Which group.
        group: GroupId,
        /// Where its access comes from; its effective level is never `None` here.
        access: Access,
    },
    /// A user in managed groups of the page (decision 7.5).
    User {
        /// Which user.
        user: UserId,
        /// The levels of those groups, by [`AccessLevel::ALL`].
        levels: [bool; 3],
    },
}

impl Holder {
    /// Where the holder stands in the listing: groups come first, by key, then users.
    pub fn order(&self) -> u32 {
        match self {
            Self::Group { group, .. } => group.get().unsigned_abs(),
            Self::User { user, .. } => user.get().unsigned_abs() + FIRST_USER,
        }
    }
}

/// No key of a group is as large; the statement has the same number.
const FIRST_USER: u32 = 1 << 31;

/// Groups with access, then the members of managed groups. `group_pages` has no index that begins with the
/// page, so its rows are looked up by group and page for all groups of the organization in one index scan.
const HOLDERS: &str = concat!(
    r#"
WITH page AS MATERIALIZED (
    SELECT p.id, p."organizationId" AS organization_id, p."folderId" AS folder_id
    FROM pages p
    WHERE p.id = $1 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
),
candidate AS MATERIALIZED (
    SELECT g.id, g."universalAccess" AS universal
    FROM page
    JOIN groups g ON g."organizationId" = page.organization_id
    WHERE g.id > 0 AND {g:groups.archivedAt} IS NULL
),
explicit AS MATERIALIZED (
    SELECT gp."groupId" AS group_id, gp."accessLevel" AS level, coalesce("#,
    is_managed!(),
    r#", false) AS managed
    FROM group_pages gp
    JOIN groups g ON g.id = gp."groupId"
    WHERE gp."pageId" = (SELECT id FROM page) AND gp."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
folder AS MATERIALIZED (
    SELECT gf."groupId" AS group_id, gf."accessLevel" AS level
    FROM group_folder_defaults gf
    WHERE gf."folderId" = (SELECT folder_id FROM page) AND gf."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
holder AS (
    SELECT c.id::int8 AS position, NULL::int8 AS user_id, c.universal::text AS universal, e.group_id IS NOT NULL AS has_own_row,
           e.level::text AS explicit, f.level::text AS folder,
           false AS reads, false AS writes, false AS owns
    FROM candidate c
    LEFT JOIN explicit e ON e.group_id = c.id
    LEFT JOIN folder f ON f.group_id = c.id
    WHERE c.id >= $2
      AND (c.universal IN ('read', 'write', 'own')
           OR CASE WHEN e.group_id IS NOT NULL THEN e.level ELSE f.level END IN ('read', 'write', 'own'))
    UNION ALL
    SELECT u.id::int8 + 2147483648, u.id::int8, NULL, false, NULL, NULL,
           bool_or(e.level = 'read'), bool_or(e.level = 'write'), bool_or(e.level = 'own')
    FROM explicit e
    JOIN user_groups m ON m."groupId" = e.group_id
    JOIN users u ON u.id = m."userId"
    WHERE e.managed AND u.id > 0 AND u.id >= $2 - 2147483648 AND (u.enabled OR NOT $4)
      AND (u."organizationId" IS NULL OR u."organizationId" = (SELECT organization_id FROM page))
    GROUP BY u.id
)
SELECT position, user_id, universal, has_own_row, explicit, folder, reads, writes, owns
FROM holder
ORDER BY position
LIMIT $3
"#
);

/// Who may do something with the page, by [`Holder::order`] from `from` on, `limit` at most. Empty when
/// there are none, or no such page.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn holders(
    database: &Database,
    page: PageId,
    enabled_only: bool,
    from: i64,
    limit: i64,
) -> Result<Vec<Holder>, DatabaseError> {
    let parameters: [Parameter<'_>; 4] =
        [(&page.get(), Type::INT4), (&from, Type::INT8), (&limit, Type::INT8), (&enabled_only, Type::BOOL)];
    database.read("pages.holders", HOLDERS, &parameters, holder).await
}

fn holder(row: &Row) -> Result<Holder, tokio_postgres::Error> {
    let levels = || -> Result<_, tokio_postgres::Error> {
        Ok([row.try_get("reads")?, row.try_get("writes")?, row.try_get("owns")?])
    };
    match optional_key(row, 1)? {
        Some(user) => Ok(Holder::User { user, levels: levels()? }),
        None => Ok(Holder::Group { group: key(row, 0)?, access: access(row)? }),
    }
}

/// What gives a group access, from columns of these names.
pub(crate) fn access(row: &Row) -> Result<Access, tokio_postgres::Error> {
    let level = |name: &str| -> Result<Option<AccessLevel>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<&str>>(name)?.and_then(AccessLevel::from_database))
    };
    let has_own_row: bool = row.try_get("has_own_row")?;
    Ok(Access {
        universal: level("universal")?,
        explicit: if has_own_row { Some(level("explicit")?) } else { None },
        folder: level("folder")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::optional_columns::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST, GET, HOLDERS] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

//! The table `pages` (Retool's apps) and who may use them: `group_pages`, `group_folder_defaults` and
//! the universal access of `groups`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::Error;
use super::{Database, key};
use crate::retool::access::{Access, AccessLevel};
use crate::retool::id::{GroupId, OrganizationId, PageId};

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
/// See [`Error`].
pub async fn list(
    database: &Database,
    organization: OrganizationId,
    from: i64,
    limit: i64,
) -> Result<Vec<Page>, Error> {
    let parameters: [super::Parameter<'_>; 3] =
        [(&organization.get(), Type::INT4), (&from, Type::INT8), (&limit, Type::INT8)];
    database.read("pages.list", LIST, &parameters, page).await
}

/// The page, or `None` when there is no such row, it is deleted, or it belongs to no organization.
///
/// # Errors
/// See [`Error`].
pub async fn get(database: &Database, id: PageId) -> Result<Option<Page>, Error> {
    Ok(database.read("pages.get", GET, &[(&id.get(), Type::INT4)], page).await?.pop())
}

/// A group that may do something with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupAccess {
    /// Which group.
    pub group: GroupId,
    /// Where its access comes from; its effective level is never `None` here.
    pub access: Access,
}

/// Groups with access. `group_pages` has no index that begins with the page, so its rows are looked up
/// by group and page for all groups of the organization in one index scan.
const GROUP_ACCESS: &str = r#"
WITH page AS MATERIALIZED (
    SELECT p.id, p."organizationId" AS organization_id, p."folderId" AS folder_id
    FROM pages p
    WHERE p.id = $1 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
),
candidate AS MATERIALIZED (
    SELECT g.id, g."universalAccess" AS universal
    FROM page
    JOIN groups g ON g."organizationId" = page.organization_id
    WHERE g.id >= $2 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
),
explicit AS MATERIALIZED (
    SELECT gp."groupId" AS group_id, gp."accessLevel" AS level
    FROM group_pages gp
    WHERE gp."pageId" = (SELECT id FROM page) AND gp."groupId" = ANY (ARRAY(SELECT id FROM candidate))
),
folder AS MATERIALIZED (
    SELECT gf."groupId" AS group_id, gf."accessLevel" AS level
    FROM group_folder_defaults gf
    WHERE gf."folderId" = (SELECT folder_id FROM page) AND gf."groupId" = ANY (ARRAY(SELECT id FROM candidate))
)
SELECT c.id::int8, c.universal::text, e.group_id IS NOT NULL, e.level::text, f.level::text
FROM candidate c
LEFT JOIN explicit e ON e.group_id = c.id
LEFT JOIN folder f ON f.group_id = c.id
WHERE c.universal IN ('read', 'write', 'own')
   OR CASE WHEN e.group_id IS NOT NULL THEN e.level ELSE f.level END IN ('read', 'write', 'own')
ORDER BY c.id
LIMIT $3
"#;

/// Groups that may do something with the page, by group key from `from` on, `limit` at most. Empty
/// when there are none, or no such page.
///
/// # Errors
/// See [`Error`].
pub async fn group_access(
    database: &Database,
    page: PageId,
    from: i64,
    limit: i64,
) -> Result<Vec<GroupAccess>, Error> {
    let parameters: [super::Parameter<'_>; 3] =
        [(&page.get(), Type::INT4), (&from, Type::INT8), (&limit, Type::INT8)];
    database
        .read("pages.group_access", GROUP_ACCESS, &parameters, |row| {
            let level = |index: usize| -> Result<Option<AccessLevel>, tokio_postgres::Error> {
                Ok(row.try_get::<_, Option<&str>>(index)?.and_then(AccessLevel::from_database))
            };
            let has_own_row: bool = row.try_get(2)?;
            let access = Access {
                universal: level(1)?,
                explicit: if has_own_row { Some(level(3)?) } else { None },
                folder: level(4)?,
            };
            Ok(GroupAccess { group: key(row, 0)?, access })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::super::sql::mentions_only_optional_columns;
    use super::*;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST, GET, GROUP_ACCESS] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

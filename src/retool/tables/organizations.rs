//! The table `organizations`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::database::{Database, key};
use crate::retool::error::DatabaseError;
use crate::retool::fragment::fill;
use crate::retool::id::{OrganizationId, UserId};
use crate::retool::tables::{Page, Users};

/// A row of `organizations`, disabled ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Organization {
    /// Primary key.
    pub id: OrganizationId,
    /// Shown name.
    pub name: String,
}

const LIST: &str = r#"
SELECT o.id::int8 AS id, coalesce(o.name::text, '') AS name
FROM {organizations} o
WHERE o.id >= $1 AND o.id > 0
ORDER BY o.id
LIMIT $2
"#;

const GET: &str = r#"
SELECT o.id::int8 AS id, coalesce(o.name::text, '') AS name
FROM {organizations} o
WHERE o.id = $1
"#;

fn organization(row: &Row) -> Result<Organization, tokio_postgres::Error> {
    Ok(Organization { id: key(row, "id")?, name: row.try_get("name")? })
}

/// A page of the organizations, by key. Empty when there are none.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(database: &Database, page: Page) -> Result<Vec<Organization>, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&page.from, Type::INT8), (&page.limit, Type::INT8)];
    database.read("organizations.list", LIST, &parameters, organization).await
}

/// The organization, or `None` when there is no such row.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(
    database: &Database,
    id: OrganizationId,
) -> Result<Option<Organization>, DatabaseError> {
    Ok(database.read("organizations.get", GET, &[(&id.get(), Type::INT4)], organization).await?.pop())
}

/// What somebody holds on an organization as a whole: whether it is theirs, and what their groups give
/// them on everything in it. Levels do not cascade here: a universal `own` is not also a `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Who.
    pub user: UserId,
    /// What.
    pub rights: Rights,
}

/// A set of [`Right`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights(u16);

/// One thing that can be held on an organization, in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub(crate) enum Right {
    Member = 0,
    UniversalRead = 1,
    UniversalWrite = 2,
    UniversalOwn = 3,
    ResourceRead = 4,
    ResourceWrite = 5,
    ResourceOwn = 6,
    QueryLibraryRead = 7,
    QueryLibraryWrite = 8,
    QueryLibraryOwn = 9,
    UserList = 10,
    AuditLog = 11,
    UnpublishedRelease = 12,
}

impl Right {
    /// Every right, in their order.
    pub(crate) const ALL: [Self; 13] = [
        Self::Member,
        Self::UniversalRead,
        Self::UniversalWrite,
        Self::UniversalOwn,
        Self::ResourceRead,
        Self::ResourceWrite,
        Self::ResourceOwn,
        Self::QueryLibraryRead,
        Self::QueryLibraryWrite,
        Self::QueryLibraryOwn,
        Self::UserList,
        Self::AuditLog,
        Self::UnpublishedRelease,
    ];
}

impl Rights {
    /// The rights that the statements say in a number.
    pub(crate) fn from_bits(bits: i32) -> Self {
        Self(u16::try_from(bits).unwrap_or_default())
    }

    /// See [`Rights::from_bits`].
    pub(crate) fn bits(self) -> u16 {
        self.0
    }

    /// Whether the right is in the set.
    pub(crate) fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }
}

/// What the group `g` gives its members on its organization: the bits are those of [`Right`].
const RIGHTS: &str = r#"
    CASE g."universalAccess" WHEN 'read' THEN 1 << 1 WHEN 'write' THEN 1 << 2 WHEN 'own' THEN 1 << 3 ELSE 0 END
  | CASE g."universalResourceAccess" WHEN 'read' THEN 1 << 4 WHEN 'write' THEN 1 << 5 WHEN 'own' THEN 1 << 6 ELSE 0 END
  | CASE g."universalQueryLibraryAccess" WHEN 'read' THEN 1 << 7 WHEN 'write' THEN 1 << 8 WHEN 'own' THEN 1 << 9 ELSE 0 END
  | CASE WHEN g."userListAccess" THEN 1 << 10 ELSE 0 END
  | CASE WHEN g."auditLogAccess" THEN 1 << 11 ELSE 0 END
  | CASE WHEN g."unpublishedReleaseAccess" THEN 1 << 12 ELSE 0 END"#;

/// The statement with the rights of the group `g` in place of `{@rights}`.
pub(crate) fn with_rights(statement: &str) -> String {
    fill(statement, "rights", RIGHTS)
}

/// Everybody who holds anything, one row each.
///
/// The bits are those of [`Right`]. Users are taken in the order of their keys first, and what their
/// groups give them is looked up for those only, so that a page costs what it returns. A user of another
/// organization, or of none, holds what the organization's groups give, but is no member of it.
const HOLDERS: &str = r#"
WITH grantor AS {materialized} (
    SELECT g.id,
           {@rights} AS rights
    FROM {groups} g
    WHERE g."organizationId" = $1 AND g.id > 0 AND {g:groups.archivedAt} IS NULL
),
candidate AS {materialized} (
    SELECT u.id, CASE WHEN u."organizationId" = $1 THEN 1 ELSE 0 END AS rights
    FROM {users} u
    WHERE u.id >= $2 AND u.id > 0
      AND (u.enabled OR NOT $3)
      AND (u."organizationId" = $1
           OR ((u."organizationId" IS NULL OR u."organizationId" > 0)
               AND EXISTS (SELECT FROM {user_groups} ug JOIN grantor ON grantor.id = ug."groupId"
                           WHERE ug."userId" = u.id AND grantor.rights > 0)))
    ORDER BY u.id
    LIMIT $4
)
SELECT c.id::int8 AS id, (c.rights | coalesce(bit_or(grantor.rights), 0))::int4 AS rights
FROM candidate c
LEFT JOIN {user_groups} ug ON ug."userId" = c.id
LEFT JOIN grantor ON grantor.id = ug."groupId"
GROUP BY c.id, c.rights
ORDER BY c.id
"#;

/// A page of those who hold something on the organization, by user key. Empty when there is nobody, or no such
/// organization.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn holders(
    database: &Database,
    organization: OrganizationId,
    users: Users,
    page: Page,
) -> Result<Vec<Holder>, DatabaseError> {
    let enabled_only = users.enabled_only();
    let parameters: [Parameter<'_>; 4] = [
        (&organization.get(), Type::INT4),
        (&page.from, Type::INT8),
        (&enabled_only, Type::BOOL),
        (&page.limit, Type::INT8),
    ];
    database
        .read("organizations.holders", &with_rights(HOLDERS), &parameters, |row| {
            let bits: i32 = row.try_get("rights")?;
            Ok(Holder { user: key(row, "id")?, rights: Rights::from_bits(bits) })
        })
        .await
}

//! The table `organizations`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::database::{Database, key};
use crate::retool::error::DatabaseError;
use crate::retool::fragment::fill;
use crate::retool::id::{OrganizationId, UserId};
use crate::retool::tables::{Page, Users};

/// A row of `organizations`; disabled organizations are included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Organization {
    /// Primary key.
    pub id: OrganizationId,
    /// Display name.
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

/// A page of the organizations, by key. Empty if there are none.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(database: &Database, page: Page) -> Result<Vec<Organization>, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&page.from, Type::INT8), (&page.limit, Type::INT8)];
    database.read("organizations.list", LIST, &parameters, organization).await
}

/// The organization, or `None` if the row does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(
    database: &Database,
    id: OrganizationId,
) -> Result<Option<Organization>, DatabaseError> {
    Ok(database.read("organizations.get", GET, &[(&id.get(), Type::INT4)], organization).await?.pop())
}

/// A user's rights on an organization as a whole: the membership, and the rights that the user's groups grant
/// on everything in the organization. Levels do not cascade here: a universal `own` does not imply `write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The user.
    pub user: UserId,
    /// The rights.
    pub rights: Rights,
}

/// A set of [`Right`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rights(u16);

/// A right on an organization. The order is fixed.
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
    /// Every right, in order.
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
    /// The rights as the statements encode them in a number.
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

/// The rights that the group `g` grants its members on its organization; the bits are those of [`Right`]. A
/// level does not include the lower ones (decision no-org-cascade).
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

/// All holders of rights, one row each.
///
/// The bits are those of [`Right`]. The first step selects users by key, and the rights of their groups are
/// looked up only for these users, so that the cost of a page is proportional to its size. A user of another
/// organization, or of none, holds what the organization's groups grant, but is not a member
/// (decision organization-members).
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

/// A page of the holders of rights on the organization, by user key. Empty if there are none, or if the
/// organization does not exist.
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

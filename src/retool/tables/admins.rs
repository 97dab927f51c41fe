//! The other administrators of Retool: the enabled members of an organization's group `admin`.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::change::ADMIN;
use crate::retool::database::{Database, key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, UserId};

/// A group `admin` with the user as a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdminGroup {
    /// The group.
    pub group: GroupId,
    /// The number of its other members in the organization who may sign in.
    pub others: i64,
}

/// Counts only what a change would remove: a disabled user administers nothing, and an archived group grants
/// nothing.
const GROUPS_OF_USER: &str = r#"
SELECT g.id::int8 AS id,
       (SELECT count(*)
        FROM {user_groups} other
        JOIN {users} o ON o.id = other."userId"
        WHERE other."groupId" = g.id AND o.id <> u.id AND o.enabled
          AND o."organizationId" IS NOT DISTINCT FROM u."organizationId") AS others
FROM {users} u
JOIN {user_groups} own ON own."userId" = u.id
JOIN {groups} g ON g.id = own."groupId"
WHERE u.id = $1 AND u.enabled AND g.name = $2 AND (g."organizationId" IS NULL OR g."organizationId" = u."organizationId")
  AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
"#;

fn admin_group(row: &Row) -> Result<AdminGroup, tokio_postgres::Error> {
    Ok(AdminGroup { group: key(row, "id")?, others: row.try_get("others")? })
}

/// The groups `admin` of an enabled user in the user's own organization. Empty for any other user.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn groups_of(database: &Database, user: UserId) -> Result<Vec<AdminGroup>, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&user.get(), Type::INT4), (&ADMIN, Type::TEXT)];
    database.read("admins.groups_of_user", GROUPS_OF_USER, &parameters, admin_group).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn the_statement_mentions_known_columns() {
        assert!(mentions_only_optional_columns(GROUPS_OF_USER));
    }
}

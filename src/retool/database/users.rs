//! The table `users`.

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::Error;
use super::time::Timestamp;
use super::{Database, key, optional_key};
use crate::retool::id::{OrganizationId, UserId};

/// A row of `users`. Empty texts are as good as NULL in Retool and read as `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Primary key.
    pub id: UserId,
    /// The organization; Retool has users without one.
    pub organization: Option<OrganizationId>,
    /// Unique within the organization.
    pub email: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Unique in the whole database.
    pub user_name: Option<String>,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// `None` too when the database says `infinity`.
    pub last_logged_in: Option<OffsetDateTime>,
    /// Where the role may read it.
    pub created_at: Option<OffsetDateTime>,
    /// Where the role may read it.
    pub last_active: Option<OffsetDateTime>,
    /// `default`, `mobile` or `embed`, where the role may read it.
    pub user_type: Option<String>,
}

macro_rules! columns {
    () => {
        r#"
SELECT u.id::int8, u."organizationId"::int8, u.email::text, u."firstName"::text, u."lastName"::text, u."userName"::text,
       coalesce(u.enabled, false), u."lastLoggedIn"::timestamptz,
       {u:users.createdAt}::timestamptz, {u:users.lastActive}::timestamptz, {u:users.userType}::text
FROM users u
"#
    };
}

const LIST_OF_ORGANIZATION: &str = concat!(
    columns!(),
    r#"WHERE u."organizationId" = $1 AND u.id >= $2 AND u.id > 0 AND (u.enabled OR NOT $3)
ORDER BY u.id
LIMIT $4
"#
);

const LIST_WITHOUT_ORGANIZATION: &str = concat!(
    columns!(),
    r#"WHERE u."organizationId" IS NULL AND u.id >= $1 AND u.id > 0 AND (u.enabled OR NOT $2)
ORDER BY u.id
LIMIT $3
"#
);

const GET: &str = concat!(
    columns!(),
    r#"WHERE u.id = $1 AND (u."organizationId" IS NULL OR u."organizationId" > 0) AND (u.enabled OR NOT $2)
"#
);

fn user(row: &Row) -> Result<User, tokio_postgres::Error> {
    let text = |index: usize| -> Result<Option<String>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<String>>(index)?.filter(|text| !text.is_empty()))
    };
    let time = |index: usize| -> Result<Option<OffsetDateTime>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<Timestamp>>(index)?.and_then(|Timestamp(time)| time))
    };
    Ok(User {
        id: key(row, 0)?,
        organization: optional_key(row, 1)?,
        email: text(2)?,
        first_name: text(3)?,
        last_name: text(4)?,
        user_name: text(5)?,
        enabled: row.try_get(6)?,
        last_logged_in: time(7)?,
        created_at: time(8)?,
        last_active: time(9)?,
        user_type: text(10)?,
    })
}

/// Users of the organization, or those without one, by key from `from` on, `limit` at most. Empty when
/// there are none, or no such organization.
///
/// # Errors
/// See [`Error`].
pub async fn list(
    database: &Database,
    organization: Option<OrganizationId>,
    enabled_only: bool,
    from: i64,
    limit: i64,
) -> Result<Vec<User>, Error> {
    match organization {
        Some(organization) => {
            let parameters: [super::Parameter<'_>; 4] = [
                (&organization.get(), Type::INT4),
                (&from, Type::INT8),
                (&enabled_only, Type::BOOL),
                (&limit, Type::INT8),
            ];
            database.read("users.list", LIST_OF_ORGANIZATION, &parameters, user).await
        }
        None => {
            let parameters: [super::Parameter<'_>; 3] =
                [(&from, Type::INT8), (&enabled_only, Type::BOOL), (&limit, Type::INT8)];
            database.read("users.list", LIST_WITHOUT_ORGANIZATION, &parameters, user).await
        }
    }
}

/// The user, or `None` when there is no such row or, with `enabled_only`, when it is disabled.
///
/// # Errors
/// See [`Error`].
pub async fn get(database: &Database, id: UserId, enabled_only: bool) -> Result<Option<User>, Error> {
    let parameters: [super::Parameter<'_>; 2] = [(&id.get(), Type::INT4), (&enabled_only, Type::BOOL)];
    Ok(database.read("users.get", GET, &parameters, user).await?.pop())
}

#[cfg(test)]
mod tests {
    use super::super::sql::mentions_only_optional_columns;
    use super::*;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [LIST_OF_ORGANIZATION, LIST_WITHOUT_ORGANIZATION, GET] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

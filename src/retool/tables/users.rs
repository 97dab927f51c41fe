//! The table `users`.

use time::OffsetDateTime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::postgres::time::Timestamp;
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{OrganizationId, UserId};
use crate::retool::privileges::Column;
use crate::retool::tables::{Page, Users};

/// A row of `users`. Empty texts mean the same as NULL in Retool and are read as `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
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
    /// Also `None` if the database has `infinity`.
    pub last_logged_in: Option<OffsetDateTime>,
    /// If the role may read it.
    pub created_at: Option<OffsetDateTime>,
    /// If the role may read it.
    pub last_active: Option<OffsetDateTime>,
    /// `default`, `mobile` or `embed`, if the role may read it.
    pub user_type: Option<String>,
}

const LIST_OF_ORGANIZATION: &str = r#"
SELECT u.id::int8 AS id, u."organizationId"::int8 AS organization, u.email::text AS email,
       u."firstName"::text AS first_name, u."lastName"::text AS last_name, u."userName"::text AS user_name,
       coalesce(u.enabled, false) AS enabled, u."lastLoggedIn"::timestamptz AS last_logged_in,
       {u:users.createdAt}::timestamptz AS created_at, {u:users.lastActive}::timestamptz AS last_active,
       {u:users.userType}::text AS user_type
FROM {users} u
WHERE u."organizationId" = $1 AND u.id >= $2 AND u.id > 0 AND (u.enabled OR NOT $3)
ORDER BY u.id
LIMIT $4
"#;

const LIST_WITHOUT_ORGANIZATION: &str = r#"
SELECT u.id::int8 AS id, u."organizationId"::int8 AS organization, u.email::text AS email,
       u."firstName"::text AS first_name, u."lastName"::text AS last_name, u."userName"::text AS user_name,
       coalesce(u.enabled, false) AS enabled, u."lastLoggedIn"::timestamptz AS last_logged_in,
       {u:users.createdAt}::timestamptz AS created_at, {u:users.lastActive}::timestamptz AS last_active,
       {u:users.userType}::text AS user_type
FROM {users} u
WHERE u."organizationId" IS NULL AND u.id >= $1 AND u.id > 0 AND (u.enabled OR NOT $2)
ORDER BY u.id
LIMIT $3
"#;

const GET: &str = r#"
SELECT u.id::int8 AS id, u."organizationId"::int8 AS organization, u.email::text AS email,
       u."firstName"::text AS first_name, u."lastName"::text AS last_name, u."userName"::text AS user_name,
       coalesce(u.enabled, false) AS enabled, u."lastLoggedIn"::timestamptz AS last_logged_in,
       {u:users.createdAt}::timestamptz AS created_at, {u:users.lastActive}::timestamptz AS last_active,
       {u:users.userType}::text AS user_type
FROM {users} u
WHERE u.id = $1 AND (u."organizationId" IS NULL OR u."organizationId" > 0) AND (u.enabled OR NOT $2)
"#;

const GET_BY_SID: &str = r#"
SELECT u.id::int8 AS id, u."organizationId"::int8 AS organization, u.email::text AS email,
       u."firstName"::text AS first_name, u."lastName"::text AS last_name, u."userName"::text AS user_name,
       coalesce(u.enabled, false) AS enabled, u."lastLoggedIn"::timestamptz AS last_logged_in,
       {u:users.createdAt}::timestamptz AS created_at, {u:users.lastActive}::timestamptz AS last_active,
       {u:users.userType}::text AS user_type
FROM {users} u
WHERE {u:users.sid}::text = $1 AND u.id > 0 AND (u."organizationId" IS NULL OR u."organizationId" > 0)
"#;

/// Two rows suffice to detect that several users have the address.
const GET_BY_EMAIL: &str = r#"
SELECT u.id::int8 AS id, u."organizationId"::int8 AS organization, u.email::text AS email,
       u."firstName"::text AS first_name, u."lastName"::text AS last_name, u."userName"::text AS user_name,
       coalesce(u.enabled, false) AS enabled, u."lastLoggedIn"::timestamptz AS last_logged_in,
       {u:users.createdAt}::timestamptz AS created_at, {u:users.lastActive}::timestamptz AS last_active,
       {u:users.userType}::text AS user_type
FROM {users} u
WHERE lower(u.email) = lower($1) AND u.id > 0 AND (u."organizationId" IS NULL OR u."organizationId" > 0)
ORDER BY u.id
LIMIT 2
"#;

const ACCOUNT: &str = r#"
SELECT {u:users.sid}::text AS sid, coalesce(u.enabled, false) AS enabled
FROM {users} u
WHERE u.id = $1
"#;

/// The REST API's identifier of accounts. Not every role may read it.
const SID: Column = Column { table: "users", name: "sid" };

/// The columns of `users` that calls of the REST API need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The API's identifier of the account.
    pub sid: String,
    /// Whether the user may sign in.
    pub enabled: bool,
}

fn user(row: &Row) -> Result<User, tokio_postgres::Error> {
    let text = |column: &str| -> Result<Option<String>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<String>>(column)?.filter(|text| !text.is_empty()))
    };
    let time = |column: &str| -> Result<Option<OffsetDateTime>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<Timestamp>>(column)?.and_then(|Timestamp(time)| time))
    };
    Ok(User {
        id: key(row, "id")?,
        organization: optional_key(row, "organization")?,
        email: text("email")?,
        first_name: text("first_name")?,
        last_name: text("last_name")?,
        user_name: text("user_name")?,
        enabled: row.try_get("enabled")?,
        last_logged_in: time("last_logged_in")?,
        created_at: time("created_at")?,
        last_active: time("last_active")?,
        user_type: text("user_type")?,
    })
}

/// A page of the users of the organization, or of users without one, by key. Empty if there are none, or if
/// the organization does not exist.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn list(
    database: &Database,
    organization: Option<OrganizationId>,
    users: Users,
    page: Page,
) -> Result<Vec<User>, DatabaseError> {
    let enabled_only = users.enabled_only();
    match organization {
        Some(organization) => {
            let parameters: [Parameter<'_>; 4] = [
                (&organization.get(), Type::INT4),
                (&page.from, Type::INT8),
                (&enabled_only, Type::BOOL),
                (&page.limit, Type::INT8),
            ];
            database.read("users.list", LIST_OF_ORGANIZATION, &parameters, user).await
        }
        None => {
            let parameters: [Parameter<'_>; 3] =
                [(&page.from, Type::INT8), (&enabled_only, Type::BOOL), (&page.limit, Type::INT8)];
            database.read("users.list", LIST_WITHOUT_ORGANIZATION, &parameters, user).await
        }
    }
}

/// The user, or `None` if the row does not exist or `users` excludes it.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get(
    database: &Database,
    id: UserId,
    users: Users,
) -> Result<Option<User>, DatabaseError> {
    let enabled_only = users.enabled_only();
    let parameters: [Parameter<'_>; 2] = [(&id.get(), Type::INT4), (&enabled_only, Type::BOOL)];
    Ok(database.read("users.get", GET, &parameters, user).await?.pop())
}

/// The user with this sid of the REST API, or `None` if the row does not exist. Call [`require_sids`] first.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get_by_sid(database: &Database, sid: &str) -> Result<Option<User>, DatabaseError> {
    Ok(database.read("users.get_by_sid", GET_BY_SID, &[(&sid, Type::TEXT)], user).await?.pop())
}

/// The user with this email address, ignoring case. Also `None` if several users have it, which is possible
/// with more than one organization.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn get_by_email(database: &Database, email: &str) -> Result<Option<User>, DatabaseError> {
    let mut found = database.read("users.get_by_email", GET_BY_EMAIL, &[(&email, Type::TEXT)], user).await?;
    Ok(if found.len() == 1 { found.pop() } else { None })
}

/// The columns for the REST API, or `None` if the row does not exist. Call [`require_sids`] first.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn account(database: &Database, id: UserId) -> Result<Option<Account>, DatabaseError> {
    let account = |row: &Row| -> Result<Account, tokio_postgres::Error> {
        Ok(Account {
            sid: row.try_get::<_, Option<String>>("sid")?.unwrap_or_default(),
            enabled: row.try_get("enabled")?,
        })
    };
    Ok(database.read("users.account", ACCOUNT, &[(&id.get(), Type::INT4)], account).await?.pop())
}

/// Verifies that the role may read the sids of accounts, which a sync does not require.
///
/// # Errors
/// [`DatabaseError::MissingPrivileges`] with the GRANT to run; otherwise see [`DatabaseError`].
pub(crate) async fn require_sids(database: &Database) -> Result<(), DatabaseError> {
    if database.privileges().await?.readable(SID) {
        return Ok(());
    }
    // The privilege may have been granted in the meantime.
    database.probe().await?.require_column(SID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in
            [LIST_OF_ORGANIZATION, LIST_WITHOUT_ORGANIZATION, GET, GET_BY_SID, GET_BY_EMAIL, ACCOUNT]
        {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

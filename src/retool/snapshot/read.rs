//! Reads a snapshot with one statement per table, all in one transaction.

use std::ops::ControlFlow;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::numbers;
use crate::postgres::consistent::ConsistentRead;
use crate::postgres::error::PostgresError;
use crate::postgres::statement::Parameter;
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId, UserId};
use crate::retool::privileges::{Privileges, Scope};
use crate::retool::snapshot::build::{Builder, Kind, rank};
use crate::retool::snapshot::items::Item;
use crate::retool::snapshot::principals::GroupFacts;
use crate::retool::snapshot::whole::Snapshot;
use crate::retool::tables;
use crate::retool::tables::managed_groups::{ManagedGroupNames, with_conditions_for};
use crate::retool::tables::organizations::{Rights, with_rights};
use crate::retool::template;

const ORGANIZATIONS: &str = r#"
SELECT o.id::int8 FROM {organizations} o WHERE o.id > 0
"#;

const GROUPS: &str = r#"
SELECT g.id::int8, CASE WHEN g."organizationId" > 0 THEN g."organizationId"::int8 END, ({@rights})::int4
FROM {groups} g
WHERE g.id > 0 AND {g:groups.archivedAt} IS NULL
"#;

/// The same users as in [`users::list`](crate::retool::tables::users::list).
const USERS: &str = r#"
SELECT u.id::int8, u."organizationId"::int8
FROM {users} u
WHERE u.id > 0 AND (u."organizationId" IS NULL OR u."organizationId" > 0) AND (u.enabled OR NOT $1)
"#;

const MEMBERSHIPS: &str = r#"
SELECT ug."groupId"::int8, ug."userId"::int8, coalesce(ug."isAdmin", false)
FROM {user_groups} ug
WHERE ug."groupId" > 0 AND ug."userId" > 0
"#;

const PAGES: &str = r#"
SELECT p.id::int8, p."organizationId"::int8, p."folderId"::int8
FROM {pages} p
WHERE p.id > 0 AND p."organizationId" > 0 AND p."deletedAt" IS NULL
"#;

const GROUP_PAGES: &str = r#"
SELECT gp."groupId"::int8, gp."pageId"::int8,
       CASE gp."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END
FROM {group_pages} gp
WHERE gp."groupId" > 0 AND gp."pageId" > 0
"#;

/// The first condition checks only names and leaves few groups for the other conditions, which match a name
/// against a pattern for each page.
const MANAGED: &str = r#"
SELECT gp."groupId"::int8, gp."pageId"::int8
FROM {groups} g
JOIN {group_pages} gp ON gp."groupId" = g.id
WHERE (left(g.name::text, length($1)) = $1 OR g.name::text LIKE '%-group-%')
  AND gp."groupId" > 0 AND gp."pageId" > 0 AND coalesce({@managed_group}, false)
"#;

const GROUP_FOLDER_DEFAULTS: &str = r#"
SELECT gf."groupId"::int8, gf."folderId"::int8,
       CASE gf."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END
FROM {group_folder_defaults} gf
WHERE gf."groupId" > 0 AND gf."folderId" IS NOT NULL
"#;

const RESOURCES: &str = r#"
SELECT r.id::int8, r."organizationId"::int8, r."resourceFolderId"::int8
FROM {resources} r
WHERE r.id > 0 AND r."organizationId" > 0
"#;

/// A row names a resource in one of two columns, or two resources.
const GROUP_RESOURCES: &str = r#"
SELECT gr."groupId"::int8, gr."resourceId"::int8, {gr:group_resources.resourceIdForEnv}::int8,
       CASE gr."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END
FROM {group_resources} gr
WHERE gr."groupId" > 0
"#;

const GROUP_RESOURCE_FOLDER_DEFAULTS: &str = r#"
SELECT gf."groupId"::int8, gf."resourceFolderId"::int8,
       CASE gf."accessLevel" WHEN 'own' THEN 3 WHEN 'write' THEN 2 WHEN 'read' THEN 1 ELSE 0 END
FROM {group_resource_folder_defaults} gf
WHERE gf."groupId" > 0 AND gf."resourceFolderId" IS NOT NULL
"#;

/// Content and size limit of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The names of managed groups.
    pub names: ManagedGroupNames,
    /// The users that are principals.
    pub users: tables::Users,
    /// Memory limit while the snapshot is read, in bytes.
    pub most_bytes: usize,
}

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ReadError {
    /// It exceeds the memory limit.
    #[error("a snapshot of access takes more than {}", numbers::size(*most_bytes))]
    TooLarge {
        /// The limit in bytes.
        most_bytes: usize,
    },
    /// The database returned an error.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<PostgresError> for ReadError {
    fn from(error: PostgresError) -> Self {
        Self::Database(error.into())
    }
}

/// Reads a snapshot of everything in the database's scope. No transaction is open afterwards.
///
/// # Errors
/// [`ReadError::TooLarge`] as soon as the limit is exceeded; [`ReadError::Database`] as for any statement.
pub(crate) async fn read(database: &Database, limits: Limits) -> Result<Snapshot, ReadError> {
    let privileges = database.privileges().await?;
    match attempt(database, &privileges, limits).await {
        Err(ReadError::Database(error)) if error.is_refusal() => {
            // A privilege that the statements do not require may have been revoked in the meantime.
            let privileges = database.probe().await?;
            privileges.require(database.scope())?;
            attempt(database, &privileges, limits).await
        }
        result => result,
    }
}

async fn attempt(
    database: &Database,
    privileges: &Privileges,
    limits: Limits,
) -> Result<Snapshot, ReadError> {
    let read = ConsistentRead::begin(database.pool()).await?;
    let builder = match rows(&read, database.scope(), privileges, limits).await {
        Ok(builder) => builder,
        Err(error) => {
            read.abandon().await;
            return Err(error);
        }
    };
    read.end().await?;
    // Sorting millions of rows would block other calls.
    let finished = tokio::task::spawn_blocking(move || builder.finish()).await;
    finished.map_err(|error| {
        let reason = format!("a snapshot of access could not be made: {error}").into();
        PostgresError::Statement { reason }.into()
    })
}

/// Reads the rows of the snapshot.
async fn rows(
    read: &ConsistentRead<'_>,
    scope: Scope,
    privileges: &Privileges,
    limits: Limits,
) -> Result<Builder, ReadError> {
    let builder = Builder::new(limits.most_bytes);
    let mut reading = Reading { read, privileges, most_bytes: limits.most_bytes, builder };
    reading.principals(limits.users).await?;
    if !scope.skip_pages {
        reading.pages(limits.names).await?;
    }
    if !scope.skip_resources {
        reading.resources().await?;
    }
    Ok(reading.builder)
}

/// The state of reading a snapshot.
struct Reading<'a> {
    read: &'a ConsistentRead<'a>,
    privileges: &'a Privileges,
    most_bytes: usize,
    builder: Builder,
}

type Taken = Result<ControlFlow<()>, tokio_postgres::Error>;

impl Reading<'_> {
    /// Reads organizations, groups, users and memberships.
    async fn principals(&mut self, users: tables::Users) -> Result<(), ReadError> {
        self.each("snapshot.organizations", ORGANIZATIONS, &[], |builder, row| {
            Ok(builder.organization(number(key::<OrganizationId>(row, 0)?.get())))
        })
        .await?;
        self.each("snapshot.groups", &with_rights(GROUPS), &[], |builder, row| {
            let organization = optional_key::<OrganizationId>(row, 1)?;
            let facts = GroupFacts {
                organization: organization.map(|key| number(key.get())).unwrap_or_default(),
                rights: Rights::from_bits(row.try_get(2)?),
            };
            Ok(builder.group(number(key::<GroupId>(row, 0)?.get()), facts))
        })
        .await?;
        self.builder.all_groups();
        let enabled_only = users.enabled_only();
        self.each("snapshot.users", USERS, &[(&enabled_only, Type::BOOL)], |builder, row| {
            let organization = optional_key::<OrganizationId>(row, 1)?;
            let organization = organization.map(|key| number(key.get())).unwrap_or_default();
            Ok(builder.user(number(key::<UserId>(row, 0)?.get()), organization))
        })
        .await?;
        self.each("snapshot.memberships", MEMBERSHIPS, &[], |builder, row| {
            let (group, user) = (key::<GroupId>(row, 0)?, key::<UserId>(row, 1)?);
            Ok(builder.membership(number(group.get()), number(user.get()), row.try_get(2)?))
        })
        .await
    }

    async fn pages(&mut self, names: ManagedGroupNames) -> Result<(), ReadError> {
        self.each("snapshot.pages", PAGES, &[], |builder, row| {
            let (page, organization) = (key::<PageId>(row, 0)?, key::<OrganizationId>(row, 1)?);
            Ok(builder.item(Kind::Pages, item(page.get(), organization, row)?))
        })
        .await?;
        self.each("snapshot.group_pages", GROUP_PAGES, &[], |builder, row| {
            let (group, page) = (key::<GroupId>(row, 0)?, key::<PageId>(row, 1)?);
            let rank = rank(row.try_get(2)?);
            Ok(builder.item_row(Kind::Pages, number(page.get()), number(group.get()), rank))
        })
        .await?;
        let managed = with_conditions_for(MANAGED, r#"gp."pageId""#, "$1");
        self.each("snapshot.managed_groups", &managed, &[(&names.prefix, Type::TEXT)], |builder, row| {
            let (group, page) = (key::<GroupId>(row, 0)?, key::<PageId>(row, 1)?);
            Ok(builder.managed(number(page.get()), number(group.get())))
        })
        .await?;
        self.folders("snapshot.group_folder_defaults", GROUP_FOLDER_DEFAULTS, Kind::Pages).await
    }

    async fn resources(&mut self) -> Result<(), ReadError> {
        self.each("snapshot.resources", RESOURCES, &[], |builder, row| {
            let (resource, organization) = (key::<ResourceId>(row, 0)?, key::<OrganizationId>(row, 1)?);
            Ok(builder.item(Kind::Resources, item(resource.get(), organization, row)?))
        })
        .await?;
        self.each("snapshot.group_resources", GROUP_RESOURCES, &[], |builder, row| {
            let group = number(key::<GroupId>(row, 0)?.get());
            let rank = rank(row.try_get(3)?);
            for column in [1, 2] {
                let named = row.try_get::<_, Option<i64>>(column)?;
                // A number that is not a key names no resource.
                let Some(resource) = named.and_then(|named| ResourceId::try_from(named).ok()) else {
                    continue;
                };
                if builder.item_row(Kind::Resources, number(resource.get()), group, rank).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        let statement = GROUP_RESOURCE_FOLDER_DEFAULTS;
        self.folders("snapshot.group_resource_folder_defaults", statement, Kind::Resources).await
    }

    async fn folders(&mut self, name: &'static str, statement: &str, of: Kind) -> Result<(), ReadError> {
        self.each(name, statement, &[], |builder, row| {
            let group = number(key::<GroupId>(row, 0)?.get());
            Ok(builder.folder_row(of, row.try_get(1)?, group, rank(row.try_get(2)?)))
        })
        .await
    }

    async fn each(
        &mut self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        mut take: impl FnMut(&mut Builder, &Row) -> Taken,
    ) -> Result<(), ReadError> {
        let statement = template::render(statement, self.privileges);
        let builder = &mut self.builder;
        match self.read.each(name, &statement, parameters, |row| take(builder, row)).await? {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ReadError::TooLarge { most_bytes: self.most_bytes }),
        }
    }
}

/// Converts a key, which is always positive.
fn number(key: i32) -> u32 {
    key.unsigned_abs()
}

fn item(key: i32, organization: OrganizationId, row: &Row) -> Result<Item, tokio_postgres::Error> {
    Ok(Item { key: number(key), organization: number(organization.get()), folder: row.try_get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [
            ORGANIZATIONS,
            &with_rights(GROUPS),
            USERS,
            MEMBERSHIPS,
            PAGES,
            GROUP_PAGES,
            &with_conditions_for(MANAGED, r#"gp."pageId""#, "$1"),
            GROUP_FOLDER_DEFAULTS,
            RESOURCES,
            GROUP_RESOURCES,
            GROUP_RESOURCE_FOLDER_DEFAULTS,
        ] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

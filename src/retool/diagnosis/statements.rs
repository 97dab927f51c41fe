//! Measures the number of rows and the duration of the heaviest statements of a sync.

use std::time::{Duration, Instant};

use tokio_postgres::Row;

use crate::postgres::statement::only;
use crate::retool::database::{Database, key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId};
use crate::retool::privileges::reads::reads_of;
use crate::retool::tables::managed_groups::ManagedGroupNames;
use crate::retool::tables::{Page, Users, groups, organizations, pages, resources, users};

/// The page size of the listings.
const PAGE: Page = Page { from: 0, limit: 16_000 };

/// The measurements.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Each table that is read, with its number of rows.
    pub rows: Vec<(&'static str, i64)>,
    /// The statements, slowest first.
    pub timed: Vec<Timed>,
}

/// A statement of a sync, run on its largest object.
#[derive(Debug, Clone)]
pub(crate) struct Timed {
    /// The listing.
    pub what: Listing,
    /// The number of rows returned.
    pub rows: usize,
    /// The duration, including the round trip.
    pub took: Duration,
}

/// A listing, run on the largest object of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listing {
    /// The users of an organization.
    Users(OrganizationId),
    /// The groups of an organization.
    Groups(OrganizationId),
    /// The members of an organization, and the holders of its rights.
    Holders(OrganizationId),
    /// The pages of an organization.
    Pages(OrganizationId),
    /// The resources of an organization.
    Resources(OrganizationId),
    /// The members of a group.
    Members(GroupId),
    /// The holders of access to a page.
    PageAccess(PageId),
    /// The holders of access to a resource.
    ResourceAccess(ResourceId),
}

const LARGEST_ORGANIZATION: &str = r#"
SELECT u."organizationId"::int8 AS id FROM {users} u WHERE u."organizationId" > 0 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1
"#;
const LARGEST_GROUP: &str = r#"
SELECT m."groupId"::int8 AS id FROM {user_groups} m WHERE m."groupId" > 0 GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1
"#;
const LARGEST_PAGE: &str = r#"
SELECT p.id::int8 AS id
FROM {pages} p
LEFT JOIN {group_pages} gp ON gp."pageId" = p.id
WHERE p."organizationId" > 0 AND p."deletedAt" IS NULL AND p.id > 0
GROUP BY 1 ORDER BY count(gp."groupId") DESC, 1 LIMIT 1
"#;
const LARGEST_RESOURCE: &str = r#"
SELECT r.id::int8 AS id
FROM {resources} r
LEFT JOIN {group_resources} gr ON gr."resourceId" = r.id
WHERE r."organizationId" > 0 AND r.id > 0
GROUP BY 1 ORDER BY count(gr."groupId") DESC, 1 LIMIT 1
"#;

/// Counts the rows of every table that is read, and runs one listing of each kind on the largest object of
/// its kind.
///
/// # Errors
/// The error of the first statement that fails; see [`DatabaseError`].
pub(crate) async fn measure(
    database: &Database,
    names: ManagedGroupNames,
) -> Result<Measured, DatabaseError> {
    let scope = database.scope();
    let mut rows = Vec::new();
    for reads in reads_of(scope) {
        let count = format!("SELECT count(*) AS rows FROM {{{}}}", reads.table);
        rows.push((
            reads.table,
            only(database.read_once("diagnosis.count", &count, &[], |row| row.try_get("rows")).await?)?,
        ));
    }
    let mut timed = Vec::new();
    if let Some(organization) =
        largest::<OrganizationId>(database, LARGEST_ORGANIZATION, organization).await?
    {
        let of = Some(organization);
        time(&mut timed, Listing::Users(organization), users::list(database, of, Users::All, PAGE)).await?;
        time(&mut timed, Listing::Groups(organization), groups::list(database, of, PAGE)).await?;
        let holders = organizations::holders(database, organization, Users::All, PAGE);
        time(&mut timed, Listing::Holders(organization), holders).await?;
        if !scope.skip_pages {
            let listed = pages::list(database, organization, PAGE);
            time(&mut timed, Listing::Pages(organization), listed).await?;
        }
        if !scope.skip_resources {
            let listed = resources::list(database, organization, PAGE);
            time(&mut timed, Listing::Resources(organization), listed).await?;
        }
    }
    if let Some(group) = largest::<GroupId>(database, LARGEST_GROUP, group).await? {
        let members = groups::members(database, group, Users::All, PAGE);
        time(&mut timed, Listing::Members(group), members).await?;
    }
    if !scope.skip_pages
        && let Some(page) = largest::<PageId>(database, LARGEST_PAGE, page).await?
    {
        let holders = pages::holders(database, page, names, Users::All, PAGE);
        time(&mut timed, Listing::PageAccess(page), holders).await?;
    }
    if !scope.skip_resources
        && let Some(resource) = largest::<ResourceId>(database, LARGEST_RESOURCE, resource).await?
    {
        let access = resources::user_access(database, resource, Users::All, PAGE);
        time(&mut timed, Listing::ResourceAccess(resource), access).await?;
    }
    timed.sort_by_key(|timed| std::cmp::Reverse(timed.took));
    Ok(Measured { rows, timed })
}

async fn time<T>(
    timed: &mut Vec<Timed>,
    what: Listing,
    listing: impl Future<Output = Result<Vec<T>, DatabaseError>>,
) -> Result<(), DatabaseError> {
    let began = Instant::now();
    let rows = listing.await?.len();
    timed.push(Timed { what, rows, took: began.elapsed() });
    Ok(())
}

async fn largest<T>(
    database: &Database,
    statement: &str,
    from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Option<T>, DatabaseError> {
    Ok(database.read_once("diagnosis.listing", statement, &[], from_row).await?.pop())
}

fn organization(row: &Row) -> Result<OrganizationId, tokio_postgres::Error> {
    key(row, "id")
}

fn group(row: &Row) -> Result<GroupId, tokio_postgres::Error> {
    key(row, "id")
}

fn page(row: &Row) -> Result<PageId, tokio_postgres::Error> {
    key(row, "id")
}

fn resource(row: &Row) -> Result<ResourceId, tokio_postgres::Error> {
    key(row, "id")
}

const MIGRATIONS: &str = r#"SELECT count(*) AS made, max(m.name)::text AS last FROM {SequelizeMeta} m"#;

/// Returns the number of migrations that Retool has run, and the last one by name.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn migrations(database: &Database) -> Result<(i64, Option<String>), DatabaseError> {
    Ok(only(
        database
            .read_once("diagnosis.migrations", MIGRATIONS, &[], |row| {
                Ok((row.try_get("made")?, row.try_get("last")?))
            })
            .await?,
    )?)
}

/// Apps and resources in a folder below another folder, at any depth, that grants access to a group. This
/// access does not apply to them. UNION keeps each folder once, so cycles of folders end the recursion.
const FOLDERS_INSIDE_OTHERS: &str = r#"
WITH RECURSIVE folders_below (id) AS (
    SELECT f.id FROM {folders} f
    WHERE EXISTS (SELECT FROM {group_folder_defaults} d WHERE d."folderId" = f."parentFolderId")
    UNION
    SELECT f.id FROM folders_below above JOIN {folders} f ON f."parentFolderId" = above.id
),
resource_folders_below (id) AS (
    SELECT f.id FROM {resource_folders} f
    WHERE EXISTS (SELECT FROM {group_resource_folder_defaults} d WHERE d."resourceFolderId" = f."parentFolderId")
    UNION
    SELECT f.id FROM resource_folders_below above JOIN {resource_folders} f ON f."parentFolderId" = above.id
)
SELECT (SELECT count(*) FROM {pages} p JOIN folders_below f ON f.id = p."folderId" WHERE p."deletedAt" IS NULL) AS apps,
       (SELECT count(*) FROM {resources} r JOIN resource_folders_below f ON f.id = r."resourceFolderId") AS resources
"#;

/// Returns the number of apps and the number of resources in a folder below another that grants access to a
/// group.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn folders_inside_others(database: &Database) -> Result<(i64, i64), DatabaseError> {
    let read = |row: &Row| Ok((row.try_get("apps")?, row.try_get("resources")?));
    Ok(only(database.read_once("diagnosis.folders", FOLDERS_INSIDE_OTHERS, &[], read).await?)?)
}

const LAST_EVENT: &str = r#"
SELECT (extract(epoch FROM now() - e."createdAt") / 3600)::int8 AS hours
FROM {audit_trail_events} e
ORDER BY e.id DESC
LIMIT 1
"#;

/// Returns the age of the last entry in Retool's audit log in hours; `None` for an empty log.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn last_event(database: &Database) -> Result<Option<i64>, DatabaseError> {
    Ok(database.read_once("diagnosis.last_event", LAST_EVENT, &[], |row| row.try_get("hours")).await?.pop())
}

//! A single user's access to a page, through a managed group (decision 7.5).

use futures_util::FutureExt;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::postgres::statement::only;
use crate::retool::access::{Access, AccessLevel};
use crate::retool::change::{Item, ManagedProblem, Refusal, Source};
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, UserId};
use crate::retool::privileges::{Feature, MissingPrivileges, RIGHTS_BY_DEFAULT};
use crate::retool::tables::managed_groups;
use crate::retool::tables::managed_groups::{is_managed, nothing_but_a_page};
use crate::retool::tables::memberships;
use crate::retool::tables::memberships::Changed;
use crate::retool::tables::page_access::level::set_level;
use crate::retool::tables::pages::access;
use crate::retool::transaction::{ChangeError, Lock, Mode, Transaction, changed_meanwhile};

/// What a user may do with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserAccess {
    /// The highest level, through whichever group.
    pub effective: Option<AccessLevel>,
    /// Whether a managed group of the level that the change is about has the user.
    pub direct: bool,
}

/// A page and a user as a change finds them.
struct State {
    page: Option<OrganizationId>,
    user: Option<UserFacts>,
}

struct UserFacts {
    organization: Option<OrganizationId>,
    enabled: bool,
}

/// Always one row, whatever of the two exists; a deleted page, and one without an organization, do not.
const STATE: &str = r#"
SELECT p."organizationId"::int8 AS page_organization,
       u.id IS NOT NULL AS has_user, u."organizationId"::int8 AS user_organization,
       coalesce(u.enabled, false) AS enabled
FROM (SELECT $1::int8 AS page_id, $2::int8 AS user_id) asked
LEFT JOIN pages p ON p.id = asked.page_id AND p."deletedAt" IS NULL AND p."organizationId" > 0
LEFT JOIN users u ON u.id = asked.user_id
"#;

/// A group that has the user and may do something with the page.
struct Through {
    group: GroupId,
    name: String,
    access: Access,
    managed: bool,
}

const THROUGH: &str = concat!(
    r#"
SELECT g.id::int8, coalesce(g.name::text, '') AS group_name, g."universalAccess"::text AS universal,
       gp."pageId" IS NOT NULL AS has_own_row, gp."accessLevel"::text AS explicit,
       gf."accessLevel"::text AS folder, coalesce("#,
    is_managed!(),
    r#", false) AS managed
FROM user_groups m
JOIN groups g ON g.id = m."groupId"
JOIN pages p ON p.id = $1 AND p."organizationId" = g."organizationId"
LEFT JOIN group_pages gp ON gp."groupId" = g.id AND gp."pageId" = p.id
LEFT JOIN group_folder_defaults gf ON gf."groupId" = g.id AND gf."folderId" = p."folderId"
WHERE m."userId" = $2 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
"#
);

/// The group of a managed group's name, and what it is. It gives nothing but access to the page only when it
/// has none of the rights that can be seen, those included that the former program's groups all had (D4).
struct Named {
    group: GroupId,
    archived: bool,
    alone: bool,
    level: Option<AccessLevel>,
    has_members: bool,
}

const NAMED: &str = concat!(
    r#"
SELECT g.id::int8, {g:groups.archivedAt} IS NOT NULL AS archived, coalesce("#,
    nothing_but_a_page!("$3"),
    r#" AND NOT coalesce(g."unpublishedReleaseAccess", false), false) AS alone, gp."accessLevel"::text AS level,
       EXISTS (SELECT FROM user_groups m WHERE m."groupId" = g.id AND m."userId" IS NOT NULL) AS has_members
FROM groups g
LEFT JOIN group_pages gp ON gp."groupId" = g.id AND gp."pageId" = $3
WHERE g.name = $1 AND g."organizationId" = $2
"#
);

/// A new group with every right off; `[rights]` and `[off]` are those of [`RIGHTS_BY_DEFAULT`].
const MAKE: &str = r#"
INSERT INTO groups (name, "organizationId", "createdAt", "updatedAt"[rights])
VALUES ($1, $2, now(), now()[off])
ON CONFLICT (name, "organizationId") DO NOTHING
RETURNING id::int8
"#;

const LEAVE: &str = r#"
DELETE FROM user_groups WHERE "userId" = $1 AND "groupId" = ANY ($2) RETURNING "userId"
"#;

const TO_GRANT: &[Feature] = &[Feature::Groups, Feature::Pages, Feature::ManagedGroups];
const TO_REVOKE: &[Feature] = &[Feature::Groups];

/// Raises the user to at least this level on the page, by the managed group of page and level.
///
/// # Errors
/// [`Refusal::NoPage`], [`Refusal::NoUser`], [`Refusal::DisabledUser`] with `enabled_only`,
/// [`Refusal::DifferentOrganizations`], [`Refusal::NoOrganization`], [`Refusal::NotManaged`]; see [`DatabaseError`].
pub async fn grant_user(
    database: &Database,
    mode: Mode,
    page: PageId,
    user: UserId,
    level: AccessLevel,
    enabled_only: bool,
) -> Result<Changed<UserAccess>, ChangeError> {
    database
        .change(TO_GRANT, mode, |transaction| raise(transaction, page, user, level, enabled_only).boxed())
        .await
}

/// Takes the user out of every managed group of page and level, those of the former program included. A
/// level that the user does not have needs nothing. No group is ever removed. Other groups may give the
/// level all the same, as the access afterwards says.
///
/// # Errors
/// [`Refusal::AccessRemains`] when the user is in no such group and has the level through others. See
/// [`DatabaseError`].
pub async fn revoke_user(
    database: &Database,
    mode: Mode,
    page: PageId,
    user: UserId,
    level: AccessLevel,
) -> Result<Changed<UserAccess>, ChangeError> {
    database.change(TO_REVOKE, mode, |transaction| lower(transaction, page, user, level).boxed()).await
}

async fn raise(
    transaction: &Transaction<'_>,
    page: PageId,
    user: UserId,
    level: AccessLevel,
    enabled_only: bool,
) -> Result<Changed<UserAccess>, ChangeError> {
    transaction.lock(&[Lock::Page(page)]).await?;
    let state = state(transaction, page, user).await?;
    let organization = state.page.ok_or(Refusal::NoPage(page))?;
    let facts = state.user.ok_or(Refusal::NoUser(user))?;
    match facts.organization {
        Some(of_user) if of_user == organization => {}
        Some(_) => return Err(Refusal::DifferentOrganizations(Item::User(user), Item::Page(page)).into()),
        None => return Err(Refusal::NoOrganization(Item::User(user)).into()),
    }
    if enabled_only && !facts.enabled {
        return Err(Refusal::DisabledUser(user).into());
    }
    let through = through(transaction, page, user).await?;
    let before = user_access(&through, level);
    if before.effective >= Some(level) {
        return Ok(Changed { before, after: before });
    }
    let name = managed_groups::name(page, level);
    let known = named(transaction, &name, organization, page).await?;
    if let Some(known) = &known {
        known.check(&name, level)?;
    }
    if !transaction.is_dry_run() {
        let group = match known {
            Some(known) => known.group,
            None => make(transaction, &name, organization, page, level).await?,
        };
        transaction.lock(&[Lock::Group(group)]).await?;
        // The row may have its level already, from a user before this one. Either way it stays as it is now
        // until we are done, and nobody gets more than was asked for.
        set_level(transaction, page, group, level).await?;
        let now = named(transaction, &name, organization, page)
            .await?
            .ok_or_else(|| changed_meanwhile("the access to the page"))?;
        now.check(&name, level)?;
        if now.level != Some(level) {
            return Err(changed_meanwhile("the access to the page").into());
        }
        memberships::insert(transaction, group, user, false).await?;
    }
    Ok(Changed { before, after: UserAccess { effective: Some(level), direct: true } })
}

async fn lower(
    transaction: &Transaction<'_>,
    page: PageId,
    user: UserId,
    level: AccessLevel,
) -> Result<Changed<UserAccess>, ChangeError> {
    transaction.lock(&[Lock::Page(page)]).await?;
    let state = state(transaction, page, user).await?;
    let through = through(transaction, page, user).await?;
    let before = user_access(&through, level);
    let listed = match (state.page, &state.user) {
        (Some(of_page), Some(facts)) => facts.organization.is_none_or(|of_user| of_user == of_page),
        _ => false,
    };
    let before = if listed { before } else { UserAccess { effective: None, direct: false } };
    if before.effective < Some(level) {
        return Ok(Changed { before, after: before });
    }
    let (taken, left): (Vec<Through>, Vec<Through>) =
        through.into_iter().partition(|through| through.is_direct(level));
    if taken.is_empty() {
        let sources: Vec<Source> = left.iter().flat_map(|through| through.sources(level)).collect();
        return Err(Refusal::AccessRemains { holder: Item::User(user), page, level, sources }.into());
    }
    let after = user_access(&left, level);
    if !transaction.is_dry_run() {
        let locks: Vec<Lock> = taken.iter().map(|through| Lock::Group(through.group)).collect();
        transaction.lock(&locks).await?;
        let groups: Vec<i32> = taken.iter().map(|through| through.group.get()).collect();
        let parameters: [Parameter<'_>; 2] = [(&user.get(), Type::INT4), (&groups, Type::INT4_ARRAY)];
        if transaction.write("managed_groups.leave", LEAVE, &parameters).await? < groups.len() {
            return Err(changed_meanwhile("the access to the page").into());
        }
    }
    Ok(Changed { before, after })
}

/// Makes the managed group. When somebody else makes it in the same moment, theirs is taken, if it is as
/// ours would be.
async fn make(
    transaction: &Transaction<'_>,
    name: &str,
    organization: OrganizationId,
    page: PageId,
    level: AccessLevel,
) -> Result<GroupId, ChangeError> {
    let rights = transaction.read("managed_groups.rights_by_default", RIGHTS_BY_DEFAULT, &[], |row| {
        let (name, is_switch): (String, bool) = (row.try_get("name")?, row.try_get("is_switch")?);
        Ok((name, is_switch, row.try_get::<_, bool>("settable")?))
    });
    let rights = rights.await?;
    let closed: Vec<String> =
        rights.iter().filter(|(_, _, settable)| !settable).map(|(name, ..)| name.clone()).collect();
    if !closed.is_empty() {
        let role = transaction.privileges().role();
        return Err(DatabaseError::from(MissingPrivileges::to_insert_groups(role, &closed)).into());
    }
    let columns: String =
        rights.iter().map(|(name, ..)| format!(", \"{}\"", name.replace('"', "\"\""))).collect();
    let off: String =
        rights.iter().map(|(_, is_switch, _)| if *is_switch { ", false" } else { ", 'none'" }).collect();
    let statement = MAKE.replace("[rights]", &columns).replace("[off]", &off);
    let parameters: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&organization.get(), Type::INT4)];
    if let Some(made) =
        transaction.read("managed_groups.make", &statement, &parameters, |row| key(row, 0)).await?.pop()
    {
        return Ok(made);
    }
    let theirs = named(transaction, name, organization, page)
        .await?
        .ok_or_else(|| changed_meanwhile("the access to the page"))?;
    theirs.check(name, level)?;
    Ok(theirs.group)
}

async fn state(transaction: &Transaction<'_>, page: PageId, user: UserId) -> Result<State, DatabaseError> {
    let parameters: [Parameter<'_>; 2] =
        [(&i64::from(page.get()), Type::INT8), (&i64::from(user.get()), Type::INT8)];
    let rows = transaction.read("managed_groups.state", STATE, &parameters, |row| {
        let user = UserFacts { organization: optional_key(row, 2)?, enabled: row.try_get("enabled")? };
        Ok(State { page: optional_key(row, 0)?, user: row.try_get::<_, bool>("has_user")?.then_some(user) })
    });
    Ok(only(rows.await?)?)
}

async fn through(
    transaction: &Transaction<'_>,
    page: PageId,
    user: UserId,
) -> Result<Vec<Through>, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&page.get(), Type::INT4), (&user.get(), Type::INT4)];
    let rows = transaction.read("managed_groups.through", THROUGH, &parameters, |row| {
        Ok(Through {
            group: key(row, 0)?,
            name: row.try_get("group_name")?,
            access: access(row)?,
            managed: row.try_get("managed")?,
        })
    });
    rows.await
}

async fn named(
    transaction: &Transaction<'_>,
    name: &str,
    organization: OrganizationId,
    page: PageId,
) -> Result<Option<Named>, DatabaseError> {
    let parameters: [Parameter<'_>; 3] =
        [(&name, Type::TEXT), (&organization.get(), Type::INT4), (&page.get(), Type::INT4)];
    let rows = transaction.read("managed_groups.named", NAMED, &parameters, |row| {
        Ok(Named {
            group: key(row, 0)?,
            archived: row.try_get("archived")?,
            alone: row.try_get("alone")?,
            level: row.try_get::<_, Option<&str>>("level")?.and_then(AccessLevel::from_database),
            has_members: row.try_get("has_members")?,
        })
    });
    Ok(rows.await?.pop())
}

impl Through {
    /// Whether this is a managed group of that very level.
    fn is_direct(&self, level: AccessLevel) -> bool {
        self.managed && self.access.explicit.flatten() == Some(level)
    }

    /// What gives `level` or more through this group.
    fn sources(&self, level: AccessLevel) -> impl Iterator<Item = Source> {
        let ways = self.access.ways(level);
        ways.map(|(way, level)| Source { group: self.group, name: self.name.clone(), way, level })
    }
}

impl Named {
    /// Whether a user may be put into the group: nobody, neither the user nor those who are in it, may get
    /// more by that than was asked for.
    fn check(&self, name: &str, level: AccessLevel) -> Result<(), Refusal> {
        let problem = if self.archived {
            ManagedProblem::Archived
        } else if !self.alone {
            ManagedProblem::MoreRights
        } else if self.level > Some(level) || (self.level != Some(level) && self.has_members) {
            ManagedProblem::OtherLevel
        } else {
            return Ok(());
        };
        Err(Refusal::NotManaged { group: self.group, name: name.to_owned(), problem })
    }
}

fn user_access(through: &[Through], level: AccessLevel) -> UserAccess {
    UserAccess {
        effective: through.iter().filter_map(|through| through.access.effective()).max(),
        direct: through.iter().any(|through| through.is_direct(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::optional_columns::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [STATE, THROUGH, NAMED, RIGHTS_BY_DEFAULT, MAKE, LEAVE] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

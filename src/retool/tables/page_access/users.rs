//! A single user's access to a page through a managed group. A grant always makes the user its member, even
//! if another group gives the level (decision direct-user-grants).

use futures_util::FutureExt;
use tokio_postgres::types::Type;

use crate::postgres::statement::{Parameter, only};
use crate::postgres::transaction::Deferred;
use crate::retool::access::{Access, AccessLevel};
use crate::retool::change::{Changed, Item, Mode, Refusal, Source};
use crate::retool::database::{Database, key, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId, UserId};
use crate::retool::privileges::Feature;
use crate::retool::tables::Users;
use crate::retool::tables::managed_groups::{ManagedGroup, ManagedGroupNames, TargetGroup, with_conditions};
use crate::retool::tables::memberships::{self, Membership};
use crate::retool::tables::page_access::row::set_level;
use crate::retool::tables::pages::access;
use crate::retool::transaction::{ChangeError, Lock, Transaction, Write, changed_meanwhile};

/// A user's access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserAccess {
    /// The highest level through any group.
    pub effective: Option<AccessLevel>,
    /// Whether the user is in a managed group of the level that the change is about.
    pub direct: bool,
}

/// The state of a page and a user before a change.
struct UserAccessState {
    page: Option<OrganizationId>,
    user: Option<UserFacts>,
}

struct UserFacts {
    organization: Option<OrganizationId>,
    enabled: bool,
}

/// Always returns one row, even if page or user do not exist. A deleted page, or a page without an
/// organization, counts as missing.
const STATE: &str = r#"
SELECT p."organizationId"::int8 AS page_organization,
       u.id IS NOT NULL AS has_user, u."organizationId"::int8 AS user_organization,
       coalesce(u.enabled, false) AS enabled
FROM (SELECT $1::int8 AS page_id, $2::int8 AS user_id) asked
LEFT JOIN {pages} p ON p.id = asked.page_id AND p."deletedAt" IS NULL AND p."organizationId" > 0
LEFT JOIN {users} u ON u.id = asked.user_id
"#;

/// A group with access to the page and the user as a member.
struct GroupWithAccess {
    group: GroupId,
    name: String,
    access: Access,
    managed: bool,
}

const GROUPS_WITH_ACCESS: &str = r#"
SELECT g.id::int8 AS id, coalesce(g.name::text, '') AS group_name, g."universalAccess"::text AS universal,
       gp."pageId" IS NOT NULL AS has_own_row, gp."accessLevel"::text AS explicit,
       gf."accessLevel"::text AS folder, coalesce({@managed_group}, false) AS managed
FROM {user_groups} m
JOIN {groups} g ON g.id = m."groupId"
JOIN {pages} p ON p.id = $1 AND p."organizationId" = g."organizationId"
LEFT JOIN {group_pages} gp ON gp."groupId" = g.id AND gp."pageId" = p.id
LEFT JOIN {group_folder_defaults} gf ON gf."groupId" = g.id AND gf."folderId" = p."folderId"
WHERE m."userId" = $3 AND {g:groups.archivedAt} IS NULL
ORDER BY g.id
"#;

const LEAVE: &str = r#"
DELETE FROM {user_groups}
WHERE "userId" OPERATOR(pg_catalog.=) $1 AND "groupId" OPERATOR(pg_catalog.=) ANY ($2)
RETURNING "userId"
"#;

const MEMBERSHIP: Write<'_> = Write { table: "user_groups", what: "the access to the page" };
const TO_GRANT: &[Feature] = &[Feature::Groups, Feature::Pages, Feature::ManagedGroups];
const TO_REVOKE: &[Feature] = &[Feature::Groups];

/// A change of a user's access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserPageChange {
    /// The names of managed groups.
    pub names: ManagedGroupNames,
    /// The page.
    pub page: PageId,
    /// The level to grant or revoke.
    pub level: AccessLevel,
    /// The user.
    pub user: UserId,
}

impl UserPageChange {
    /// Grants the user the level with the managed group of page and level, even if the user has the level in
    /// other ways, because this grant can be revoked.
    ///
    /// # Errors
    /// [`Refusal::NoPage`], [`Refusal::NoUser`], [`Refusal::DisabledUser`] if only enabled users count,
    /// [`Refusal::DifferentOrganizations`], [`Refusal::NoOrganization`], [`Refusal::NotManaged`]; see
    /// [`DatabaseError`].
    pub(crate) async fn grant(
        self,
        database: &Database,
        mode: Mode,
        users: Users,
    ) -> Result<Changed<UserAccess>, ChangeError> {
        let lock = Lock::Page(self.page);
        database.change(TO_GRANT, mode, lock, move |transaction| self.raise(transaction, users).boxed()).await
    }

    /// Removes the user from every managed group of page and level, including groups of the older naming.
    /// Nothing changes if the user does not have the level. Groups are never deleted. Other groups may still
    /// grant the level; the returned access shows it.
    ///
    /// # Errors
    /// [`Refusal::AccessRemains`] if the user is in no such group and has the level through others. See
    /// [`DatabaseError`].
    pub(crate) async fn revoke(
        self,
        database: &Database,
        mode: Mode,
    ) -> Result<Changed<UserAccess>, ChangeError> {
        let lock = Lock::Page(self.page);
        database.change(TO_REVOKE, mode, lock, move |transaction| self.lower(transaction).boxed()).await
    }

    async fn raise(
        self,
        transaction: &Transaction<'_>,
        users: Users,
    ) -> Result<Changed<UserAccess>, ChangeError> {
        let Self { names, page, level, user } = self;
        let state = self.state(transaction).await?;
        let organization = state.page.ok_or(Refusal::NoPage(page))?;
        let facts = state.user.ok_or(Refusal::NoUser(user))?;
        match facts.organization {
            Some(of_user) if of_user == organization => {}
            Some(_) => {
                return Err(Refusal::DifferentOrganizations(Item::User(user), Item::Page(page)).into());
            }
            None => return Err(Refusal::NoOrganization(Item::User(user), Item::Page(page)).into()),
        }
        if users == Users::EnabledOnly && !facts.enabled {
            return Err(Refusal::DisabledUser(user).into());
        }
        let before = user_access(&self.groups_with_access(transaction).await?, level);
        if before.direct {
            return Ok(Changed::nothing(before));
        }
        let managed = ManagedGroup { name: names.name(page, level), organization, page, level };
        let known = managed.find(transaction).await?;
        if let Some(known) = &known {
            managed.check(known)?;
        }
        if !transaction.is_dry_run() {
            let target = match known {
                Some(known) => TargetGroup::existing(known.group),
                None => managed.create(transaction).await?,
            };
            let group = target.group;
            transaction.lock(&[Lock::Group(group)]).await?;
            // The row may already have its level, from an earlier user. Either way it is locked until the end
            // of the transaction, so no user gets more access than requested.
            let (raised, now) = tokio::join!(
                set_level(transaction, page, group, level, Deferred::Later),
                managed.find(transaction)
            );
            let (raised, now) = (raised?, now?.ok_or_else(|| changed_meanwhile("the access to the page"))?);
            managed.check(&now)?;
            match (now.level == Some(level), raised || now.level.is_none()) {
                (true, _) => {}
                (false, true) => return Err(transaction.kept_from_writing("group_pages").into()),
                (false, false) => return Err(changed_meanwhile("the access to the page").into()),
            }
            let (wrote, now, more) = tokio::join!(
                memberships::insert(transaction, group, user, Membership::Member),
                self.groups_with_access(transaction),
                target.has_a_right(transaction)
            );
            // If the write failed, the next statements fail because of it, so the write's error comes first.
            let (wrote, now) = (wrote?, user_access(&now?, level));
            if more? {
                return Err(transaction.kept_from_writing("groups").into());
            }
            transaction.judge(&MEMBERSHIP, wrote, &before.direct, &now.direct, &true)?;
        }
        let effective = before.effective.max(Some(level));
        Ok(Changed { before, after: UserAccess { effective, direct: true } })
    }

    async fn lower(self, transaction: &Transaction<'_>) -> Result<Changed<UserAccess>, ChangeError> {
        let Self { page, level, user, .. } = self;
        let state = self.state(transaction).await?;
        let groups = self.groups_with_access(transaction).await?;
        let listed = state.page.is_some() && state.user.is_some();
        let before =
            if listed { user_access(&groups, level) } else { UserAccess { effective: None, direct: false } };
        if before.effective < Some(level) {
            return Ok(Changed::nothing(before));
        }
        let (taken, left): (Vec<GroupWithAccess>, Vec<GroupWithAccess>) =
            groups.into_iter().partition(|group| group.is_direct(level));
        if taken.is_empty() {
            let sources: Vec<Source> = left.iter().flat_map(|group| group.sources(level)).collect();
            return Err(Refusal::AccessRemains { holder: Item::User(user), page, level, sources }.into());
        }
        let after = user_access(&left, level);
        if !transaction.is_dry_run() {
            let locks: Vec<Lock> = taken.iter().map(|taken| Lock::Group(taken.group)).collect();
            transaction.lock(&locks).await?;
            let groups: Vec<i32> = taken.iter().map(|taken| taken.group.get()).collect();
            let parameters: [Parameter<'_>; 2] = [(&user.get(), Type::INT4), (&groups, Type::INT4_ARRAY)];
            let (left, now) = tokio::join!(
                transaction.write("managed_groups.leave", LEAVE, &parameters, Deferred::AtOnce),
                self.groups_with_access(transaction)
            );
            let (left_all, now) = (left? == groups.len(), user_access(&now?, level));
            transaction.judge(&MEMBERSHIP, left_all, &before.direct, &now.direct, &false)?;
        }
        Ok(Changed { before, after })
    }

    async fn state(self, transaction: &Transaction<'_>) -> Result<UserAccessState, DatabaseError> {
        let parameters: [Parameter<'_>; 2] =
            [(&i64::from(self.page.get()), Type::INT8), (&i64::from(self.user.get()), Type::INT8)];
        let rows = transaction.read("managed_groups.state", STATE, &parameters, |row| {
            let user = UserFacts {
                organization: optional_key(row, "user_organization")?,
                enabled: row.try_get("enabled")?,
            };
            Ok(UserAccessState {
                page: optional_key(row, "page_organization")?,
                user: row.try_get::<_, bool>("has_user")?.then_some(user),
            })
        });
        Ok(only(rows.await?)?)
    }

    async fn groups_with_access(
        self,
        transaction: &Transaction<'_>,
    ) -> Result<Vec<GroupWithAccess>, DatabaseError> {
        let statement = with_conditions(GROUPS_WITH_ACCESS);
        let parameters: [Parameter<'_>; 3] = [
            (&self.page.get(), Type::INT4),
            (&self.names.prefix, Type::TEXT),
            (&self.user.get(), Type::INT4),
        ];
        let rows = transaction.read("managed_groups.through", &statement, &parameters, |row| {
            Ok(GroupWithAccess {
                group: key(row, "id")?,
                name: row.try_get("group_name")?,
                access: access(row)?,
                managed: row.try_get("managed")?,
            })
        });
        rows.await
    }
}

impl GroupWithAccess {
    /// Whether this is a managed group of exactly this level.
    fn is_direct(&self, level: AccessLevel) -> bool {
        self.managed && self.access.explicit.level() == Some(level)
    }

    /// The sources that grant `level` or more through this group.
    fn sources(&self, level: AccessLevel) -> impl Iterator<Item = Source> {
        let ways = self.access.ways(level);
        ways.map(|(way, level)| Source { group: self.group, name: self.name.as_str().into(), way, level })
    }
}

fn user_access(groups: &[GroupWithAccess], level: AccessLevel) -> UserAccess {
    UserAccess {
        effective: groups.iter().filter_map(|group| group.access.effective()).max(),
        direct: groups.iter().any(|group| group.is_direct(level)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [STATE, &with_conditions(GROUPS_WITH_ACCESS), LEAVE] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

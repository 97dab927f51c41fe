//! Changes of the table `user_groups`: members of groups, and the admins among them.
//!
//! A change locks the group, reads the current state, decides, and runs one writing statement that checks the
//! state again, because Retool does not use our locks.

use futures_util::FutureExt;
use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::postgres::statement::only;
use crate::postgres::transaction::Deferred;
use crate::retool::change::{ADMIN, ALL_USERS, Changed, Item, Mode, Refusal};
use crate::retool::database::{Database, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, UserId};
use crate::retool::privileges::Feature;
use crate::retool::tables::Users;
use crate::retool::transaction::{ChangeError, Lock, Transaction, Write};

/// A user's membership in a group. A user who is not a member has `None`, which is less than either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Membership {
    /// A member.
    Member,
    /// A member who manages the group.
    Admin,
}

impl Membership {
    /// Both kinds, the weaker first.
    pub(crate) const ALL: [Self; 2] = [Self::Member, Self::Admin];

    /// The keyword for ids and logs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// The state that decides whether a user may be added to a group or removed.
struct MembershipState {
    group: Option<GroupFacts>,
    user: Option<UserFacts>,
    membership: Option<Membership>,
    other_admins: bool,
}

struct GroupFacts {
    name: String,
    organization: Option<OrganizationId>,
    archived: bool,
}

struct UserFacts {
    organization: Option<OrganizationId>,
    enabled: bool,
}

/// Always returns one row, even if group or user do not exist. The last column shows whether the group has
/// another enabled member in the group's organization, or, for a group without one, in the user's.
const STATE: &str = r#"
SELECT g.id IS NOT NULL AS has_group, coalesce(g.name::text, '') AS group_name,
       g."organizationId"::int8 AS group_organization, {g:groups.archivedAt} IS NOT NULL AS archived,
       u.id IS NOT NULL AS has_user, u."organizationId"::int8 AS user_organization,
       coalesce(u.enabled, false) AS enabled,
       m."userId" IS NOT NULL AS is_member, coalesce(m."isAdmin", false) AS is_admin,
       EXISTS (SELECT
               FROM {user_groups} other
               JOIN {users} o ON o.id = other."userId"
               WHERE other."groupId" = g.id AND o.id <> u.id AND o.enabled
                 AND o."organizationId" IS NOT DISTINCT FROM coalesce(g."organizationId", u."organizationId"))
           AS other_admins
FROM (SELECT $1::int8 AS group_id, $2::int8 AS user_id) asked
LEFT JOIN {groups} g ON g.id = asked.group_id
LEFT JOIN {users} u ON u.id = asked.user_id
LEFT JOIN {user_groups} m ON m."groupId" = asked.group_id AND m."userId" = asked.user_id
"#;

/// Locks the administrators' rows, so that Retool cannot remove the other administrators during this removal.
const HOLD_ADMINS: &str = r#"
SELECT m."userId"
FROM {user_groups} m
JOIN {groups} g ON g.id = m."groupId"
WHERE m."groupId" = $1 AND g.name = $2
FOR UPDATE OF m
"#;

const JOIN: &str = r#"
INSERT INTO {user_groups} ("userId", "groupId", "isAdmin", "createdAt", "updatedAt")
VALUES ($1, $2, $3, pg_catalog.now(), pg_catalog.now())
ON CONFLICT ("userId", "groupId") DO NOTHING
RETURNING "userId"
"#;

const STEP_UP: &str = r#"
UPDATE {user_groups} SET "isAdmin" = true, "updatedAt" = pg_catalog.now()
WHERE "userId" OPERATOR(pg_catalog.=) $1 AND "groupId" OPERATOR(pg_catalog.=) $2 AND NOT coalesce("isAdmin", false)
RETURNING "userId"
"#;

const LEAVE: &str = r#"
DELETE FROM {user_groups}
WHERE "userId" OPERATOR(pg_catalog.=) $1 AND "groupId" OPERATOR(pg_catalog.=) $2 AND NOT coalesce("isAdmin", false)
RETURNING "userId"
"#;

const STEP_DOWN: &str = r#"
UPDATE {user_groups} SET "isAdmin" = false, "updatedAt" = pg_catalog.now()
WHERE "userId" OPERATOR(pg_catalog.=) $1 AND "groupId" OPERATOR(pg_catalog.=) $2 AND "isAdmin"
RETURNING "userId"
"#;

const FEATURES: &[Feature] = &[Feature::Groups];
const WRITE: Write<'_> = Write { table: "user_groups", what: "the membership" };

/// Makes the user a member of the group, or its admin. An admin already is a member.
///
/// # Errors
/// [`Refusal::NoGroup`], [`Refusal::NoUser`], [`Refusal::DisabledUser`] if only enabled users count,
/// [`Refusal::ArchivedGroup`], [`Refusal::DifferentOrganizations`], [`Refusal::NoOrganization`],
/// [`Refusal::AllUsers`]; see [`DatabaseError`].
pub(crate) async fn grant(
    database: &Database,
    mode: Mode,
    group: GroupId,
    user: UserId,
    membership: Membership,
    users: Users,
) -> Result<Changed<Option<Membership>>, ChangeError> {
    database
        .change(FEATURES, mode, Lock::Group(group), |transaction| {
            join(transaction, group, user, membership, users).boxed()
        })
        .await
}

/// Revokes the membership: an admin becomes a member, a member leaves the group. Nothing changes if the user
/// does not have the membership, or if group or user no longer exist.
///
/// # Errors
/// [`Refusal::AllUsers`], [`Refusal::LastAdmin`]; see [`DatabaseError`].
pub(crate) async fn revoke(
    database: &Database,
    mode: Mode,
    group: GroupId,
    user: UserId,
    membership: Membership,
) -> Result<Changed<Option<Membership>>, ChangeError> {
    database
        .change(FEATURES, mode, Lock::Group(group), |transaction| {
            leave(transaction, group, user, membership).boxed()
        })
        .await
}

async fn join(
    transaction: &Transaction<'_>,
    group: GroupId,
    user: UserId,
    membership: Membership,
    users: Users,
) -> Result<Changed<Option<Membership>>, ChangeError> {
    let state = state(transaction, group, user).await?;
    let group_facts = state.group.ok_or(Refusal::NoGroup(group))?;
    let user_facts = state.user.ok_or(Refusal::NoUser(user))?;
    if group_facts.archived {
        return Err(Refusal::ArchivedGroup(group).into());
    }
    if users == Users::EnabledOnly && !user_facts.enabled {
        return Err(Refusal::DisabledUser(user).into());
    }
    let before = state.membership;
    let after = Some(membership);
    if before >= after {
        return Ok(Changed::nothing(before));
    }
    match (group_facts.organization, user_facts.organization) {
        (None, _) => {}
        (Some(of_group), Some(of_user)) if of_group == of_user => {}
        (Some(_), Some(_)) => {
            return Err(Refusal::DifferentOrganizations(Item::User(user), Item::Group(group)).into());
        }
        (Some(_), None) => {
            return Err(Refusal::NoOrganization(Item::User(user), Item::Group(group)).into());
        }
    }
    if group_facts.name == ALL_USERS {
        return Err(Refusal::AllUsers(group).into());
    }
    if !transaction.is_dry_run() {
        let write = async {
            match before {
                None => insert(transaction, group, user, membership).await,
                Some(_) => update(transaction, STEP_UP, group, user).await,
            }
        };
        check(transaction, write, (group, user), before, after).await?;
    }
    Ok(Changed { before, after })
}

/// Adds the user; false if another client has added the user in the meantime.
pub(crate) async fn insert(
    transaction: &Transaction<'_>,
    group: GroupId,
    user: UserId,
    membership: Membership,
) -> Result<bool, DatabaseError> {
    let admin = membership == Membership::Admin;
    let parameters: [Parameter<'_>; 3] =
        [(&user.get(), Type::INT4), (&group.get(), Type::INT4), (&admin, Type::BOOL)];
    Ok(transaction.write("memberships.join", JOIN, &parameters, Deferred::AtOnce).await? > 0)
}

/// Updates or deletes the row with one of the statements; false if the row has changed in the meantime.
async fn update(
    transaction: &Transaction<'_>,
    statement: &str,
    group: GroupId,
    user: UserId,
) -> Result<bool, DatabaseError> {
    let parameters: [Parameter<'_>; 2] = [(&user.get(), Type::INT4), (&group.get(), Type::INT4)];
    Ok(transaction.write("memberships.change", statement, &parameters, Deferred::AtOnce).await? > 0)
}

/// Runs a write and reads the resulting membership in the same round trip.
///
/// # Errors
/// The errors of the statements and of [`Transaction::judge`].
async fn check(
    transaction: &Transaction<'_>,
    write: impl Future<Output = Result<bool, DatabaseError>>,
    (group, user): (GroupId, UserId),
    before: Option<Membership>,
    after: Option<Membership>,
) -> Result<(), DatabaseError> {
    let (wrote, now) = tokio::join!(write, state(transaction, group, user));
    transaction.judge(&WRITE, wrote?, &before, &now?.membership, &after)
}

async fn leave(
    transaction: &Transaction<'_>,
    group: GroupId,
    user: UserId,
    membership: Membership,
) -> Result<Changed<Option<Membership>>, ChangeError> {
    if !transaction.is_dry_run() && membership == Membership::Member {
        let parameters: [Parameter<'_>; 2] = [(&group.get(), Type::INT4), (&ADMIN, Type::TEXT)];
        transaction.read("memberships.hold_admins", HOLD_ADMINS, &parameters, |_| Ok(())).await?;
    }
    let state = state(transaction, group, user).await?;
    let before = state.membership;
    let (after, statement) = match membership {
        Membership::Admin => (Some(Membership::Member), STEP_DOWN),
        Membership::Member => (None, LEAVE),
    };
    let (Some(group_facts), Some(user_facts)) = (&state.group, &state.user) else {
        return Ok(Changed::nothing(before));
    };
    if before != Some(membership) {
        return Ok(Changed::nothing(before));
    }
    if group_facts.name == ALL_USERS {
        return Err(Refusal::AllUsers(group).into());
    }
    let of_group = group_facts.organization.or(user_facts.organization);
    let is_admin_group = group_facts.name == ADMIN && !group_facts.archived;
    let administers = is_admin_group && user_facts.enabled && user_facts.organization == of_group;
    if after.is_none() && administers && !state.other_admins {
        return Err(Refusal::LastAdmin { group, user }.into());
    }
    if !transaction.is_dry_run() {
        let write = update(transaction, statement, group, user);
        check(transaction, write, (group, user), before, after).await?;
    }
    Ok(Changed { before, after })
}

async fn state(
    transaction: &Transaction<'_>,
    group: GroupId,
    user: UserId,
) -> Result<MembershipState, DatabaseError> {
    let parameters: [Parameter<'_>; 2] =
        [(&i64::from(group.get()), Type::INT8), (&i64::from(user.get()), Type::INT8)];
    let rows = transaction.read("memberships.state", STATE, &parameters, |row| {
        let group = GroupFacts {
            name: row.try_get("group_name")?,
            organization: optional_key(row, "group_organization")?,
            archived: row.try_get("archived")?,
        };
        let user = UserFacts {
            organization: optional_key(row, "user_organization")?,
            enabled: row.try_get("enabled")?,
        };
        let membership = match (row.try_get("is_member")?, row.try_get("is_admin")?) {
            (false, _) => None,
            (true, false) => Some(Membership::Member),
            (true, true) => Some(Membership::Admin),
        };
        Ok(MembershipState {
            group: row.try_get::<_, bool>("has_group")?.then_some(group),
            user: row.try_get::<_, bool>("has_user")?.then_some(user),
            membership,
            other_admins: row.try_get("other_admins")?,
        })
    });
    Ok(only(rows.await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [STATE, HOLD_ADMINS, JOIN, STEP_UP, LEAVE, STEP_DOWN] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

//! Changes of access to a page: the table `group_pages`, and the groups that are created for single users.

mod row;
mod users;

use futures_util::FutureExt;
use tokio_postgres::types::Type;

use crate::postgres::statement::{Parameter, only};
use crate::postgres::transaction::Deferred;
use crate::retool::access::{Access, AccessLevel};
use crate::retool::change::{Changed, Item, Mode, Refusal, Source};
use crate::retool::database::{Database, optional_key};
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, OrganizationId, PageId};
use crate::retool::privileges::Feature;
use crate::retool::tables::page_access::row::{lower_row, set_level};
use crate::retool::tables::pages::access;
use crate::retool::transaction::{ChangeError, Lock, Transaction, Write};

pub(crate) use users::UserPageChange;

/// The state of a page and a group before a change.
struct GroupAccessState {
    page: Option<OrganizationId>,
    group: Option<GroupFacts>,
    access: Access,
}

struct GroupFacts {
    name: String,
    organization: Option<OrganizationId>,
    archived: bool,
}

/// Always returns one row, even if page or group do not exist. A deleted page, or a page without an
/// organization, counts as missing.
const STATE: &str = r#"
SELECT p.id IS NOT NULL AS has_page, p."organizationId"::int8 AS page_organization,
       g.id IS NOT NULL AS has_group, g."organizationId"::int8 AS group_organization,
       coalesce(g.name::text, '') AS group_name, {g:groups.archivedAt} IS NOT NULL AS archived,
       g."universalAccess"::text AS universal, gp."pageId" IS NOT NULL AS has_own_row,
       gp."accessLevel"::text AS explicit, gf."accessLevel"::text AS folder
FROM (SELECT $1::int8 AS page_id, $2::int8 AS group_id) asked
LEFT JOIN {pages} p ON p.id = asked.page_id AND p."deletedAt" IS NULL AND p."organizationId" > 0
LEFT JOIN {groups} g ON g.id = asked.group_id
LEFT JOIN {group_pages} gp ON gp."groupId" = asked.group_id AND gp."pageId" = asked.page_id
LEFT JOIN {group_folder_defaults} gf ON gf."groupId" = asked.group_id AND gf."folderId" = p."folderId"
"#;

const FEATURES: &[Feature] = &[Feature::Pages];
const WRITE: Write<'_> = Write { table: "group_pages", what: "the access to the page" };

/// Raises the group to at least this level on the page. Returns the complete access before and after.
///
/// # Errors
/// [`Refusal::NoPage`], [`Refusal::NoGroup`], [`Refusal::ArchivedGroup`],
/// [`Refusal::DifferentOrganizations`], [`Refusal::NoOrganization`]; see [`DatabaseError`].
pub(crate) async fn grant_group(
    database: &Database,
    mode: Mode,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
) -> Result<Changed<Access>, ChangeError> {
    database
        .change(FEATURES, mode, Lock::Page(page), |transaction| {
            raise(transaction, page, group, level).boxed()
        })
        .await
}

/// Lowers the group to just below this level on the page (decision levels-move-one-way). Nothing changes if
/// the group does not have the level, or if page or group no longer exist.
///
/// # Errors
/// [`Refusal::AccessRemains`]; see [`DatabaseError`].
pub(crate) async fn revoke_group(
    database: &Database,
    mode: Mode,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
) -> Result<Changed<Access>, ChangeError> {
    database
        .change(FEATURES, mode, Lock::Page(page), |transaction| {
            lower(transaction, page, group, level).boxed()
        })
        .await
}

async fn raise(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
) -> Result<Changed<Access>, ChangeError> {
    let state = state(transaction, page, group).await?;
    let of_page = state.page.ok_or(Refusal::NoPage(page))?;
    let facts = state.group.ok_or(Refusal::NoGroup(group))?;
    if facts.archived {
        return Err(Refusal::ArchivedGroup(group).into());
    }
    match facts.organization {
        Some(of_group) if of_group == of_page => {}
        Some(_) => {
            return Err(Refusal::DifferentOrganizations(Item::Group(group), Item::Page(page)).into());
        }
        None => return Err(Refusal::NoOrganization(Item::Group(group), Item::Page(page)).into()),
    }
    let before = state.access;
    let Some(change) = before.to_grant(level) else { return Ok(Changed::nothing(before)) };
    let after = before.with(change);
    if !transaction.is_dry_run() {
        let (wrote, now) = tokio::join!(
            set_level(transaction, page, group, level, Deferred::AtOnce),
            self::state(transaction, page, group)
        );
        transaction.judge(&WRITE, wrote?, &before.explicit, &now?.access.explicit, &after.explicit)?;
    }
    Ok(Changed { before, after })
}

async fn lower(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
) -> Result<Changed<Access>, ChangeError> {
    let state = state(transaction, page, group).await?;
    let before = state.access;
    // A deleted page and an archived group grant nothing, even if a row exists.
    let nothing = Ok(Changed::nothing(Access::default()));
    let (Some(of_page), Some(facts)) = (state.page, state.group) else { return nothing };
    if facts.archived || facts.organization != Some(of_page) {
        return nothing;
    }
    let change = before.to_revoke(level).map_err(|after| {
        let sources = after.ways(level).map(|(way, level)| Source {
            group,
            name: facts.name.as_str().into(),
            way,
            level,
        });
        Refusal::AccessRemains { holder: Item::Group(group), page, level, sources: sources.collect() }
    })?;
    let (Some(change), Some(held)) = (change, before.explicit.level()) else {
        return Ok(Changed::nothing(before));
    };
    let after = before.with(change);
    if !transaction.is_dry_run() {
        let (wrote, now) = tokio::join!(
            lower_row(transaction, page, group, held, change),
            self::state(transaction, page, group)
        );
        transaction.judge(&WRITE, wrote?, &before.explicit, &now?.access.explicit, &after.explicit)?;
    }
    Ok(Changed { before, after })
}

async fn state(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
) -> Result<GroupAccessState, DatabaseError> {
    let parameters: [Parameter<'_>; 2] =
        [(&i64::from(page.get()), Type::INT8), (&i64::from(group.get()), Type::INT8)];
    let rows = transaction.read("page_access.state", STATE, &parameters, |row| {
        let group = GroupFacts {
            name: row.try_get("group_name")?,
            organization: optional_key(row, "group_organization")?,
            archived: row.try_get("archived")?,
        };
        Ok(GroupAccessState {
            page: optional_key(row, "page_organization")?,
            group: row.try_get::<_, bool>("has_group")?.then_some(group),
            access: access(row)?,
        })
    });
    Ok(only(rows.await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn the_statement_mentions_known_columns() {
        assert!(mentions_only_optional_columns(STATE), "{STATE}");
    }
}

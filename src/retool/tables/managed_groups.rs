//! Managed groups. Retool grants access to pages only to groups, so a single user gets it through a group
//! that is created for one page and level and grants nothing else (decision managed-groups).

use tokio_postgres::types::Type;

use crate::postgres::identifier::quoted;
use crate::postgres::statement::Parameter;
use crate::postgres::transaction::Deferred;
use crate::retool::access::AccessLevel;
use crate::retool::change::{ManagedProblem, Refusal};
use crate::retool::database::key;
use crate::retool::error::DatabaseError;
use crate::retool::fragment::fill;
use crate::retool::id::{GroupId, OrganizationId, PageId};
use crate::retool::privileges::{MissingPrivileges, RIGHTS_BY_DEFAULT};
use crate::retool::transaction::{ChangeError, Transaction};

/// The naming of managed groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManagedGroupNames {
    /// The prefix of every name. The page's key, a colon and the level follow.
    pub prefix: &'static str,
}

impl ManagedGroupNames {
    /// The name of the managed group of a page and level. It does not depend on the page's name.
    pub(crate) fn name(self, page: PageId, level: AccessLevel) -> String {
        format!("{}{page}:{}", self.prefix, level.as_str())
    }
}

/// Whether the group `g` is a managed group of the page `{@page}`, given its row `gp` in `group_pages`.
/// `{@prefix}` is the prefix of the names of managed groups.
///
/// The naming of the Go connector matches too: a memory address, the page's key, `-group-`, the page's name
/// and the level.
const MANAGED_GROUP: &str = r#"
       gp."accessLevel" IN ('read', 'write', 'own')
   AND (g.name = {@prefix} || gp."pageId" || ':' || gp."accessLevel"
        OR g.name ~ ('^(0x)?[0-9a-f]+' || gp."pageId" || '-group-.*-' || gp."accessLevel" || '$'))
   AND {@only_a_page}"#;

/// Whether the group `g` only grants its members access to the page `{@page}`. If so, removing a member
/// revokes nothing else.
const ONLY_A_PAGE: &str = r#"
       g."universalAccess" = 'none' AND g."universalResourceAccess" = 'none'
   AND g."universalQueryLibraryAccess" = 'none'
   AND NOT coalesce(g."userListAccess", false) AND NOT coalesce(g."auditLogAccess", false)
   AND NOT EXISTS (SELECT FROM {group_pages} more WHERE more."groupId" = g.id AND more."pageId" <> {@page})
   AND NOT EXISTS (SELECT FROM {group_folder_defaults} more WHERE more."groupId" = g.id)
   {?select group_resources.groupId: AND NOT EXISTS
       (SELECT FROM {group_resources} more WHERE more."groupId" = g.id)}
   {?select group_resource_folder_defaults.groupId: AND NOT EXISTS
       (SELECT FROM {group_resource_folder_defaults} more WHERE more."groupId" = g.id)}
"#;

/// The statement with the conditions above in place of `{@managed_group}` and `{@only_a_page}`, for the page
/// `$1` and the name prefix `$2`.
pub(crate) fn with_conditions(statement: &str) -> String {
    with_conditions_for(statement, "$1", "$2")
}

/// Like [`with_conditions`], with any SQL expressions for the page and the name prefix.
pub(crate) fn with_conditions_for(statement: &str, page: &str, prefix: &str) -> String {
    let filled = fill(&fill(statement, "managed_group", MANAGED_GROUP), "only_a_page", ONLY_A_PAGE);
    fill(&fill(&filled, "page", page), "prefix", prefix)
}

/// The managed group of a page and level. It may not exist yet.
pub(crate) struct ManagedGroup {
    pub(crate) name: String,
    pub(crate) organization: OrganizationId,
    pub(crate) page: PageId,
    pub(crate) level: AccessLevel,
}

/// An existing group with a managed group's name. It grants access to the page only if it has none of the
/// visible rights, including those that Retool gives new groups by default.
pub(crate) struct GroupOfName {
    pub(crate) group: GroupId,
    archived: bool,
    gives_only_the_page: bool,
    pub(crate) level: Option<AccessLevel>,
    has_members: bool,
}

const FIND: &str = r#"
SELECT g.id::int8 AS id, {g:groups.archivedAt} IS NOT NULL AS archived,
       coalesce({@only_a_page} AND NOT coalesce(g."unpublishedReleaseAccess", false), false) AS gives_only_the_page,
       gp."accessLevel"::text AS level,
       EXISTS (SELECT FROM {user_groups} m WHERE m."groupId" = g.id AND m."userId" IS NOT NULL) AS has_members
FROM {groups} g
LEFT JOIN {group_pages} gp ON gp."groupId" = g.id AND gp."pageId" = $1
WHERE g.name = $2 AND g."organizationId" = $3
"#;

/// Creates a group with every right off. `{@rights}` and `{@off}` are the columns of [`RIGHTS_BY_DEFAULT`]
/// and their values.
const CREATE: &str = r#"
INSERT INTO {groups} (name, "organizationId", "createdAt", "updatedAt"{@rights})
VALUES ($1, $2, pg_catalog.now(), pg_catalog.now(){@off})
ON CONFLICT (name, "organizationId") DO NOTHING
RETURNING id::pg_catalog.int8 AS id
"#;

/// The rights of groups that the role can read: every column that ends in `Access`. They differ between versions
/// of Retool.
const READABLE_RIGHTS: &str = r#"
SELECT attname::text AS name, atttypid = 'boolean'::regtype AS is_switch
FROM pg_attribute
WHERE attrelid = to_regclass({'groups'}) AND attnum > 0 AND NOT attisdropped AND attname LIKE '%Access'
  AND has_column_privilege(attrelid, attnum, 'SELECT')
ORDER BY attnum
"#;

/// Returns a row if the group has a right. `{@right}` is the condition.
const WITH_A_RIGHT: &str = "SELECT g.id FROM {groups} g WHERE g.id = $1 AND ({@right})";

/// The group that a user is added to.
pub(crate) struct TargetGroup {
    pub(crate) group: GroupId,
    /// For a group that this change has created: the condition that it has one of the rights that the role can
    /// read. `None` if the role can read none.
    right: Option<String>,
}

impl TargetGroup {
    /// A group that this change has not created.
    pub(crate) fn existing(group: GroupId) -> Self {
        Self { group, right: None }
    }

    /// Whether a trigger has turned on a right of a group that this change has created.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) async fn has_a_right(&self, transaction: &Transaction<'_>) -> Result<bool, DatabaseError> {
        let Some(right) = &self.right else { return Ok(false) };
        let parameters: [Parameter<'_>; 1] = [(&self.group.get(), Type::INT4)];
        let statement = fill(WITH_A_RIGHT, "right", right);
        let rows = transaction.read("managed_groups.with_a_right", &statement, &parameters, |_| Ok(()));
        Ok(!rows.await?.is_empty())
    }
}

impl ManagedGroup {
    /// The group with this name; `None` if it does not exist.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) async fn find(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<GroupOfName>, DatabaseError> {
        let parameters: [Parameter<'_>; 3] = [
            (&self.page.get(), Type::INT4),
            (&self.name, Type::TEXT),
            (&self.organization.get(), Type::INT4),
        ];
        let statement = with_conditions(FIND);
        let rows = transaction.read("managed_groups.named", &statement, &parameters, |row| {
            Ok(GroupOfName {
                group: key(row, "id")?,
                archived: row.try_get("archived")?,
                gives_only_the_page: row.try_get("gives_only_the_page")?,
                level: row.try_get::<_, Option<&str>>("level")?.and_then(AccessLevel::from_database),
                has_members: row.try_get("has_members")?,
            })
        });
        Ok(rows.await?.pop())
    }

    /// Verifies that a user may be added to the group with this name. Neither the user nor the existing
    /// members may get more access than requested.
    ///
    /// # Errors
    /// [`Refusal::NotManaged`]
    pub(crate) fn check(&self, found: &GroupOfName) -> Result<(), Refusal> {
        let level = Some(self.level);
        let problem = if found.archived {
            ManagedProblem::Archived
        } else if !found.gives_only_the_page {
            ManagedProblem::MoreRights
        } else if found.level > level || (found.level != level && found.has_members) {
            ManagedProblem::OtherLevel
        } else {
            return Ok(());
        };
        Err(Refusal::NotManaged { group: found.group, name: self.name.as_str().into(), problem })
    }

    /// Creates the group, and reads it again in the same round trip. If another client creates it at the same
    /// time, uses that group if it passes the same checks.
    ///
    /// # Errors
    /// [`PostgresError::Refused`](crate::postgres::error::PostgresError::Refused) if a trigger or a policy of
    /// `groups` altered, deleted or hid the new group. [`Refusal::NotManaged`],
    /// [`DatabaseError::MissingPrivileges`]; see [`DatabaseError`].
    pub(crate) async fn create(&self, transaction: &Transaction<'_>) -> Result<TargetGroup, ChangeError> {
        let rights = transaction.read("managed_groups.rights_by_default", RIGHTS_BY_DEFAULT, &[], |row| {
            let (name, is_switch): (String, bool) = (row.try_get("name")?, row.try_get("is_switch")?);
            Ok((name, is_switch, row.try_get::<_, bool>("settable")?))
        });
        let readable = transaction.read("managed_groups.readable_rights", READABLE_RIGHTS, &[], |row| {
            let name = quoted(row.try_get("name")?);
            Ok(match row.try_get("is_switch")? {
                true => format!("g.{name}"),
                false => format!("coalesce(g.{name}::text, '') NOT IN ('', 'none')"),
            })
        });
        let (rights, readable) = tokio::join!(rights, readable);
        let (rights, readable) = (rights?, readable?);
        let closed: Vec<String> =
            rights.iter().filter(|(_, _, settable)| !settable).map(|(name, ..)| name.clone()).collect();
        if !closed.is_empty() {
            let grantee = transaction.privileges().grantee();
            return Err(DatabaseError::from(MissingPrivileges::to_insert_groups(grantee, &closed)).into());
        }
        let columns: String = rights.iter().map(|(name, ..)| format!(", {}", quoted(name))).collect();
        let off: String =
            rights.iter().map(|(_, is_switch, _)| if *is_switch { ", false" } else { ", 'none'" }).collect();
        let statement = fill(&fill(CREATE, "rights", &columns), "off", &off);
        let parameters: [Parameter<'_>; 2] =
            [(&self.name, Type::TEXT), (&self.organization.get(), Type::INT4)];
        let make = transaction.write_returning(
            "managed_groups.make",
            &statement,
            &parameters,
            Deferred::Later,
            |row| key(row, "id"),
        );
        let (made, found) = tokio::join!(make, self.find(transaction));
        let made: Option<GroupId> = made?.pop();
        // Other sessions do not see a new group before the commit, so only a trigger can have altered it.
        let found = found?.filter(|found| made.is_none_or(|made| found.group == made));
        let found = found.ok_or_else(|| transaction.kept_from_writing("groups"))?;
        self.check(&found)?;
        let right = (made.is_some() && !readable.is_empty()).then(|| readable.join(" OR "));
        Ok(TargetGroup { group: found.group, right })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        let created = fill(&fill(CREATE, "rights", ""), "off", "");
        let with_a_right = fill(WITH_A_RIGHT, "right", "");
        for statement in
            [with_conditions(FIND).as_str(), RIGHTS_BY_DEFAULT, READABLE_RIGHTS, &created, &with_a_right]
        {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

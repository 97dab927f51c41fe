//! Managed groups: Retool gives access to pages to groups only, so a single user gets it through a group
//! that is made for one page and level and does nothing else.

use tokio_postgres::types::Type;

use crate::postgres::identifier::quoted;
use crate::postgres::statement::Parameter;
use crate::retool::access::AccessLevel;
use crate::retool::change::{ManagedProblem, Refusal};
use crate::retool::database::key;
use crate::retool::error::DatabaseError;
use crate::retool::fragment::fill;
use crate::retool::id::{GroupId, OrganizationId, PageId};
use crate::retool::privileges::{MissingPrivileges, RIGHTS_BY_DEFAULT};
use crate::retool::transaction::{ChangeError, Transaction};

/// How managed groups are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManagedGroupNames {
    /// What every name begins with; the page's key, a colon and the level follow.
    pub prefix: &'static str,
}

impl ManagedGroupNames {
    /// The name of the managed group of a page and level. It survives a rename of the page.
    pub(crate) fn name(self, page: PageId, level: AccessLevel) -> String {
        format!("{}{page}:{}", self.prefix, level.as_str())
    }
}

/// Whether the group `g` is a managed group of the page `{@page}` by its row `gp` in `group_pages`; `{@prefix}` is
/// what the names of such groups begin with.
///
/// An older naming counts too: a memory address, the page's key, `-group-`, the page's name and the level.
const MANAGED_GROUP: &str = r#"
       gp."accessLevel" IN ('read', 'write', 'own')
   AND (g.name = {@prefix} || gp."pageId" || ':' || gp."accessLevel"
        OR g.name ~ ('^(0x)?[0-9a-f]+' || gp."pageId" || '-group-.*-' || gp."accessLevel" || '$'))
   AND {@only_a_page}"#;

/// Whether the group `g` does nothing but give its members access to the page `{@page}`. What would be taken from them with
/// their membership is then no more than that.
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

/// The statement with the conditions above in place of `{@managed_group}` and `{@only_a_page}`, for the page `$1` and
/// names that begin with `$2`.
pub(crate) fn with_conditions(statement: &str) -> String {
    with_conditions_for(statement, "$1", "$2")
}

/// As [`with_conditions`], for whichever page and whichever beginning of names these expressions give.
pub(crate) fn with_conditions_for(statement: &str, page: &str, prefix: &str) -> String {
    let filled = fill(&fill(statement, "managed_group", MANAGED_GROUP), "only_a_page", ONLY_A_PAGE);
    fill(&fill(&filled, "page", page), "prefix", prefix)
}

/// The managed group of a page and level, which need not exist.
pub(crate) struct ManagedGroup {
    pub(crate) name: String,
    pub(crate) organization: OrganizationId,
    pub(crate) page: PageId,
    pub(crate) level: AccessLevel,
}

/// The group that has a managed group's name, and what it is. It gives nothing but access to the page only when it
/// has none of the rights that can be seen, those included that Retool gives new groups by itself.
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

/// A new group with every right off; `{@rights}` and `{@off}` are those of [`RIGHTS_BY_DEFAULT`].
const CREATE: &str = r#"
INSERT INTO {groups} (name, "organizationId", "createdAt", "updatedAt"{@rights})
VALUES ($1, $2, pg_catalog.now(), pg_catalog.now(){@off})
ON CONFLICT (name, "organizationId") DO NOTHING
RETURNING id::pg_catalog.int8 AS id
"#;

impl ManagedGroup {
    /// The group that has the name; `None` when there is none.
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

    /// Whether a user may be put into the group that has the name: nobody, neither the user nor its members, may get
    /// more by that than was asked for.
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

    /// Makes the group. When somebody else makes it in the same moment, theirs is taken, if it is as ours would be.
    ///
    /// # Errors
    /// [`Refusal::NotManaged`], [`DatabaseError::MissingPrivileges`]; see [`DatabaseError`].
    pub(crate) async fn create(&self, transaction: &Transaction<'_>) -> Result<GroupId, ChangeError> {
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
        let columns: String = rights.iter().map(|(name, ..)| format!(", {}", quoted(name))).collect();
        let off: String =
            rights.iter().map(|(_, is_switch, _)| if *is_switch { ", false" } else { ", 'none'" }).collect();
        let statement = fill(&fill(CREATE, "rights", &columns), "off", &off);
        let parameters: [Parameter<'_>; 2] =
            [(&self.name, Type::TEXT), (&self.organization.get(), Type::INT4)];
        let made =
            transaction.write_returning("managed_groups.make", &statement, &parameters, |row| key(row, "id"));
        if let Some(made) = made.await?.pop() {
            return Ok(made);
        }
        let theirs = self.find(transaction).await?.ok_or_else(|| transaction.kept_from_writing("groups"))?;
        self.check(&theirs)?;
        Ok(theirs.group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        let created = fill(&fill(CREATE, "rights", ""), "off", "");
        for statement in [with_conditions(FIND).as_str(), RIGHTS_BY_DEFAULT, &created] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

//! Types for changes: how a change is run, its result, and why it is refused.
//!
//! Decisions that depend on rows are made here, without the database. The statements in `tables` read the
//! rows and carry out the decision.

use std::fmt;

use crate::private_text::PrivateText;
use crate::retool::access::{Access, AccessLevel, ExplicitAccess};
use crate::retool::id::{GroupId, PageId, UserId};

/// Retool's group of all users. Retool alone decides its members (decision protected-groups).
pub(crate) const ALL_USERS: &str = "All Users";
/// Retool's group of administrators.
pub(crate) const ADMIN: &str = "admin";

/// Whether a change is made or only described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The change is made.
    Real,
    /// Reads and decides as for a real change, in a read-only transaction.
    DryRun,
}

/// The state before and after a change. Both are equal if no change was needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed<T> {
    /// The state before.
    pub before: T,
    /// The state afterwards; in a dry run, the expected state.
    pub after: T,
}

impl<T: Copy + PartialEq> Changed<T> {
    /// The result when no change was needed.
    pub(crate) fn nothing(state: T) -> Self {
        Self { before: state, after: state }
    }

    /// Whether the state changed.
    pub(crate) fn is_change(&self) -> bool {
        self.before != self.after
    }

    /// The outcome of the change.
    pub(crate) fn outcome(&self, mode: Mode) -> Outcome {
        match (self.is_change(), mode) {
            (false, _) => Outcome::Unchanged,
            (true, Mode::Real) => Outcome::Changed,
            (true, Mode::DryRun) => Outcome::DryRun,
        }
    }
}

/// The outcome of a requested change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The change was made.
    Changed,
    /// Retool already was in the requested state.
    Unchanged,
    /// The change would have been made.
    DryRun,
    /// The change is not allowed, and nothing was changed. It needs another request or another state of
    /// Retool.
    Refused,
    /// The change failed, for example because of a missing privilege or an unreachable database. Nothing was
    /// changed.
    Failed,
    /// The change may have been made: it was aborted while it was in progress, because the caller stopped waiting
    /// or the program ended, the session was lost during the commit, or Retool's REST API gave no usable answer.
    Unknown,
}

impl Outcome {
    /// The keyword in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry_run",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Why Retool's current state does not allow a change. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No such row in `users`.
    #[error("user {0} does not exist in Retool, or was deleted")]
    NoUser(UserId),
    /// The user has no sid that identifies the account to the REST API.
    #[error("user {0} has no sid in Retool's database, which its REST API needs")]
    NoSid(UserId),
    /// No such row in `groups`.
    #[error("group {0} does not exist in Retool, or was deleted")]
    NoGroup(GroupId),
    /// No such row in `pages`, or a deleted one.
    #[error("page {0} does not exist in Retool, or was deleted")]
    NoPage(PageId),
    /// Only enabled users count, so the grant would never be listed.
    #[error("user {0} is disabled in Retool: enable the user first")]
    DisabledUser(UserId),
    /// An archived group grants nothing.
    #[error("group {0} is archived in Retool and gives no access: restore it first")]
    ArchivedGroup(GroupId),
    /// Retool keeps organizations separate.
    #[error("{0} and {1} are in different organizations of Retool")]
    DifferentOrganizations(Item, Item),
    /// Only users and groups of an organization can access its pages or join its groups.
    #[error("{0} belongs to no organization of Retool, and {1} belongs to one")]
    NoOrganization(Item, Item),
    /// Retool alone decides the members of [`ALL_USERS`].
    #[error(
        "group {0} is Retool's group \"All Users\": every user is a member, and only Retool changes its members"
    )]
    AllUsers(GroupId),
    /// Without an administrator, no user could fix Retool's permissions.
    #[error(
        "user {user} is the last enabled member of Retool's group \"admin\" (group {group}): add another enabled user to it first"
    )]
    LastAdmin {
        /// The group `admin`.
        group: GroupId,
        /// Its last enabled member.
        user: UserId,
    },
    /// Other sources would still grant the level, or no source on this page can be removed.
    #[error("{holder} would still have {} access to page {page}: {}", level.as_str(), listed(sources))]
    AccessRemains {
        /// The user or group with access.
        holder: Item,
        /// The page.
        page: PageId,
        /// The level to revoke.
        level: AccessLevel,
        /// The sources that grant the level or more.
        sources: Vec<Source>,
    },
    /// A group has the name of a managed group, but not exactly its rights.
    #[error("group {group} has the name of a managed group, {name}, but differs from it: {problem}")]
    NotManaged {
        /// The group.
        group: GroupId,
        /// Its name, which contains the page's name if it follows the older naming.
        name: PrivateText,
        /// The difference.
        problem: ManagedProblem,
    },
}

impl Refusal {
    /// A short code for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoUser(_) => "no_user",
            Self::NoSid(_) => "no_sid",
            Self::NoGroup(_) => "no_group",
            Self::NoPage(_) => "no_page",
            Self::DisabledUser(_) => "disabled_user",
            Self::ArchivedGroup(_) => "archived_group",
            Self::DifferentOrganizations(..) => "different_organizations",
            Self::NoOrganization(..) => "no_organization",
            Self::AllUsers(_) => "all_users",
            Self::LastAdmin { .. } => "last_admin",
            Self::AccessRemains { .. } => "access_remains",
            Self::NotManaged { .. } => "not_managed",
        }
    }
}

/// An entity of Retool in an error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A user.
    User(UserId),
    /// A group.
    Group(GroupId),
    /// A page.
    Page(PageId),
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Group(id) => write!(f, "group {id}"),
            Self::Page(id) => write!(f, "page {id}"),
        }
    }
}

/// Why a group with a managed group's name is not a valid managed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManagedProblem {
    /// It is archived.
    Archived,
    /// It has rights on more than its page.
    MoreRights,
    /// It has members, and its level differs from the one in its name. Raising it would give that level to
    /// these members.
    OtherLevel,
}

impl fmt::Display for ManagedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archived => "it is archived",
            Self::MoreRights => "it gives more than access to its page",
            Self::OtherLevel => "it has members and a level on its page that differs from its name",
        })
    }
}

/// A source of access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The group.
    pub group: GroupId,
    /// Its name, which can be a person's name.
    pub name: PrivateText,
    /// How the group has the access.
    pub way: Way,
    /// The level it grants.
    pub level: AccessLevel,
}

/// How a group has access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A row that names the page.
    Explicit,
    /// The default of the page's folder.
    Folder,
    /// Its universal access to all pages.
    Universal,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Explicit => "on the page itself",
            Way::Folder => "by the default of the page's folder",
            Way::Universal => "by its universal access",
        };
        write!(f, "group {} {} has {} {way}", self.group, self.name, self.level.as_str())
    }
}

/// Names the first sources and counts the rest, because a user can be in hundreds of groups.
fn listed(sources: &[Source]) -> String {
    const NAMED: usize = 5;
    let mut text = sources.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = sources.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The change to the row that grants a group access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowChange {
    /// The row is created with this level, or raised to it.
    Set(AccessLevel),
    /// The row is deleted.
    Remove,
}

impl Access {
    /// The individual sources that grant `level` or more.
    pub(crate) fn ways(self, level: AccessLevel) -> impl Iterator<Item = (Way, AccessLevel)> {
        let folder = self.folder.filter(|_| self.explicit == ExplicitAccess::NoRow);
        [(Way::Explicit, self.explicit.level()), (Way::Folder, folder), (Way::Universal, self.universal)]
            .into_iter()
            .filter_map(|(way, given)| Some((way, given?)))
            .filter(move |(_, given)| *given >= level)
    }

    /// The access after the change to its row.
    pub(crate) fn with(self, change: RowChange) -> Self {
        let explicit = match change {
            RowChange::Set(level) => ExplicitAccess::Level(level),
            RowChange::Remove => ExplicitAccess::NoRow,
        };
        Self { explicit, ..self }
    }

    /// The change that raises the group to `level`; `None` if the group already has it. A change is needed
    /// only if the level is above the effective one, so it is also above the row's and the folder's level.
    pub(crate) fn to_grant(self, level: AccessLevel) -> Option<RowChange> {
        (self.effective() < Some(level)).then_some(RowChange::Set(level))
    }

    /// The change that lowers the group to just below `level`; `None` if the group is already below it.
    ///
    /// # Errors
    /// The remaining access, if it would still grant `level`: by universal access, by the folder's default,
    /// or by a folder default that applies again once the row that overrides it is deleted.
    pub(crate) fn to_revoke(self, level: AccessLevel) -> Result<Option<RowChange>, Access> {
        if self.effective() < Some(level) {
            return Ok(None);
        }
        if self.explicit.level() < Some(level) {
            return Err(self);
        }
        let change = level.below().map_or(RowChange::Remove, RowChange::Set);
        let after = self.with(change);
        if after.effective() < Some(level) { Ok(Some(change)) } else { Err(after) }
    }
}

#[cfg(test)]
mod tests;

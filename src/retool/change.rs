//! The vocabulary of change: how a change is run, what it comes to, and why it is refused.
//!
//! What is decided from rows is decided here, without the database; the statements in `tables` read the rows and
//! carry the decision out.

use std::fmt;

use crate::private_text::PrivateText;
use crate::retool::access::{Access, AccessLevel, ExplicitAccess};
use crate::retool::id::{GroupId, PageId, UserId};

/// Retool's group of everybody. Who is in it is Retool's own business.
pub(crate) const ALL_USERS: &str = "All Users";
/// Retool's group of those who may administer it.
pub(crate) const ADMIN: &str = "admin";

/// Whether a change is made or only described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is made.
    Real,
    /// Everything is read and decided as for a real change, in a transaction that cannot write.
    DryRun,
}

/// What was there before a change and is there now; the same when nothing had to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed<T> {
    /// Before.
    pub before: T,
    /// Now, or, in a dry run, what it would be.
    pub after: T,
}

impl<T: Copy + PartialEq> Changed<T> {
    /// The result of a change that was not needed.
    pub(crate) fn nothing(state: T) -> Self {
        Self { before: state, after: state }
    }

    /// Whether there was anything to change.
    pub(crate) fn is_change(&self) -> bool {
        self.before != self.after
    }

    /// What became of the change.
    pub(crate) fn outcome(&self, mode: Mode) -> Outcome {
        match (self.is_change(), mode) {
            (false, _) => Outcome::Unchanged,
            (true, Mode::Real) => Outcome::Changed,
            (true, Mode::DryRun) => Outcome::DryRun,
        }
    }
}

/// What became of a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made.
    Changed,
    /// Retool was as asked already.
    Unchanged,
    /// It would have been made.
    DryRun,
    /// It may not be made, and nothing was changed: the request or Retool would have to be another.
    Refused,
    /// It could not be made, for want of a privilege or of a database, say. Nothing was changed in the database
    /// unless the session was lost during the commit or the caller went away; what Retool's REST API did not
    /// answer may have been done all the same.
    Failed,
}

impl Outcome {
    /// The word in logs and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry_run",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why a change may not be made as Retool is now. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No such row in `users`.
    #[error("there is no user {0} in Retool, or no longer")]
    NoUser(UserId),
    /// The account cannot be named to the REST API.
    #[error("user {0} has no sid in Retool's database that its REST API could be asked by")]
    NoSid(UserId),
    /// No such row in `groups`.
    #[error("there is no group {0} in Retool, or no longer")]
    NoGroup(GroupId),
    /// No such row in `pages`, or a deleted one.
    #[error("there is no page {0} in Retool, or it was deleted")]
    NoPage(PageId),
    /// Only enabled users count, so that the grant would never be listed.
    #[error("user {0} is disabled in Retool: enable the user first")]
    DisabledUser(UserId),
    /// An archived group gives nothing.
    #[error("group {0} is archived in Retool and gives nothing: restore it first")]
    ArchivedGroup(GroupId),
    /// Retool keeps organizations apart.
    #[error("{0} and {1} are in different organizations of Retool")]
    DifferentOrganizations(Item, Item),
    /// Only what belongs to an organization can reach a page or join a group of it.
    #[error("{0} belongs to no organization of Retool, and {1} belongs to one")]
    NoOrganization(Item, Item),
    /// See [`ALL_USERS`].
    #[error("group {0} is Retool's group \"All Users\": everybody is in it, and Retool alone decides that")]
    AllUsers(GroupId),
    /// Without an administrator nobody can put things right in Retool.
    #[error(
        "user {user} is the last enabled member of Retool's group \"admin\" (group {group}): put another enabled user into it first"
    )]
    LastAdmin {
        /// The group `admin`.
        group: GroupId,
        /// Its last enabled member.
        user: UserId,
    },
    /// Access of that level would be left, or there is none here that could be taken away.
    #[error("{holder} would still have {} access to page {page}: {}", level.as_str(), listed(sources))]
    AccessRemains {
        /// Whose access.
        holder: Item,
        /// To what.
        page: PageId,
        /// The level that was to be taken away.
        level: AccessLevel,
        /// What gives it, or more.
        sources: Vec<Source>,
    },
    /// A group has the name that managed groups have and is more, or less, than one.
    #[error("group {group} has the name of a managed group, {name}, and is not as it was made: {problem}")]
    NotManaged {
        /// The group.
        group: GroupId,
        /// Its name, which has that of the page in it where it is of the older naming.
        name: PrivateText,
        /// What is wrong with it.
        problem: ManagedProblem,
    },
}

impl Refusal {
    /// The refusal in one word, for logs.
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

/// Something of Retool's that a sentence is about.
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

/// What is wrong with a group that has a managed group's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ManagedProblem {
    /// It is archived.
    Archived,
    /// It has rights over more than its page.
    MoreRights,
    /// It has members and not the level that its name says, which a new member would give to them.
    OtherLevel,
}

impl fmt::Display for ManagedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archived => "it is archived",
            Self::MoreRights => "it gives more than access to its page",
            Self::OtherLevel => "it has members and another level on its page than its name says",
        })
    }
}

/// Where access comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The group.
    pub group: GroupId,
    /// Its name, which can be a person's.
    pub name: PrivateText,
    /// How the group comes by it.
    pub way: Way,
    /// Which level it gives.
    pub level: AccessLevel,
}

/// How a group comes by its access to a page.
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

/// Names a few and counts the rest: a user can be in hundreds of groups.
fn listed(sources: &[Source]) -> String {
    const NAMED: usize = 5;
    let mut text = sources.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = sources.len().checked_sub(NAMED).filter(|more| *more > 0) {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// What is to happen to the row that gives a group access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowChange {
    /// It is made, or raised, to this level.
    Set(AccessLevel),
    /// It goes.
    Remove,
}

impl Access {
    /// What gives `level` or more, each way by itself.
    pub(crate) fn ways(self, level: AccessLevel) -> impl Iterator<Item = (Way, AccessLevel)> {
        let folder = self.folder.filter(|_| self.explicit == ExplicitAccess::NoRow);
        [(Way::Explicit, self.explicit.level()), (Way::Folder, folder), (Way::Universal, self.universal)]
            .into_iter()
            .filter_map(|(way, given)| Some((way, given?)))
            .filter(move |(_, given)| *given >= level)
    }

    /// The access once its row has been changed.
    pub(crate) fn with(self, change: RowChange) -> Self {
        let explicit = match change {
            RowChange::Set(level) => ExplicitAccess::Level(level),
            RowChange::Remove => ExplicitAccess::NoRow,
        };
        Self { explicit, ..self }
    }

    /// What raises the group to `level`: nothing when it is there already. The level
    /// asked for is above the effective one, so that it is above the row's and the folder's too.
    pub(crate) fn to_grant(self, level: AccessLevel) -> Option<RowChange> {
        (self.effective() < Some(level)).then_some(RowChange::Set(level))
    }

    /// What lowers the group to just below `level`: nothing when it is there already.
    ///
    /// # Errors
    /// What would still give `level` afterwards: universal access, the folder's default, or that default
    /// coming to light when the row that hides it goes.
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

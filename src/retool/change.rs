//! What may be changed in Retool, and what a change comes down to. All of it is decided here, without the
//! database, from what the database room has read; the statements do no more than carry it out.

use std::fmt;

use crate::retool::access::{Access, AccessLevel};
use crate::retool::id::{GroupId, PageId, UserId};

/// Retool's group of everybody. Who is in it is Retool's own business (D21).
pub const ALL_USERS: &str = "All Users";
/// Retool's group of those who may administer it.
pub const ADMIN: &str = "admin";

/// Why a change may not be made as Retool is now. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
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
    /// The configuration leaves disabled users out, so that the grant would never be listed.
    #[error(
        "user {0} is disabled in Retool, and --skip-disabled-users leaves such users out: enable the user first"
    )]
    DisabledUser(UserId),
    /// An archived group gives nothing.
    #[error("group {0} is archived in Retool and gives nothing: restore it first")]
    ArchivedGroup(GroupId),
    /// Retool keeps organizations apart.
    #[error("{0} and {1} are in different organizations of Retool")]
    DifferentOrganizations(Item, Item),
    /// Only what belongs to an organization can reach a page of it.
    #[error("{0} belongs to no organization of Retool, and pages belong to one")]
    NoOrganization(Item),
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
    #[error(
        "group {group} has the name of a group that baton-retool makes, {name:?}, and is not as it was made: {}; rename or mend it in Retool",
        .problem.as_str()
    )]
    NotManaged {
        /// The group.
        group: GroupId,
        /// Its name.
        name: String,
        /// What is wrong with it.
        problem: ManagedProblem,
    },
    /// Single users get no access to pages here.
    #[error(
        "single users get no access to pages while --managed-groups=false: put the user into a group with access"
    )]
    ManagedGroupsOff,
}

impl Refusal {
    /// The refusal in one word, for logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoUser(_) => "no_user",
            Self::NoSid(_) => "no_sid",
            Self::NoGroup(_) => "no_group",
            Self::NoPage(_) => "no_page",
            Self::DisabledUser(_) => "disabled_user",
            Self::ArchivedGroup(_) => "archived_group",
            Self::DifferentOrganizations(..) => "different_organizations",
            Self::NoOrganization(_) => "no_organization",
            Self::AllUsers(_) => "all_users",
            Self::LastAdmin { .. } => "last_admin",
            Self::AccessRemains { .. } => "access_remains",
            Self::NotManaged { .. } => "not_managed",
            Self::ManagedGroupsOff => "managed_groups_off",
        }
    }
}

/// Something of Retool's that a sentence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A user.
    User(UserId),
    /// A group.
    Group(GroupId),
    /// A page.
    Page(PageId),
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(formatter, "user {id}"),
            Self::Group(id) => write!(formatter, "group {id}"),
            Self::Page(id) => write!(formatter, "page {id}"),
        }
    }
}

/// What is wrong with a group that has a managed group's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedProblem {
    /// It is archived.
    Archived,
    /// It has rights over more than its page.
    MoreRights,
    /// It has members and not the level that its name says, which a new member would give to them.
    OtherLevel,
}

impl ManagedProblem {
    fn as_str(self) -> &'static str {
        match self {
            Self::Archived => "it is archived",
            Self::MoreRights => "it gives more than access to its page",
            Self::OtherLevel => "it has members and another level on its page than its name says",
        }
    }
}

/// Where access comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// How the group comes by it.
    pub way: Way,
    /// Which level it gives.
    pub level: AccessLevel,
}

/// How a group comes by its access to a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A row that names the page.
    Explicit,
    /// The default of the page's folder.
    Folder,
    /// Its universal access to all pages.
    Universal,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Explicit => "on the page itself",
            Way::Folder => "by the default of the page's folder",
            Way::Universal => "by its universal access",
        };
        write!(formatter, "group {} {:?} has {} {way}", self.group, self.name, self.level.as_str())
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
pub enum RowChange {
    /// It is made, or raised, to this level.
    Set(AccessLevel),
    /// It goes.
    Remove,
}

impl Access {
    /// What gives `level` or more, each way by itself.
    pub fn ways(self, level: AccessLevel) -> impl Iterator<Item = (Way, AccessLevel)> {
        let folder = if self.explicit.is_some() { None } else { self.folder };
        [(Way::Explicit, self.explicit.flatten()), (Way::Folder, folder), (Way::Universal, self.universal)]
            .into_iter()
            .filter_map(|(way, given)| Some((way, given?)))
            .filter(move |(_, given)| *given >= level)
    }

    /// The access once its row has been changed.
    pub fn with(self, change: RowChange) -> Self {
        let explicit = match change {
            RowChange::Set(level) => Some(Some(level)),
            RowChange::Remove => None,
        };
        Self { explicit, ..self }
    }

    /// What raises the group to `level`: nothing when it is there already (decision 7.6, D15). The level
    /// asked for is above the effective one, so that it is above the row's and the folder's too.
    pub fn to_grant(self, level: AccessLevel) -> Option<RowChange> {
        (self.effective() < Some(level)).then_some(RowChange::Set(level))
    }

    /// What lowers the group to just below `level`: nothing when it is there already (decision 7.6).
    ///
    /// # Errors
    /// What would still give `level` afterwards: universal access, the folder's default, or that default
    /// coming to light when the row that hides it goes (D13, D14).
    pub fn to_revoke(self, level: AccessLevel) -> Result<Option<RowChange>, Access> {
        if self.effective() < Some(level) {
            return Ok(None);
        }
        if self.explicit.flatten() < Some(level) {
            return Err(self);
        }
        let change = level.below().map_or(RowChange::Remove, RowChange::Set);
        let after = self.with(change);
        if after.effective() < Some(level) { Ok(Some(change)) } else { Err(after) }
    }
}

#[cfg(test)]
mod tests;

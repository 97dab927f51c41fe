//! Retool and the rules of changing it, held in memory as plain data and without a line of the program.
//! A test makes each change here and there and compares.

mod listing;
pub(crate) mod retool;
mod rules;
mod tables;

use std::collections::BTreeMap;

use proptest::sample::Index;
use tonic::Code;

use super::changes::Did;
use super::client::Fact;

/// 0 is no access, then `read`, `write`, `own`.
pub(crate) type Level = usize;

/// The words of the levels.
pub(crate) const WORDS: [&str; 4] = ["none", "read", "write", "own"];

/// Everything that the rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    users: BTreeMap<i32, User>,
    groups: BTreeMap<i32, Group>,
    pages: BTreeMap<i32, Page>,
    /// By group and user: whether the member is the group's admin.
    members: BTreeMap<(i32, i32), bool>,
    /// By group and page.
    rows: BTreeMap<(i32, i32), Level>,
    /// By group and folder.
    defaults: BTreeMap<(i32, i32), Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    organization: Option<i32>,
    enabled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    organization: Option<i32>,
    name: String,
    archived: bool,
    /// The columns that end in `Access`, those that give nothing left out.
    rights: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    organization: Option<i32>,
    folder: i32,
    name: String,
    deleted: bool,
}

/// The flags of the program that the rules depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) skip_disabled_users: bool,
    pub(crate) managed_groups: bool,
}

/// A group that a test means: one by its key, or one of those that are called as managed groups are, whichever
/// there are by then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Key(i32),
    Made(Index),
}

/// What is granted or revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entitlement {
    Group {
        group: Which,
        admin: bool,
    },
    /// A page's, in the family of users or in that of groups.
    Page {
        page: i32,
        of_users: bool,
        level: Level,
    },
    /// One that nobody can grant, and the resource that it lies on.
    Other(&'static str),
}

/// To whom it is granted or from whom it is revoked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principal {
    User(i32),
    Group(Which),
    /// One that holds nothing.
    Other(&'static str),
}

/// What a Grant or a Revoke has to answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It is done, or was so already; the grants that come with it.
    Done(Did, Vec<Fact>),
    /// It is refused for one of these reasons, and nothing has changed.
    Refused(Vec<Reason>),
}

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    NothingToGrant,
    WrongPrincipal,
    NoUser(i32),
    NoGroup(i32),
    NoPage(i32),
    Disabled(i32),
    Archived(i32),
    Organizations,
    NoOrganization,
    AllUsers(i32),
    LastAdmin(i32),
    /// These groups still give it. One that was made in the same moment has a key that nobody knows yet.
    Remains(Vec<i32>),
    NotManaged(i32),
    ManagedGroupsOff,
    /// Retool's own trigger does not let the row be written.
    Trigger,
}

impl Model {
    /// The key of the group; one that no group has where there is none.
    pub(crate) fn key(&self, which: Which) -> i32 {
        match which {
            Which::Key(key) => key,
            Which::Made(index) => {
                let is_made = |name: &str| name.starts_with("baton:page:") || name.contains("-group-app ");
                let made = self.groups.iter().filter(|(_, group)| is_made(&group.name));
                let made: Vec<i32> = made.map(|(key, _)| *key).collect();
                if made.is_empty() { 98 } else { *index.get(&made) }
            }
        }
    }

    fn named(&self, organization: i32, name: &str) -> Option<i32> {
        let mut groups = self.groups.iter();
        groups
            .find(|(_, group)| group.organization == Some(organization) && group.name == name)
            .map(|(key, _)| *key)
    }

    /// The page and the level that the group's name says, in the new way.
    pub(crate) fn said(&self, which: Which) -> Option<(i32, Level)> {
        let group = self.groups.get(&self.key(which))?;
        let (page, word) = group.name.strip_prefix("baton:page:")?.split_once(':')?;
        Some((page.parse().unwrap(), WORDS.iter().position(|known| *known == word)?))
    }

    /// As the protocol spells it.
    pub(crate) fn entitlement_id(&self, entitlement: &Entitlement) -> String {
        match *entitlement {
            Entitlement::Group { group, admin } => {
                format!("group:g{}:{}", self.key(group), if admin { "admin" } else { "member" })
            }
            Entitlement::Page { page, of_users, level } => {
                format!("page:p{page}:{}:{}", if of_users { "user" } else { "group" }, WORDS[level])
            }
            Entitlement::Other(id) => id.to_owned(),
        }
    }

    /// As tests spell it: `user/u7`.
    pub(crate) fn principal_path(&self, principal: &Principal) -> String {
        match *principal {
            Principal::User(user) => format!("user/u{user}"),
            Principal::Group(group) => format!("group/g{}", self.key(group)),
            Principal::Other(path) => path.to_owned(),
        }
    }
}

impl Reason {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NothingToGrant => Code::Unimplemented,
            Self::WrongPrincipal => Code::InvalidArgument,
            Self::NoUser(_) | Self::NoGroup(_) | Self::NoPage(_) => Code::NotFound,
            _ => Code::FailedPrecondition,
        }
    }

    /// Words that the message has to have, so that its reader knows what is in the way.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::NothingToGrant => vec!["not implemented".to_owned()],
            Self::WrongPrincipal => vec!["goes to a".to_owned()],
            Self::NoUser(user) => vec![format!("no user {user} ")],
            Self::NoGroup(group) => vec![format!("no group {group} ")],
            Self::NoPage(page) => vec![format!("no page {page} ")],
            Self::Disabled(user) => vec![format!("user {user} is disabled")],
            Self::Archived(group) => vec![format!("group {group} is archived")],
            Self::Organizations | Self::Trigger => vec!["different organizations".to_owned()],
            Self::NoOrganization => vec!["belongs to no organization".to_owned()],
            Self::AllUsers(group) => vec![format!("group {group} "), "All Users".to_owned()],
            Self::LastAdmin(user) => vec![format!("user {user} is the last enabled member")],
            Self::Remains(groups) => {
                let named = groups.iter().take(2).filter(|group| **group > 0);
                named.map(|group| format!("group {group} ")).chain(["would still have".to_owned()]).collect()
            }
            Self::NotManaged(group) => vec![format!("group {group} "), "not as it was made".to_owned()],
            Self::ManagedGroupsOff => vec!["--managed-groups=false".to_owned()],
        }
    }
}

/// What a managed group is called.
pub(crate) fn managed_name(page: i32, level: Level) -> String {
    format!("baton:page:{page}:{}", WORDS[level])
}

/// What the former program called such a group: an address, the page's key and name, and the level (4.3).
pub(crate) fn former_name(page: i32, level: Level) -> String {
    format!("47792046232968{page}-group-app {page}-{}", WORDS[level])
}

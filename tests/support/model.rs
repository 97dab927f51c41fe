//! A model of Retool and of the rules for changes, in memory and independent of the program. A test makes
//! each change in the model and in Retool, and compares the results.

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

/// The keywords of the levels.
pub(crate) const WORDS: [&str; 4] = ["none", "read", "write", "own"];

/// All data that the rules use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    users: BTreeMap<i32, User>,
    groups: BTreeMap<i32, Group>,
    pages: BTreeMap<i32, Page>,
    /// By group and user: whether the member is an admin of the group.
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
    /// The columns that end in `Access`, without those that grant nothing.
    rights: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Page {
    organization: Option<i32>,
    folder: i32,
    name: String,
    deleted: bool,
}

/// The flags of the program that affect the rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) skip_disabled_users: bool,
    pub(crate) managed_groups: bool,
}

/// The group of a test: either given by its key, or any group with the name of a managed group at that time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Key(i32),
    Made(Index),
}

/// The entitlement of a grant or revoke.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entitlement {
    Group {
        group: Which,
        admin: bool,
    },
    /// An entitlement of a page, of users or of groups.
    Page {
        page: i32,
        of_users: bool,
        level: Level,
    },
    /// An entitlement that cannot be granted, and its resource.
    Other(&'static str),
}

/// The principal of a grant or revoke.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principal {
    User(i32),
    Group(Which),
    /// A principal that can hold nothing.
    Other(&'static str),
}

/// The expected answer to a Grant or a Revoke.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The change is made, or the state was already as requested; with the returned grants.
    Done(Did, Vec<Fact>),
    /// The change is refused for one of these reasons, and nothing has changed.
    Refused(Vec<Reason>),
}

/// The reason of a refusal.
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
    /// These groups still grant it. The key of a group created at the same time is not known yet.
    Remains(Vec<i32>),
    NotManaged(i32),
    ManagedGroupsOff,
    /// Retool's own trigger refuses the row.
    Trigger,
}

impl Model {
    /// The key of the group; an unused key if there is no such group.
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

    /// The page and the level in the group's name, in the current format.
    pub(crate) fn said(&self, which: Which) -> Option<(i32, Level)> {
        let group = self.groups.get(&self.key(which))?;
        let (page, word) = group.name.strip_prefix("baton:page:")?.split_once(':')?;
        Some((page.parse().unwrap(), WORDS.iter().position(|known| *known == word)?))
    }

    /// The id of the entitlement in the protocol.
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

    /// The principal in the format of the tests: `user/u7`.
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

    /// Texts that the message must contain, so that its reader knows the obstacle.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::NothingToGrant => vec!["not implemented".to_owned()],
            Self::WrongPrincipal => vec!["is granted to a".to_owned()],
            Self::NoUser(user) => vec![format!("user {user} does not exist")],
            Self::NoGroup(group) => vec![format!("group {group} does not exist")],
            Self::NoPage(page) => vec![format!("page {page} does not exist")],
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
            Self::NotManaged(group) => vec![format!("group {group} "), "differs from it".to_owned()],
            Self::ManagedGroupsOff => vec!["--managed-groups=false".to_owned()],
        }
    }
}

/// The name of a managed group.
pub(crate) fn managed_name(page: i32, level: Level) -> String {
    format!("baton:page:{page}:{}", WORDS[level])
}

/// The name of such a group in the Go connector: an address, the page's key and name, and the level.
pub(crate) fn former_name(page: i32, level: Level) -> String {
    format!("47792046232968{page}-group-app {page}-{}", WORDS[level])
}

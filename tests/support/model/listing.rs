//! The grants that a listing must contain.

use std::collections::BTreeSet;

use super::{Entitlement, Group, Level, Model, Page, Principal, Rules, WORDS, Which};
use crate::support::client::Fact;

/// The rights that make a group more than the managed group of a page, because a user who leaves it would
/// lose them too. The other columns are on in every group that the Go connector created.
const MORE: [&str; 5] = [
    "universalAccess",
    "universalResourceAccess",
    "universalQueryLibraryAccess",
    "userListAccess",
    "auditLogAccess",
];

impl Model {
    /// All grants on a group.
    pub(crate) fn group_grants(&self, key: i32, rules: Rules) -> BTreeSet<Fact> {
        if self.groups.get(&key).is_none_or(|group| group.archived) {
            return BTreeSet::new();
        }
        let mut facts = BTreeSet::new();
        for ((_, user), admin) in self.members_of(key) {
            if self.is_listed(*user, rules) {
                let entitlement = format!("group:g{key}:{}", if *admin { "admin" } else { "member" });
                facts.insert(to_user(entitlement, *user));
            }
        }
        facts
    }

    /// All grants on a page.
    pub(crate) fn page_grants(&self, key: i32, rules: Rules) -> BTreeSet<Fact> {
        let mut facts = BTreeSet::new();
        let Some((page, organization)) = self.live(key) else { return facts };
        for group in self.groups_of(organization) {
            for (level, word) in WORDS.iter().enumerate().skip(1).take(self.effective(group, key, page)) {
                for family in ["group", "user"] {
                    let entitlement = format!("page:p{key}:{family}:{word}");
                    facts.insert(Fact {
                        id: format!("{entitlement}:group:g{group}"),
                        entitlement,
                        principal: format!("group/g{group}"),
                        expands: vec![format!("group:g{group}:member"), format!("group:g{group}:admin")],
                        immutable: self.row(group, key) < level,
                    });
                }
            }
            let Some(level) = self.managed_level(group, key) else { continue };
            for ((_, user), _) in self.members_of(group) {
                if self.is_listed(*user, rules) {
                    facts.insert(to_user(format!("page:p{key}:user:{}", WORDS[level]), *user));
                }
            }
        }
        facts
    }

    /// All grants on groups and pages, including those that were not requested.
    pub(crate) fn held(&self, rules: Rules) -> Vec<(Entitlement, Principal)> {
        let of_groups = self.groups.keys().flat_map(|group| self.group_grants(*group, rules));
        let of_pages = self.pages.keys().flat_map(|page| self.page_grants(*page, rules));
        of_groups.chain(of_pages).map(|fact| asked_for(&fact.id)).collect()
    }

    /// Whether the user is listed and can therefore be a principal.
    fn is_listed(&self, user: i32, rules: Rules) -> bool {
        self.users.get(&user).is_some_and(|user| user.enabled || !rules.skip_disabled_users)
    }

    /// The page and its organization, if it is visible.
    pub(super) fn live(&self, key: i32) -> Option<(&Page, i32)> {
        let page = self.pages.get(&key).filter(|page| !page.deleted)?;
        Some((page, page.organization?))
    }

    /// Groups of the organization that have an effect.
    pub(super) fn groups_of(&self, organization: i32) -> impl Iterator<Item = i32> {
        let groups = self.groups.iter();
        groups
            .filter(move |(_, group)| group.organization == Some(organization) && !group.archived)
            .map(|(key, _)| *key)
    }

    pub(super) fn members_of(&self, group: i32) -> impl Iterator<Item = (&(i32, i32), &bool)> {
        self.members.range((group, i32::MIN)..=(group, i32::MAX))
    }

    /// The level of a group's own row.
    pub(super) fn row(&self, group: i32, page: i32) -> Level {
        self.rows.get(&(group, page)).copied().unwrap_or(0)
    }

    /// The level of a group on a page: its own row, else the default of the folder; universal access only
    /// raises it.
    pub(super) fn effective(&self, group: i32, key: i32, page: &Page) -> Level {
        let default = self.defaults.get(&(group, page.folder)).copied().unwrap_or(0);
        let specific = self.rows.get(&(group, key)).copied().unwrap_or(default);
        specific.max(self.groups[&group].universal())
    }

    /// The level of the page for which this is the managed group; `None` if it is not one.
    pub(super) fn managed_level(&self, group: i32, page: i32) -> Option<Level> {
        let level = self.row(group, page);
        let name = &self.groups[&group].name;
        let is_called_so = *name == super::managed_name(page, level) || is_former_name(name, page, level);
        (level > 0 && is_called_so && self.gives_nothing_else(group, page)).then_some(level)
    }

    pub(super) fn gives_nothing_else(&self, group: i32, page: i32) -> bool {
        MORE.iter().all(|right| !self.groups[&group].rights.contains_key(*right))
            && self.rows.keys().all(|(of, on)| *of != group || *on == page)
            && self.defaults.keys().all(|(of, _)| *of != group)
    }
}

impl Group {
    fn universal(&self) -> Level {
        let word = self.rights.get("universalAccess").map_or("none", String::as_str);
        WORDS.iter().position(|known| *known == word).unwrap()
    }
}

/// Whether Retool allows a relation between the two: its triggers do not join two organizations.
pub(super) fn together(one: Option<i32>, other: Option<i32>) -> bool {
    one.is_none() || other.is_none() || one == other
}

fn is_former_name(name: &str, page: i32, level: Level) -> bool {
    let Some((head, tail)) = name.split_once("-group-") else { return false };
    let Some(address) = head.strip_suffix(&page.to_string()) else { return false };
    let address = address.strip_prefix("0x").unwrap_or(address);
    !address.is_empty()
        && address.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        && tail.ends_with(&format!("-{}", WORDS[level]))
}

/// The entitlement and principal in the id of a grant: `group:g5:member:user:u7`,
/// `page:p3:user:read:group:g5`.
fn asked_for(id: &str) -> (Entitlement, Principal) {
    let parts: Vec<&str> = id.split(':').collect();
    let number = |part: &str| part[1..].parse().unwrap();
    match parts[..] {
        ["group", group, role, "user", user] => {
            let group = Which::Key(number(group));
            (Entitlement::Group { group, admin: role == "admin" }, Principal::User(number(user)))
        }
        ["page", page, family, level, kind, principal] => {
            let level = WORDS.iter().position(|known| *known == level).unwrap();
            let principal = match kind {
                "group" => Principal::Group(Which::Key(number(principal))),
                _ => Principal::User(number(principal)),
            };
            (Entitlement::Page { page: number(page), of_users: family == "user", level }, principal)
        }
        _ => panic!("no grant has the id {id}"),
    }
}

fn to_user(entitlement: String, user: i32) -> Fact {
    Fact {
        id: format!("{entitlement}:user:u{user}"),
        entitlement,
        principal: format!("user/u{user}"),
        expands: Vec::new(),
        immutable: false,
    }
}

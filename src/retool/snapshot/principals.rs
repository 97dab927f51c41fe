//! Users and groups, numbered in the order of their keys.

use std::collections::HashMap;

use crate::retool::id::{GroupId, UserId};
use crate::retool::snapshot::members::Member;
use crate::retool::tables::organizations::Rights;

/// The users that can be principals of a grant (decision listed-principals).
#[derive(Default)]
pub(super) struct Users {
    /// The keys in ascending order.
    pub(super) keys: Box<[u32]>,
    /// Users by the key of their organization; 0 for none.
    of_organization: HashMap<u32, Box<[Member]>>,
}

/// The groups that can grant access.
#[derive(Default)]
pub(super) struct Groups {
    /// The keys in ascending order.
    pub(super) keys: Box<[u32]>,
    facts: Box<[GroupFacts]>,
    members: Box<[Box<[Member]>]>,
    /// Groups by the key of their organization; 0 for none.
    of_organization: HashMap<u32, Box<[u32]>>,
}

/// The attributes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupFacts {
    /// The key of the organization; 0 for none.
    pub(super) organization: u32,
    pub(super) rights: Rights,
}

// ===== impl Users =====

impl Users {
    /// Builds the users from pairs of organization and key.
    pub(super) fn new(mut found: Vec<(u32, u32)>) -> Self {
        found.sort_unstable_by_key(|(_, key)| *key);
        found.dedup_by_key(|(_, key)| *key);
        let keys: Box<[u32]> = found.iter().map(|(_, key)| *key).collect();
        // Replace keys with numbers, then sort by organization.
        for (number, (_, key)) in (0..).zip(&mut found) {
            *key = number;
        }
        found.sort_unstable();
        let of_organization = found.chunk_by(|(one, _), (other, _)| one == other);
        let of_organization = of_organization.filter_map(|users| {
            let (organization, _) = users.first()?;
            Some((*organization, users.iter().map(|(_, number)| Member::new(*number, false)).collect()))
        });
        Self { of_organization: of_organization.collect(), keys }
    }

    /// The users of the organization with this key; 0 for users without one.
    pub(super) fn of(&self, organization: u32) -> &[Member] {
        self.of_organization.get(&organization).map_or(&[], |users| users)
    }

    /// The number of the first user whose key is `key` or higher.
    pub(super) fn from(&self, key: u32) -> u32 {
        let number = self.keys.partition_point(|known| *known < key);
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    pub(super) fn key(&self, number: u32) -> Option<UserId> {
        let key = self.keys.get(number as usize)?;
        UserId::try_from(i64::from(*key)).ok()
    }

    pub(super) fn bytes(&self) -> usize {
        2 * size_of_val(&*self.keys) + self.of_organization.len() * ENTRY
    }
}

/// The approximate overhead of a list in a map, in bytes, without its content.
const ENTRY: usize = 48;

// ===== impl Groups =====

impl Groups {
    /// Builds the groups. `groups` is in the order of the keys; `members` has the keys of each group's
    /// members.
    pub(super) fn new(groups: Vec<(u32, GroupFacts)>, members: Vec<Vec<Member>>, users: &Users) -> Self {
        let mut of_organization: HashMap<u32, Vec<u32>> = HashMap::new();
        for (number, (_, facts)) in (0..).zip(&groups) {
            of_organization.entry(facts.organization).or_default().push(number);
        }
        let numbered = members.into_iter().map(|mut members| {
            number_members(&mut members, &users.keys);
            members.into_boxed_slice()
        });
        Self {
            keys: groups.iter().map(|(key, _)| *key).collect(),
            facts: groups.iter().map(|(_, facts)| *facts).collect(),
            members: numbered.collect(),
            of_organization: of_organization.into_iter().map(|(of, groups)| (of, groups.into())).collect(),
        }
    }

    /// The number of the group.
    pub(super) fn find(&self, group: GroupId) -> Option<u32> {
        let number = self.keys.binary_search(&group.get().unsigned_abs()).ok()?;
        u32::try_from(number).ok()
    }

    /// The numbers of the groups of the organization with this key; 0 for groups without one.
    pub(super) fn of(&self, organization: u32) -> &[u32] {
        self.of_organization.get(&organization).map_or(&[], |groups| groups)
    }

    pub(super) fn key(&self, number: u32) -> Option<GroupId> {
        let key = self.keys.get(number as usize)?;
        GroupId::try_from(i64::from(*key)).ok()
    }

    pub(super) fn facts(&self, number: u32) -> Option<GroupFacts> {
        self.facts.get(number as usize).copied()
    }

    pub(super) fn members(&self, number: u32) -> Option<&[Member]> {
        self.members.get(number as usize).map(|members| &**members)
    }

    pub(super) fn bytes(&self) -> usize {
        let members: usize = self.members.iter().map(|members| size_of_val(&**members)).sum();
        let of_each = 2 * size_of::<u32>() + size_of::<GroupFacts>() + size_of::<Box<[Member]>>();
        self.keys.len() * of_each + members + self.of_organization.len() * ENTRY
    }

    /// The number of groups and memberships.
    pub(super) fn rows(&self) -> usize {
        self.keys.len() + self.members.iter().map(|members| members.len()).sum::<usize>()
    }
}

/// Replaces keys of users with their numbers. Users that are not principals are left out.
fn number_members(members: &mut Vec<Member>, keys: &[u32]) {
    members.sort_unstable();
    // If a user has two rows, an admin row wins: it sorts last.
    members.reverse();
    members.dedup_by_key(|member| member.number());
    members.reverse();
    let mut passed = 0;
    members.retain_mut(|member| {
        let key = member.number();
        let rest = keys.get(passed..).unwrap_or_default();
        passed += rest.partition_point(|known| *known < key);
        let is_known = keys.get(passed) == Some(&key);
        if let (true, Ok(number)) = (is_known, u32::try_from(passed)) {
            *member = Member::new(number, member.is_admin());
        }
        is_known
    });
}

//! The effects of Grant and Revoke.

use super::listing::together;
use super::{Answer, Entitlement, Group, Model, Principal, Reason, Rules, managed_name};
use crate::support::changes::Did;

type Outcome = Result<Did, Vec<Reason>>;

impl Model {
    /// Makes the change, or returns the reasons of the refusal.
    pub(crate) fn grant(&mut self, entitlement: &Entitlement, principal: &Principal, rules: Rules) -> Answer {
        let id = format!(
            "{}:{}",
            self.entitlement_id(entitlement),
            self.principal_path(principal).replace('/', ":")
        );
        let outcome = match (*entitlement, *principal) {
            (Entitlement::Group { group, admin }, Principal::User(user)) => {
                self.join(self.key(group), user, admin, rules)
            }
            (Entitlement::Page { page, level, .. }, Principal::Group(group)) => {
                self.raise_group(page, self.key(group), level)
            }
            (Entitlement::Page { page, of_users: true, level }, Principal::User(user)) => {
                self.raise_user(page, user, level, rules)
            }
            _ => Err(vec![wrong(entitlement)]),
        };
        match outcome {
            Ok(did) => {
                let listed = match *entitlement {
                    Entitlement::Group { group, .. } => self.group_grants(self.key(group), rules),
                    Entitlement::Page { page, .. } => self.page_grants(page, rules),
                    Entitlement::Other(_) => unreachable!("this entitlement cannot be granted"),
                };
                Answer::Done(did, listed.into_iter().filter(|fact| fact.id == id).collect())
            }
            Err(reasons) => Answer::Refused(reasons),
        }
    }

    /// Revokes the grant, or returns the reasons of the refusal.
    pub(crate) fn revoke(&mut self, entitlement: &Entitlement, principal: &Principal) -> Answer {
        let outcome = match (*entitlement, *principal) {
            (Entitlement::Group { group, admin }, Principal::User(user)) => {
                self.leave(self.key(group), user, admin)
            }
            (Entitlement::Page { page, level, .. }, Principal::Group(group)) => {
                self.lower_group(page, self.key(group), level)
            }
            (Entitlement::Page { page, of_users: true, level }, Principal::User(user)) => {
                self.lower_user(page, user, level)
            }
            _ => Err(vec![wrong(entitlement)]),
        };
        match outcome {
            Ok(did) => Answer::Done(did, Vec::new()),
            Err(reasons) => Answer::Refused(reasons),
        }
    }

    /// An admin already counts as a member; a member who becomes an admin is no longer a member.
    fn join(&mut self, group: i32, user: i32, admin: bool, rules: Rules) -> Outcome {
        let mut reasons = Vec::new();
        reasons.extend((!self.groups.contains_key(&group)).then_some(Reason::NoGroup(group)));
        reasons.extend((!self.users.contains_key(&user)).then_some(Reason::NoUser(user)));
        reasons.extend(self.is_archived(group).then_some(Reason::Archived(group)));
        reasons.extend(self.is_left_out(user, rules).then_some(Reason::Disabled(user)));
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let held = self.members.get(&(group, user)).copied();
        if held == Some(true) || held == Some(admin) {
            return Ok(Did::Nothing);
        }
        match (self.groups[&group].organization, self.users[&user].organization) {
            (Some(_), None) => return Err(vec![Reason::NoOrganization]),
            (Some(of_group), Some(of_user)) if of_group != of_user => {
                return Err(vec![Reason::Organizations]);
            }
            _ => {}
        }
        if self.groups[&group].name == "All Users" {
            return Err(vec![Reason::AllUsers(group)]);
        }
        self.members.insert((group, user), admin);
        Ok(match held {
            Some(_) => Did::Replaced(format!("group:g{group}:member:user:u{user}")),
            None => Did::Changed,
        })
    }

    /// An admin becomes a member, a member leaves; a role that is not held needs no change. All Users and the
    /// last enabled admin are protected.
    fn leave(&mut self, group: i32, user: i32, admin: bool) -> Outcome {
        if self.members.get(&(group, user)) != Some(&admin) {
            return Ok(Did::Nothing);
        }
        let mut reasons = Vec::new();
        let facts = &self.groups[&group];
        reasons.extend((facts.name == "All Users").then_some(Reason::AllUsers(group)));
        if admin {
            let joined = together(facts.organization, self.users[&user].organization);
            reasons.extend((!joined).then_some(Reason::Trigger));
        } else if facts.name == "admin" && !facts.archived {
            // An archived group grants nothing, so nothing is lost with it. The users that count belong to
            // the organization of the group or, if the group has none, to the organization of the user.
            let organization = facts.organization.or(self.users[&user].organization);
            let administers = |user: &i32| {
                let user = &self.users[user];
                user.enabled && user.organization == organization
            };
            let mut others = self.members_of(group).filter(|((_, other), _)| *other != user);
            let is_last = administers(&user) && !others.any(|((_, other), _)| administers(other));
            reasons.extend(is_last.then_some(Reason::LastAdmin(user)));
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        if admin {
            self.members.insert((group, user), false);
        } else {
            self.members.remove(&(group, user));
        }
        Ok(Did::Changed)
    }

    /// Raises the group's own row to the level, unless the group already has this level in any way.
    fn raise_group(&mut self, page: i32, group: i32, level: usize) -> Outcome {
        let mut reasons = Vec::new();
        let live = self.live(page);
        reasons.extend(live.is_none().then_some(Reason::NoPage(page)));
        match self.groups.get(&group) {
            None => reasons.push(Reason::NoGroup(group)),
            Some(facts) => match (facts.organization, live) {
                (None, _) => reasons.push(Reason::NoOrganization),
                (Some(of), Some((_, organization))) if of != organization => {
                    reasons.push(Reason::Organizations);
                }
                _ => {}
            },
        }
        reasons.extend(self.is_archived(group).then_some(Reason::Archived(group)));
        match live {
            Some((facts, _)) if reasons.is_empty() => {
                if self.effective(group, page, facts) >= level {
                    return Ok(Did::Nothing);
                }
            }
            _ => return Err(reasons),
        }
        self.rows.insert((group, page), level);
        Ok(Did::Changed)
    }

    /// Lowers the group's own row to just below the level, if this removes the level.
    fn lower_group(&mut self, page: i32, group: i32, level: usize) -> Outcome {
        let Some((facts, organization)) = self.live(page) else { return Ok(Did::Nothing) };
        let gives = self.groups_of(organization).any(|known| known == group);
        if !gives || self.effective(group, page, facts) < level {
            return Ok(Did::Nothing);
        }
        let mut after = self.clone();
        if self.row(group, page) >= level {
            match level {
                1 => drop(after.rows.remove(&(group, page))),
                _ => drop(after.rows.insert((group, page), level - 1)),
            }
        }
        if after.effective(group, page, facts) >= level {
            return Err(vec![Reason::Remains(vec![group])]);
        }
        *self = after;
        Ok(Did::Changed)
    }

    /// Adds the user to the managed group of page and level, and creates the group if needed. This gives no
    /// user more than was requested.
    fn raise_user(&mut self, page: i32, user: i32, level: usize, rules: Rules) -> Outcome {
        let mut reasons = Vec::new();
        reasons.extend((!rules.managed_groups).then_some(Reason::ManagedGroupsOff));
        let live = self.live(page);
        reasons.extend(live.is_none().then_some(Reason::NoPage(page)));
        match self.users.get(&user) {
            None => reasons.push(Reason::NoUser(user)),
            Some(facts) => match (facts.organization, live) {
                (None, _) => reasons.push(Reason::NoOrganization),
                (Some(of), Some((_, organization))) if of != organization => {
                    reasons.push(Reason::Organizations);
                }
                _ => {}
            },
        }
        reasons.extend(self.is_left_out(user, rules).then_some(Reason::Disabled(user)));
        let Some((_, organization)) = live.filter(|_| reasons.is_empty()) else { return Err(reasons) };
        let givers = self.givers(page, user, level);
        if givers.iter().any(|group| self.managed_level(*group, page) == Some(level)) {
            return Ok(Did::Nothing);
        }
        let name = managed_name(page, level);
        let group = match self.named(organization, &name) {
            Some(group) => {
                let has = self.row(group, page);
                let others_gain = has < level && self.members_of(group).next().is_some();
                let gives_more = has > level
                    || !self.gives_nothing_else(group, page)
                    || self.groups[&group].rights.contains_key("unpublishedReleaseAccess");
                if self.is_archived(group) || gives_more || others_gain {
                    return Err(vec![Reason::NotManaged(group)]);
                }
                group
            }
            None => {
                // Postgres chooses the key; it is unknown until the tables are read.
                let group = -(page * 10 + level as i32);
                let facts = Group {
                    organization: Some(organization),
                    name,
                    archived: false,
                    rights: Default::default(),
                };
                self.groups.insert(group, facts);
                group
            }
        };
        self.rows.insert((group, page), level);
        self.members.entry((group, user)).or_insert(false);
        Ok(Did::Changed)
    }

    /// Removes the user from every managed group of page and level. A user who is in none of them and has the
    /// level through other groups cannot lose it here.
    fn lower_user(&mut self, page: i32, user: i32, level: usize) -> Outcome {
        if self.live(page).is_none() || !self.users.contains_key(&user) {
            return Ok(Did::Nothing);
        }
        let (left, remain): (Vec<i32>, Vec<i32>) = self
            .givers(page, user, level)
            .into_iter()
            .partition(|group| self.managed_level(*group, page) == Some(level));
        if left.is_empty() && !remain.is_empty() {
            return Err(vec![Reason::Remains(remain)]);
        }
        if left.is_empty() {
            return Ok(Did::Nothing);
        }
        for group in left {
            self.members.remove(&(group, user));
        }
        Ok(Did::Changed)
    }

    /// The groups that give the user the level on the page.
    fn givers(&self, page: i32, user: i32, level: usize) -> Vec<i32> {
        let Some((facts, organization)) = self.live(page) else { return Vec::new() };
        self.groups_of(organization)
            .filter(|group| self.members.contains_key(&(*group, user)))
            .filter(|group| self.effective(*group, page, facts) >= level)
            .collect()
    }

    fn is_archived(&self, group: i32) -> bool {
        self.groups.get(&group).is_some_and(|group| group.archived)
    }

    fn is_left_out(&self, user: i32, rules: Rules) -> bool {
        rules.skip_disabled_users && self.users.get(&user).is_some_and(|user| !user.enabled)
    }
}

fn wrong(entitlement: &Entitlement) -> Reason {
    match entitlement {
        Entitlement::Other(_) => Reason::NothingToGrant,
        _ => Reason::WrongPrincipal,
    }
}

//! A snapshot, and the listings that it serves.

use std::ops::ControlFlow;

use crate::retool::access::{Access, AccessLevel, AccessLevels, ExplicitAccess};
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId, UserId};
use crate::retool::snapshot::items::{Given, Items};
use crate::retool::snapshot::members::{Member, behind, union};
use crate::retool::snapshot::present::{Listed, Present, Table};
use crate::retool::snapshot::principals::{Groups, Users};
use crate::retool::tables::groups;
use crate::retool::tables::memberships::Membership;
use crate::retool::tables::organizations::{self, Right, Rights};
use crate::retool::tables::pages;
use crate::retool::tables::resources::UserAccess;

/// All access data at one moment.
///
/// Users and groups are numbered in the order of their keys, and the arrays hold these numbers: 4 bytes per
/// membership or per group's access to an item.
pub(crate) struct Snapshot {
    /// The keys of all organizations, in order.
    pub(super) organizations: Box<[u32]>,
    pub(super) users: Users,
    pub(super) groups: Groups,
    pub(super) pages: Items,
    pub(super) resources: Items,
    /// The users and groups deleted since.
    pub(super) present: Present,
    /// The memory used while it was read, in bytes.
    pub(super) peak_bytes: usize,
}

/// The position of the first user in the order of [`pages::Holder`].
const FIRST_USER: u32 = 1 << 31;

// ===== impl Snapshot =====

impl Snapshot {
    /// Whether the table had a row with this key that listings show.
    pub(crate) fn has(&self, table: Table, key: u32) -> bool {
        self.keys(table).binary_search(&key).is_ok()
    }

    /// Records which rows a later listing has found in the database. Grants of users and groups that no
    /// longer exist are not shown any more.
    pub(crate) fn note(&self, listed: &Listed<'_>) {
        let organization = listed.organization();
        match listed.table {
            Table::Users => {
                let expected = self.users.of(organization).iter().map(|member| member.number());
                self.present.note_users(listed, &self.users.keys, expected);
            }
            Table::Groups => {
                let expected = self.groups.of(organization).iter().copied();
                self.present.note_groups(listed, &self.groups.keys, expected);
            }
            Table::Organizations | Table::Pages | Table::Resources => {}
        }
    }

    /// The holders of rights on the organization, from the user with key `from` on, in the order of
    /// [`organizations::holders`].
    pub(crate) fn organization_holders<B>(
        &self,
        organization: OrganizationId,
        from: u32,
        mut each: impl FnMut(organizations::Holder) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let organization = organization.get().unsigned_abs();
        let mut sources: Vec<(&[Member], u16)> = Vec::new();
        sources.push((self.users.of(organization), 1 << Right::Member as u16));
        for group in self.groups.of(organization) {
            if let (Some(facts), Some(members)) = (self.groups.facts(*group), self.groups.members(*group)) {
                sources.push((members, facts.rights.bits()));
            }
        }
        sources.retain(|(_, rights)| *rights > 0);
        self.union(sources, from, |user, rights| {
            each(organizations::Holder { user, rights: Rights::from_bits(rights.into()) })
        })
    }

    /// The members of the group, from the user with key `from` on, in the order of [`groups::members`].
    pub(crate) fn group_members<B>(
        &self,
        group: GroupId,
        from: u32,
        mut each: impl FnMut(groups::Member) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let members = self.groups.find(group).and_then(|group| self.groups.members(group));
        let missing = self.present.missing();
        for member in behind(members.unwrap_or_default(), self.users.from(from)) {
            if missing.has_user(member.number()) {
                continue;
            }
            let membership = if member.is_admin() { Membership::Admin } else { Membership::Member };
            if let Some(user) = self.users.key(member.number()) {
                each(groups::Member { user, membership })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The holders of access to the page, from the position `from` on, in the order of [`pages::holders`].
    pub(crate) fn page_holders<B>(
        &self,
        page: PageId,
        from: u32,
        mut each: impl FnMut(pages::Holder) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(page) = self.pages.find(page.get().unsigned_abs()) else {
            return ControlFlow::Continue(());
        };
        let groups = self.groups.of(self.pages.organization(page));
        let missing = self.present.missing();
        let mut managed: Vec<(&[Member], u16)> = Vec::new();
        for given in self.pages.given(page, groups) {
            let Some(facts) = self.groups.facts(given.group) else { continue };
            if let (true, Some(level), Some(members)) =
                (given.is_managed(), given.own_level(), self.groups.members(given.group))
            {
                managed.push((members, 1 << level.rank()));
            }
            let access = access(given, universal(facts.rights, Right::UniversalRead));
            let Some(group) = self.groups.key(given.group) else { continue };
            if access.effective().is_some()
                && group.get().unsigned_abs() >= from
                && !missing.has_group(given.group)
            {
                each(pages::Holder::Group { group, access })?;
            }
        }
        self.union(managed, from.saturating_sub(FIRST_USER), |user, levels| {
            let has = |level: AccessLevel| levels & (1 << level.rank()) != 0;
            let levels = AccessLevels {
                read: has(AccessLevel::Read),
                write: has(AccessLevel::Write),
                own: has(AccessLevel::Own),
            };
            each(pages::Holder::User { user, levels })
        })
    }

    /// The users with access to the resource, from the user with key `from` on, in the order of
    /// [`user_access`](crate::retool::tables::resources::user_access).
    pub(crate) fn resource_users<B>(
        &self,
        resource: ResourceId,
        from: u32,
        mut each: impl FnMut(UserAccess) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Some(resource) = self.resources.find(resource.get().unsigned_abs()) else {
            return ControlFlow::Continue(());
        };
        let groups = self.groups.of(self.resources.organization(resource));
        let mut grantors: Vec<(&[Member], u16)> = Vec::new();
        for given in self.resources.given(resource, groups) {
            let Some(facts) = self.groups.facts(given.group) else { continue };
            let access = access(given, universal(facts.rights, Right::ResourceRead));
            if let (Some(level), Some(members)) = (access.effective(), self.groups.members(given.group)) {
                grantors.push((members, 1 << level.rank()));
            }
        }
        self.union(grantors, from, |user, levels| {
            let level = AccessLevel::ALL.into_iter().rev().find(|level| levels & (1 << level.rank()) != 0);
            match level {
                Some(level) => each(UserAccess { user, level }),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// The memory used, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let principals = self.users.bytes() + self.groups.bytes();
        size_of_val(&*self.organizations) + principals + self.pages.bytes() + self.resources.bytes()
    }

    /// The memory used while it was read, in bytes.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// The number of database rows it holds.
    pub(crate) fn rows(&self) -> usize {
        let principals = self.organizations.len() + self.users.keys.len() + self.groups.rows();
        principals + self.pages.rows() + self.resources.rows()
    }

    fn keys(&self, table: Table) -> &[u32] {
        match table {
            Table::Organizations => &self.organizations,
            Table::Users => &self.users.keys,
            Table::Groups => &self.groups.keys,
            Table::Pages => self.pages.keys(),
            Table::Resources => self.resources.keys(),
        }
    }

    /// Users in the order of their keys, each with the combined bits of the sources.
    fn union<B>(
        &self,
        sources: Vec<(&[Member], u16)>,
        from: u32,
        mut each: impl FnMut(UserId, u16) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let missing = self.present.missing();
        union(sources, self.users.from(from), |number, given| match self.users.key(number) {
            Some(user) if !missing.has_user(number) => each(user, given),
            _ => ControlFlow::Continue(()),
        })
    }
}

/// The sources of a group's access to an item.
fn access(given: Given, universal: Option<AccessLevel>) -> Access {
    let explicit = match given.has_own_row() {
        true => ExplicitAccess::of_row(given.own_level()),
        false => ExplicitAccess::NoRow,
    };
    Access { universal, explicit, folder: given.folder_level() }
}

/// The group's level on all items of a kind. `read` is the lowest of the three rights that encode it.
fn universal(rights: Rights, read: Right) -> Option<AccessLevel> {
    let level = |rank: u16| rights.bits() & (1 << (read as u16 + rank - 1)) != 0;
    AccessLevel::ALL.into_iter().rev().find(|known| u16::try_from(known.rank()).is_ok_and(level))
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("bytes", &self.bytes())
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

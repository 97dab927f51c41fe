//! Builds a snapshot from rows in any order, within a memory limit.

use std::ops::ControlFlow;

use crate::retool::access::AccessLevel;
use crate::retool::snapshot::items::{Item, Items, Row};
use crate::retool::snapshot::members::Member;
use crate::retool::snapshot::present::Present;
use crate::retool::snapshot::principals::{GroupFacts, Groups, Users};
use crate::retool::snapshot::whole::Snapshot;

/// Memory per row while a snapshot is built, in bytes. The finished snapshot takes less: growing arrays
/// reserve more than they hold, and arrays are sorted into others.
pub(super) mod weight {
    pub(crate) const ORGANIZATION: usize = 8;
    pub(crate) const USER: usize = 24;
    pub(crate) const GROUP: usize = 112;
    pub(crate) const MEMBERSHIP: usize = 8;
    pub(crate) const ITEM: usize = 64;
    pub(crate) const ITEM_ROW: usize = 20;
    pub(crate) const FOLDER_ROW: usize = 36;
}

/// A snapshot under construction. Groups come first; rows that name other groups are left out.
pub(super) struct Builder {
    /// Memory limit in bytes, and the part of it that is still free.
    most: usize,
    left: usize,
    organizations: Vec<u32>,
    groups: Vec<(u32, GroupFacts)>,
    /// Members of each group, as keys of users. The index is the group's number.
    members: Vec<Vec<Member>>,
    users: Vec<(u32, u32)>,
    pages: Rows,
    resources: Rows,
}

/// The rows of pages or of resources.
#[derive(Default)]
pub(super) struct Rows {
    items: Vec<Item>,
    rows: Vec<(u32, Row)>,
    folder_rows: Vec<(i64, Row)>,
    managed: Vec<(u32, u32)>,
}

/// The kind of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pages,
    Resources,
}

/// `Break` if the snapshot exceeds its memory limit.
type Fits = ControlFlow<()>;

impl Builder {
    /// A builder with a memory limit in bytes.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            left: most,
            organizations: Vec::new(),
            groups: Vec::new(),
            members: Vec::new(),
            users: Vec::new(),
            pages: Rows::default(),
            resources: Rows::default(),
        }
    }

    pub(super) fn organization(&mut self, key: u32) -> Fits {
        self.take(weight::ORGANIZATION)?;
        self.organizations.push(key);
        ControlFlow::Continue(())
    }

    pub(super) fn group(&mut self, key: u32, facts: GroupFacts) -> Fits {
        self.take(weight::GROUP)?;
        self.groups.push((key, facts));
        if self.groups.len() >= Row::MAX_GROUPS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Call after the last group, and before any row that names a group.
    pub(super) fn all_groups(&mut self) {
        self.groups.sort_unstable_by_key(|(key, _)| *key);
        self.groups.dedup_by_key(|(key, _)| *key);
        self.members = vec![Vec::new(); self.groups.len()];
    }

    pub(super) fn user(&mut self, key: u32, organization: u32) -> Fits {
        self.take(weight::USER)?;
        self.users.push((organization, key));
        ControlFlow::Continue(())
    }

    pub(super) fn membership(&mut self, group: u32, user: u32, is_admin: bool) -> Fits {
        let Some(members) = self.number(group).and_then(|number| self.members.get_mut(number as usize))
        else {
            return ControlFlow::Continue(());
        };
        members.push(Member::new(user, is_admin));
        self.take(weight::MEMBERSHIP)
    }

    pub(super) fn item(&mut self, of: Kind, item: Item) -> Fits {
        self.take(weight::ITEM)?;
        self.rows(of).items.push(item);
        ControlFlow::Continue(())
    }

    /// Adds a row that names an item. `rank` is the rank of the level, 0 for no level.
    pub(super) fn item_row(&mut self, of: Kind, item: u32, group: u32, rank: u32) -> Fits {
        let Some(number) = self.number(group) else { return ControlFlow::Continue(()) };
        self.rows(of).rows.push((item, Row::new(number, rank)));
        self.take(weight::ITEM_ROW)
    }

    /// Adds a row that names a folder.
    pub(super) fn folder_row(&mut self, of: Kind, folder: i64, group: u32, rank: u32) -> Fits {
        let Some(number) = self.number(group) else { return ControlFlow::Continue(()) };
        self.rows(of).folder_rows.push((folder, Row::new(number, rank)));
        self.take(weight::FOLDER_ROW)
    }

    /// Marks the group as managed on the page.
    pub(super) fn managed(&mut self, page: u32, group: u32) -> Fits {
        let Some(number) = self.number(group) else { return ControlFlow::Continue(()) };
        self.pages.managed.push((page, number));
        self.take(weight::ITEM_ROW)
    }

    /// Builds the snapshot, which takes a while for a large one.
    pub(super) fn finish(mut self) -> Snapshot {
        self.organizations.sort_unstable();
        self.organizations.dedup();
        let users = Users::new(self.users);
        Snapshot {
            organizations: self.organizations.into(),
            groups: Groups::new(self.groups, self.members, &users),
            users,
            pages: self.pages.finish(),
            resources: self.resources.finish(),
            present: Present::default(),
            peak_bytes: self.most - self.left,
        }
    }

    fn take(&mut self, bytes: usize) -> Fits {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    }

    fn rows(&mut self, of: Kind) -> &mut Rows {
        match of {
            Kind::Pages => &mut self.pages,
            Kind::Resources => &mut self.resources,
        }
    }

    /// The number of the group with this key.
    fn number(&self, group: u32) -> Option<u32> {
        let number = self.groups.binary_search_by_key(&group, |(key, _)| *key).ok()?;
        u32::try_from(number).ok()
    }
}

impl Rows {
    fn finish(self) -> Items {
        Items::new(self.items, self.rows, self.folder_rows, &self.managed)
    }
}

/// The approximate memory to build a snapshot of tables with these numbers of rows, in bytes.
pub(crate) fn estimate<'a>(rows: impl IntoIterator<Item = (&'a str, i64)>) -> usize {
    let of = |table: &str| match table {
        "organizations" => weight::ORGANIZATION,
        "users" => weight::USER,
        "groups" => weight::GROUP,
        "user_groups" => weight::MEMBERSHIP,
        "pages" | "resources" => weight::ITEM,
        "group_pages" | "group_resources" => weight::ITEM_ROW,
        "group_folder_defaults" | "group_resource_folder_defaults" => weight::FOLDER_ROW,
        _ => 0,
    };
    let count = |rows: i64| usize::try_from(rows).unwrap_or_default();
    rows.into_iter().map(|(table, rows)| of(table).saturating_mul(count(rows))).fold(0, usize::saturating_add)
}

/// The rank of a level in a statement's row; 0 for any other value.
pub(super) fn rank(said: i32) -> u32 {
    AccessLevel::from_rank(said).and_then(|level| u32::try_from(level.rank()).ok()).unwrap_or_default()
}

/// A snapshot of users 1, 2, 3, ... of one organization.
#[cfg(test)]
pub(crate) fn of_users(count: u32) -> Snapshot {
    let mut builder = Builder::new(usize::MAX);
    builder.all_groups();
    for key in 1..=count {
        let _ = builder.user(key, 1);
    }
    builder.finish()
}

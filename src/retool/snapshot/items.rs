//! Pages or resources, and the access that rows for the item or its folder grant to groups.

use std::collections::HashMap;

use crate::retool::access::AccessLevel;

/// All pages, or all resources.
#[derive(Default)]
pub(super) struct Items {
    /// The keys, in ascending order.
    keys: Box<[u32]>,
    /// The key of each item's organization.
    organizations: Box<[u32]>,
    /// The number of each item's folder; [`NO_FOLDER`] if no row grants access on the folder.
    folders: Box<[u32]>,
    /// The index in `rows` of each item's first row, and a final entry for the end.
    starts: Box<[u32]>,
    rows: Box<[Row]>,
    /// The rows of each folder.
    of_folder: Box<[Box<[Row]>]>,
}

const NO_FOLDER: u32 = u32::MAX;

/// One row's grant to a group, in 4 bytes: the group's number, the level, and whether it is a managed group
/// of the item. Sorts by group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row(u32);

/// An item from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) key: u32,
    pub(super) organization: u32,
    pub(super) folder: Option<i64>,
}

/// The rows that grant a group access to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// The group's number.
    pub(super) group: u32,
    own: Option<Row>,
    folder: Option<Row>,
}

// ===== impl Row =====

impl Row {
    /// Limit of distinct group numbers.
    pub(super) const MAX_GROUPS: usize = 1 << 29;

    /// `rank` is 0 for a row that grants nothing; see [`AccessLevel::rank`].
    pub(super) fn new(group: u32, rank: u32) -> Self {
        Self(group << 3 | (rank & 3) << 1)
    }

    fn managed(self) -> Self {
        Self(self.0 | 1)
    }

    fn group(self) -> u32 {
        self.0 >> 3
    }

    fn level(self) -> Option<AccessLevel> {
        AccessLevel::from_rank(i32::try_from(self.0 >> 1 & 3).unwrap_or_default())
    }

    fn is_managed(self) -> bool {
        self.0 & 1 != 0
    }
}

// ===== impl Given =====

impl Given {
    pub(super) fn has_own_row(self) -> bool {
        self.own.is_some()
    }

    pub(super) fn own_level(self) -> Option<AccessLevel> {
        self.own.and_then(Row::level)
    }

    pub(super) fn folder_level(self) -> Option<AccessLevel> {
        self.folder.and_then(Row::level)
    }

    pub(super) fn is_managed(self) -> bool {
        self.own.is_some_and(Row::is_managed)
    }
}

// ===== impl Items =====

impl Items {
    /// Builds the items. `rows` have the key of an item, `folder_rows` the key of a folder; rows of unknown
    /// items and folders are left out. If a group has two rows on one item, the higher level counts.
    /// `managed` lists pairs of item and group whose row makes the group a managed group.
    pub(super) fn new(
        mut items: Vec<Item>,
        rows: Vec<(u32, Row)>,
        folder_rows: Vec<(i64, Row)>,
        managed: &[(u32, u32)],
    ) -> Self {
        items.sort_unstable();
        items.dedup_by_key(|item| item.key);
        let keys: Box<[u32]> = items.iter().map(|item| item.key).collect();
        let (starts, rows) = by_item(&keys, rows, managed);
        let (of_folder, numbers) = by_folder(folder_rows);
        let number =
            |item: &Item| item.folder.and_then(|folder| numbers.get(&folder)).copied().unwrap_or(NO_FOLDER);
        Self {
            keys,
            organizations: items.iter().map(|item| item.organization).collect(),
            folders: items.iter().map(number).collect(),
            starts,
            rows,
            of_folder,
        }
    }

    pub(super) fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// The index of the item with this key.
    pub(super) fn find(&self, key: u32) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// The key of the organization of the item with this index; 0 for none.
    pub(super) fn organization(&self, item: usize) -> u32 {
        self.organizations.get(item).copied().unwrap_or_default()
    }

    /// The access that each of the groups is granted on the item with this index. `groups` must be in
    /// ascending order.
    pub(super) fn given<'a>(&'a self, item: usize, groups: &'a [u32]) -> impl Iterator<Item = Given> + 'a {
        let at = |index: usize| self.starts.get(index).map(|start| *start as usize);
        let own = at(item).zip(at(item + 1)).and_then(|(start, end)| self.rows.get(start..end));
        let folder = self.folders.get(item).and_then(|folder| self.of_folder.get(*folder as usize));
        let mut own = Behind(own.unwrap_or_default());
        let mut folder = Behind(folder.map_or(&[], |rows| rows));
        groups.iter().map(move |group| Given {
            group: *group,
            own: own.of(*group),
            folder: folder.of(*group),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let words = 3 * self.keys.len() + self.starts.len() + self.rows.len();
        let of_folders: usize = self.of_folder.iter().map(|rows| size_of_val(&**rows)).sum();
        words * size_of::<u32>() + of_folders + self.of_folder.len() * size_of::<Box<[Row]>>()
    }

    pub(super) fn rows(&self) -> usize {
        let of_folders: usize = self.of_folder.iter().map(|rows| rows.len()).sum();
        self.keys.len() + self.rows.len() + of_folders
    }
}

/// The rows after the last group that was looked up.
struct Behind<'a>(&'a [Row]);

impl Behind<'_> {
    /// The group's row. Later calls must pass higher group numbers.
    fn of(&mut self, group: u32) -> Option<Row> {
        while let [first, rest @ ..] = self.0 {
            if first.group() > group {
                break;
            }
            self.0 = rest;
            if first.group() == group {
                return Some(*first);
            }
        }
        None
    }
}

fn by_item(keys: &[u32], mut rows: Vec<(u32, Row)>, managed: &[(u32, u32)]) -> (Box<[u32]>, Box<[Row]>) {
    // The highest level of a group comes first.
    rows.sort_unstable_by_key(|(item, row)| (*item, row.group(), u32::MAX - row.0));
    rows.dedup_by_key(|(item, row)| (*item, row.group()));
    for (item, group) in managed {
        if let Ok(index) = rows.binary_search_by_key(&(*item, *group), |(item, row)| (*item, row.group()))
            && let Some((_, row)) = rows.get_mut(index)
        {
            *row = row.managed();
        }
    }
    let mut starts = Vec::with_capacity(keys.len() + 1);
    let mut kept = Vec::with_capacity(rows.len());
    let mut rest = rows.as_slice();
    for key in keys {
        starts.push(u32::try_from(kept.len()).unwrap_or(u32::MAX));
        while let [(item, row), behind @ ..] = rest {
            if item > key {
                break;
            }
            if item == key {
                kept.push(*row);
            }
            rest = behind;
        }
    }
    starts.push(u32::try_from(kept.len()).unwrap_or(u32::MAX));
    (starts.into(), kept.into())
}

/// The rows of each folder, and the index of each folder among them.
type ByFolder = (Box<[Box<[Row]>]>, HashMap<i64, u32>);

fn by_folder(mut rows: Vec<(i64, Row)>) -> ByFolder {
    rows.sort_unstable_by_key(|(folder, row)| (*folder, row.group(), u32::MAX - row.0));
    rows.dedup_by_key(|(folder, row)| (*folder, row.group()));
    let mut numbers = HashMap::new();
    let mut of_folder = Vec::new();
    for folder in rows.chunk_by(|(one, _), (other, _)| one == other) {
        if let Some((key, _)) = folder.first() {
            numbers.insert(*key, u32::try_from(of_folder.len()).unwrap_or(NO_FOLDER));
            of_folder.push(folder.iter().map(|(_, row)| *row).collect());
        }
    }
    (of_folder.into(), numbers)
}

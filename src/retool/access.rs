//! Access levels, and how explicit, folder and universal access combine.
//!
//! The statements in `tables` implement the same rules in SQL, because they must leave out groups and users
//! without access. A test of the suite `behaviour` compares both on every combination.

/// The level of access to an app or a resource. The order of the variants is the order of power.
///
/// The database stores `read`, `write` and `own`; Retool's user interface shows Use, Edit and Own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AccessLevel {
    /// Use
    Read,
    /// Edit
    Write,
    /// Own
    Own,
}

impl AccessLevel {
    /// Every level, weakest first.
    pub(crate) const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Own];

    /// The level with this keyword in the database. `None` means no access: `none` or any other text.
    pub(crate) fn from_database(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// The level with this rank, 1, 2 or 3, as the statements encode it. `None` means no access: any other
    /// number.
    pub(crate) fn from_rank(rank: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.rank() == rank)
    }

    /// The rank of the level; see [`AccessLevel::from_rank`].
    pub(crate) fn rank(self) -> i32 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Own => 3,
        }
    }

    /// The keyword in the database: `read`, `write` or `own`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Own => "own",
        }
    }

    /// The next weaker level; `None` below the weakest.
    pub(crate) fn below(self) -> Option<Self> {
        match self {
            Self::Read => None,
            Self::Write => Some(Self::Read),
            Self::Own => Some(Self::Write),
        }
    }
}

/// A set of access levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AccessLevels {
    /// Whether the set contains [`AccessLevel::Read`].
    pub read: bool,
    /// Whether the set contains [`AccessLevel::Write`].
    pub write: bool,
    /// Whether the set contains [`AccessLevel::Own`].
    pub own: bool,
}

impl AccessLevels {
    /// Whether the level is in the set.
    pub(crate) fn contains(self, level: AccessLevel) -> bool {
        match level {
            AccessLevel::Read => self.read,
            AccessLevel::Write => self.write,
            AccessLevel::Own => self.own,
        }
    }
}

/// A group's access to an item by the row that names the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ExplicitAccess {
    /// No such row exists, so the folder's default applies.
    #[default]
    NoRow,
    /// The row grants nothing, and still overrides the folder's default.
    Nothing,
    /// The row grants this level.
    Level(AccessLevel),
}

impl ExplicitAccess {
    /// The access that a row with this level grants.
    pub(crate) fn of_row(level: Option<AccessLevel>) -> Self {
        level.map_or(Self::Nothing, Self::Level)
    }

    /// The level that the row grants, if any.
    pub(crate) fn level(self) -> Option<AccessLevel> {
        match self {
            Self::NoRow | Self::Nothing => None,
            Self::Level(level) => Some(level),
        }
    }
}

/// All sources of one group's access to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Access {
    /// The group's universal access to all items of the kind.
    pub universal: Option<AccessLevel>,
    /// The row that names the item.
    pub explicit: ExplicitAccess,
    /// The default of the item's folder. Parent folders do not count (decision direct-folder).
    pub folder: Option<AccessLevel>,
}

impl Access {
    /// The level that the group has. The item's own row overrides the folder default, whether higher or
    /// lower. Universal access can only raise the level.
    pub(crate) fn effective(self) -> Option<AccessLevel> {
        let of_item = match self.explicit {
            ExplicitAccess::NoRow => self.folder,
            explicit => explicit.level(),
        };
        self.universal.max(of_item)
    }

    /// Whether the group has `level` without the row that names the item, so that no change to the item's own
    /// rows removes it.
    pub(crate) fn is_inherited(self, level: AccessLevel) -> bool {
        self.explicit.level() < Some(level) && self.effective() >= Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::access::AccessLevel::{Own, Read, Write};

    #[test]
    fn keywords_and_ranks_round_trip() {
        for level in AccessLevel::ALL {
            assert_eq!(AccessLevel::from_database(level.as_str()), Some(level));
            assert_eq!(AccessLevel::from_rank(level.rank()), Some(level));
        }
        for none in ["none", "", "Own", "use", "banana"] {
            assert_eq!(AccessLevel::from_database(none), None);
        }
        assert_eq!(AccessLevel::from_rank(0), None);
    }

    #[test]
    fn the_items_own_row_overrides_the_folder_in_both_directions() {
        let raised = Access { explicit: ExplicitAccess::Level(Own), folder: Some(Read), universal: None };
        assert_eq!(raised.effective(), Some(Own));
        let lowered = Access { explicit: ExplicitAccess::Level(Read), folder: Some(Own), universal: None };
        assert_eq!(lowered.effective(), Some(Read));
        let hidden = Access { explicit: ExplicitAccess::Nothing, folder: Some(Own), universal: None };
        assert_eq!(hidden.effective(), None);
        let default = Access { explicit: ExplicitAccess::NoRow, folder: Some(Write), universal: None };
        assert_eq!(default.effective(), Some(Write));
    }

    #[test]
    fn universal_access_only_raises_the_level() {
        for universal in [None, Some(Read), Some(Write), Some(Own)] {
            let access = Access { explicit: ExplicitAccess::Level(Write), folder: None, universal };
            assert_eq!(access.effective(), universal.max(Some(Write)));
        }
    }

    #[test]
    fn a_level_without_an_own_row_is_inherited() {
        let access = Access { explicit: ExplicitAccess::Level(Read), folder: None, universal: Some(Own) };
        assert!(!access.is_inherited(Read));
        assert!(access.is_inherited(Write));
        assert!(access.is_inherited(Own));
        let folder = Access { explicit: ExplicitAccess::NoRow, folder: Some(Write), universal: None };
        assert!(folder.is_inherited(Read) && folder.is_inherited(Write) && !folder.is_inherited(Own));
    }
}

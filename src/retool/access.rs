//! Access levels and how explicit, folder and universal access combine.
//!
//! The statements in `tables` decide the same way, since they must leave out groups and users without access; a test
//! of the behaviour suite compares the two on every combination.

/// What somebody may do with an app or a resource. The order is the order of power.
///
/// The database says `read`, `write`, `own`; Retool's screens say Use, Edit, Own.
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

    /// The word of the database. Anything else, `none` included, is no access: `None`.
    pub(crate) fn from_database(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// 1, 2 or 3: how the statements say a level in a number. Anything else is no access: `None`.
    pub(crate) fn from_rank(rank: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.rank() == rank)
    }

    /// See [`AccessLevel::from_rank`].
    pub(crate) fn rank(self) -> i32 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Own => 3,
        }
    }

    /// The word of the database: `read`, `write` or `own`.
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

/// A set of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AccessLevels {
    /// Whether [`AccessLevel::Read`] is in it.
    pub read: bool,
    /// Whether [`AccessLevel::Write`] is in it.
    pub write: bool,
    /// Whether [`AccessLevel::Own`] is in it.
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

/// What the row that names an item says of a group's access to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ExplicitAccess {
    /// There is no such row, so the folder's default counts.
    #[default]
    NoRow,
    /// The row gives nothing, and still hides the folder's default.
    Nothing,
    /// The row gives this level.
    Level(AccessLevel),
}

impl ExplicitAccess {
    /// What a row with this level says.
    pub(crate) fn of_row(level: Option<AccessLevel>) -> Self {
        level.map_or(Self::Nothing, Self::Level)
    }

    /// The level that the row gives, if it gives any.
    pub(crate) fn level(self) -> Option<AccessLevel> {
        match self {
            Self::NoRow | Self::Nothing => None,
            Self::Level(level) => Some(level),
        }
    }
}

/// Everything that gives one group access to one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Access {
    /// The group's universal access to all items of the kind.
    pub universal: Option<AccessLevel>,
    /// The row that names the item.
    pub explicit: ExplicitAccess,
    /// The default of the folder that the item lies in. Only that folder counts, not its parents.
    pub folder: Option<AccessLevel>,
}

impl Access {
    /// The level that the group has: the item's own row beats its folder, in either direction, and
    /// universal access can only raise.
    pub(crate) fn effective(self) -> Option<AccessLevel> {
        let of_item = match self.explicit {
            ExplicitAccess::NoRow => self.folder,
            explicit => explicit.level(),
        };
        self.universal.max(of_item)
    }

    /// Whether `level` would be there without a row that names the item, so that nothing done to the
    /// item's own rows takes it away.
    pub(crate) fn is_inherited(self, level: AccessLevel) -> bool {
        self.explicit.level() < Some(level) && self.effective() >= Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::access::AccessLevel::{Own, Read, Write};

    #[test]
    fn words_and_ranks_round_trip() {
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
    fn the_items_own_row_beats_the_folder_either_way() {
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
    fn universal_access_only_raises() {
        for universal in [None, Some(Read), Some(Write), Some(Own)] {
            let access = Access { explicit: ExplicitAccess::Level(Write), folder: None, universal };
            assert_eq!(access.effective(), universal.max(Some(Write)));
        }
    }

    #[test]
    fn only_what_no_own_row_gives_is_inherited() {
        let access = Access { explicit: ExplicitAccess::Level(Read), folder: None, universal: Some(Own) };
        assert!(!access.is_inherited(Read));
        assert!(access.is_inherited(Write));
        assert!(access.is_inherited(Own));
        let folder = Access { explicit: ExplicitAccess::NoRow, folder: Some(Write), universal: None };
        assert!(folder.is_inherited(Read) && folder.is_inherited(Write) && !folder.is_inherited(Own));
    }
}

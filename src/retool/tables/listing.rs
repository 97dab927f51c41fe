//! Which rows a listing reads.

/// A part of a listing that is ordered by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// The smallest key that belongs to it.
    pub from: i64,
    /// How many rows it has at most.
    pub limit: i64,
}

/// Which users count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// All of them.
    All,
    /// Those who may sign in.
    EnabledOnly,
}

impl Users {
    /// The choice as statements bind it.
    pub(crate) fn enabled_only(self) -> bool {
        self == Self::EnabledOnly
    }
}

//! The rows that a listing reads.

/// A page of a listing that is ordered by a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    /// The smallest key of the page.
    pub from: i64,
    /// The largest number of rows.
    pub limit: i64,
}

/// The users that are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// All users.
    All,
    /// Users who may sign in.
    EnabledOnly,
}

impl Users {
    /// The choice as a parameter of statements.
    pub(crate) fn enabled_only(self) -> bool {
        self == Self::EnabledOnly
    }
}

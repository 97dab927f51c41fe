//! Columns of Retool's tables.

/// A column of one of Retool's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Column {
    /// The table, as Postgres spells it.
    pub table: &'static str,
    /// The column, as Postgres spells it, without quotes.
    pub name: &'static str,
}

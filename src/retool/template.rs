//! Templates for statements with parts that depend on the role's privileges, on the schema of Retool's
//! tables, and on the versions of Retool and Postgres.
//!
//! A statement stays readable as a whole. The variable parts are in braces:
//!
//! | in a statement | becomes |
//! |---|---|
//! | `{users}` | the schema-qualified table |
//! | `{'users'}` | the same as a string literal, for `::regclass` and `to_regclass` |
//! | `{g:groups.archivedAt}` | the column of the table with alias `g` if it is readable, else NULL |
//! | `{?select group_resources.groupId: AND ...}` | the text after the colon if the column is readable, else nothing |
//! | `{?update group_pages.updatedAt: , ...}` | the same if the column may be updated |
//! | `{materialized}` | `MATERIALIZED` from Postgres 12 on; older versions lack the keyword and always materialize |
//! | `{@managed_group}` | a shared text, or a text read from the database, see [`fill`](crate::retool::fragment::fill) |
//!
//! The text after a colon may contain such parts too.

use crate::postgres::identifier::{literal, quoted};
use crate::retool::privileges::{Column, Privileges, column_named, is_table, optional, updatable};

/// Renders the statement for a role with these privileges.
pub(crate) fn render(statement: &str, privileges: &Privileges) -> String {
    let mut text = String::with_capacity(statement.len() + 200);
    let mut rest = statement;
    while let Some((before, part, after)) = next_part(rest) {
        text.push_str(before);
        match Part::parse(part) {
            Some(Part::Table(table)) => text.push_str(&privileges.qualified(table)),
            Some(Part::TableName(table)) => text.push_str(&literal(&privileges.qualified(table))),
            Some(Part::Materialized) if privileges.server_version() >= FIRST_WITH_MATERIALIZED => {
                text.push_str("MATERIALIZED");
            }
            Some(Part::Column { alias, column }) if privileges.readable(column) => {
                text.push_str(&format!("{alias}.{}", quoted(column.name)));
            }
            Some(Part::Column { .. }) | None => text.push_str("NULL"),
            Some(Part::Readable { column, then }) if privileges.readable(column) => {
                text.push_str(&render(then, privileges));
            }
            Some(Part::Updatable { column, then }) if privileges.may_update(column) => {
                text.push_str(&render(then, privileges));
            }
            Some(Part::Materialized | Part::Readable { .. } | Part::Updatable { .. }) => {}
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The first version of Postgres that supports `AS MATERIALIZED`.
const FIRST_WITH_MATERIALIZED: i32 = 120_000;

/// The text before the first part in braces, the part, and the text after it.
fn next_part(text: &str) -> Option<(&str, &str, &str)> {
    let (before, from) = text.split_once('{')?;
    let mut depth = 1;
    let end = from.char_indices().find_map(|(at, character)| {
        depth += match character {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })?;
    Some((before, &from[..end], &from[end + 1..]))
}

/// The content of a part in braces.
enum Part<'a> {
    Table(&'a str),
    TableName(&'a str),
    Materialized,
    Column { alias: &'a str, column: Column },
    Readable { column: Column, then: &'a str },
    Updatable { column: Column, then: &'a str },
}

impl<'a> Part<'a> {
    /// Parses the content of braces. `None` if it names neither a table that statements read nor an optional
    /// column.
    fn parse(part: &'a str) -> Option<Self> {
        let named = |column: &'a str| column.split_once('.');
        if part == "materialized" {
            return Some(Self::Materialized);
        }
        if let Some(condition) = part.strip_prefix("?select ") {
            let (column, then) = condition.split_once(':')?;
            let (table, name) = named(column)?;
            return Some(Self::Readable { column: column_named(table, name)?, then });
        }
        if let Some(condition) = part.strip_prefix("?update ") {
            let (column, then) = condition.split_once(':')?;
            let (table, name) = named(column)?;
            return Some(Self::Updatable { column: updatable(table, name)?, then });
        }
        if let Some(table) = part.strip_prefix('\'').and_then(|part| part.strip_suffix('\'')) {
            return is_table(table).then_some(Self::TableName(table));
        }
        let Some((alias, column)) = part.split_once(':') else {
            return is_table(part).then_some(Self::Table(part));
        };
        let (table, name) = named(column)?;
        Some(Self::Column { alias, column: optional(table, name)? })
    }
}

/// Whether every part in braces names a table or a column that the privileges know.
#[cfg(test)]
pub(crate) fn mentions_only_optional_columns(statement: &str) -> bool {
    let mut rest = statement;
    while let Some((_, part, after)) = next_part(rest) {
        let known = match Part::parse(part) {
            Some(Part::Readable { then, .. } | Part::Updatable { then, .. }) => {
                mentions_only_optional_columns(then)
            }
            other => other.is_some(),
        };
        if !known {
            return false;
        }
        rest = after;
    }
    true
}

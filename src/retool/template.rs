//! Statements with parts that depend on the role's privileges or on Retool's version.
//!
//! A statement stays readable as a whole; what varies stands in braces:
//!
//! | in a statement | becomes |
//! |---|---|
//! | `{g:groups.archivedAt}` | the column of the table aliased `g` where it is readable, else NULL |
//! | `{?select group_resources.groupId: AND ...}` | what follows the colon where the column is readable, else nothing |
//! | `{?update group_pages.updatedAt: , ...}` | the same where the column may be updated |
//! | `{@managed_group}` | a text that several statements share or that is read from the database, see [`fill`](crate::retool::fragment::fill) |

use crate::retool::privileges::{Column, Privileges, column_named, optional, updatable};

/// The statement for a role with these privileges.
pub(crate) fn render(statement: &str, privileges: &Privileges) -> String {
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((part, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        match Part::parse(part) {
            Some(Part::Column { alias, column }) if privileges.readable(column) => {
                text.push_str(&format!("{alias}.\"{}\"", column.name));
            }
            Some(Part::Column { .. }) | None => text.push_str("NULL"),
            Some(Part::Readable { column, then }) if privileges.readable(column) => text.push_str(then),
            Some(Part::Updatable { column, then }) if privileges.may_update(column) => text.push_str(then),
            Some(Part::Readable { .. } | Part::Updatable { .. }) => {}
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// What stands in braces.
enum Part<'a> {
    Column { alias: &'a str, column: Column },
    Readable { column: Column, then: &'a str },
    Updatable { column: Column, then: &'a str },
}

impl<'a> Part<'a> {
    /// Reads what stands in braces; `None` when it names no column that statements may do without.
    fn parse(part: &'a str) -> Option<Self> {
        let named = |column: &'a str| column.split_once('.');
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
        let (alias, column) = part.split_once(':')?;
        let (table, name) = named(column)?;
        Some(Self::Column { alias, column: optional(table, name)? })
    }
}

/// Whether every part in braces names a column that the privileges know.
#[cfg(test)]
pub(crate) fn mentions_only_optional_columns(statement: &str) -> bool {
    let mut parts = statement.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.all(|(part, _)| Part::parse(part).is_some())
}

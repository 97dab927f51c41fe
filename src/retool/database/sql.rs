//! Statements that mention columns which not every role may read, or not every Retool has.
//!
//! In a statement `{g:groups.archivedAt}` stands for the column of the table aliased `g` where it is
//! readable and for NULL where it is not.

use super::privileges::{Privileges, optional};

/// The statement for a role with these privileges.
pub(super) fn render(statement: &str, privileges: &Privileges) -> String {
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((mention, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        match parse(mention) {
            Some((alias, column)) if privileges.readable(column) => {
                text.push_str(&format!("{alias}.\"{}\"", column.name));
            }
            _ => text.push_str("NULL"),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

fn parse(mention: &str) -> Option<(&str, super::privileges::Column)> {
    let (alias, column) = mention.split_once(':')?;
    let (table, name) = column.split_once('.')?;
    Some((alias, optional(table, name)?))
}

/// Whether every mention in the statement names an optional column.
#[cfg(test)]
pub(super) fn mentions_only_optional_columns(statement: &str) -> bool {
    statement
        .split('{')
        .skip(1)
        .all(|part| part.split_once('}').is_some_and(|(mention, _)| parse(mention).is_some()))
}

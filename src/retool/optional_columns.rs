//! Statements that mention columns which not every role may read, or not every Retool has.
//!
//! In a statement `{g:groups.archivedAt}` stands for the column of the table aliased `g` where it is
//! readable and for NULL where it is not. `{?more:group_resources.groupId AND ...}` stands for what is behind
//! the first space where that column is readable, and for nothing where it is not.

use crate::retool::privileges::{Column, Privileges, column_named, optional};

/// The statement for a role with these privileges.
pub(crate) fn render(statement: &str, privileges: &Privileges) -> String {
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((mention, after)) = after.split_once('}') else {
            rest = after;
            break;
        };
        if let Some((condition, then)) = mention.strip_prefix('?').and_then(|mention| mention.split_once(' '))
        {
            if known(condition).is_some_and(|column| privileges.readable(column)) {
                text.push_str(then);
            }
            rest = after;
            continue;
        }
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

fn parse(mention: &str) -> Option<(&str, Column)> {
    let (alias, column) = mention.split_once(':')?;
    let (table, name) = column.split_once('.')?;
    Some((alias, optional(table, name)?))
}

/// The column that a condition names, whether statements can do without it or not.
fn known(condition: &str) -> Option<Column> {
    let (_, column) = condition.split_once(':')?;
    let (table, name) = column.split_once('.')?;
    column_named(table, name)
}

/// Whether every mention in the statement names an optional column.
#[cfg(test)]
pub(crate) fn mentions_only_optional_columns(statement: &str) -> bool {
    statement.split('{').skip(1).filter_map(|part| part.split_once('}')).all(|(mention, _)| {
        match mention.strip_prefix('?').and_then(|mention| mention.split_once(' ')) {
            Some((condition, _)) => known(condition).is_some(),
            None => parse(mention).is_some(),
        }
    })
}

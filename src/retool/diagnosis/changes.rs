//! Checks whether changes are possible by trying them on no row.
//!
//! Runs each statement that a change needs in a read-write transaction, with a condition that no row matches,
//! and rolls the transaction back. The server checks the privileges on tables and columns, and whether it
//! accepts changes at all. Nothing is written, no row is locked and no sequence advances. Two checks happen
//! only for actual rows: the use of sequences and the policies of row-level security.
//! [`facts`](crate::retool::diagnosis::facts) reports these.

use std::collections::BTreeMap;

#[cfg(doc)]
use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::postgres::session::AccessMode;
use crate::postgres::transaction::{Deferred, End, Transaction};
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;
use crate::retool::privileges::{Feature, Need};
use crate::retool::trigger_path::shadowing_objects;

/// Tries every statement that the feature needs, and rolls them back.
///
/// # Errors
/// [`PostgresError::ReadOnly`] on a standby, [`DatabaseError::OtherVersion`] if columns are missing,
/// [`DatabaseError::ShadowingObjects`] if triggers could run code of other roles, and the error of the first statement
/// that the server refuses.
pub(crate) async fn try_change(database: &Database, feature: Feature) -> Result<(), DatabaseError> {
    let privileges = database.privileges().await?;
    privileges.require_changes(&[feature])?;
    let transaction = Transaction::begin(database.pool(), AccessMode::ReadWrite).await?;
    let tried = async {
        let shadowing_objects = shadowing_objects(&transaction, &privileges).await?;
        if !shadowing_objects.is_empty() {
            return Err(DatabaseError::ShadowingObjects { shadowing_objects });
        }
        for statement in statements(feature, &|table| privileges.qualified(table)) {
            // Triggers of the whole statement run too, so they need the same search_path as for a change.
            transaction.write("diagnosis.change", &statement, &[], Deferred::Later, |_| Ok(())).await?;
        }
        Ok(())
    };
    let tried = tried.await;
    // A transaction that cannot be rolled back closes its session, which has the same effect.
    let _ = transaction.end(End::Rollback).await;
    tried
}

/// `qualified` returns the schema-qualified name of a table.
fn statements(feature: Feature, qualified: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut statements = Vec::new();
    let mut by_table: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for need in feature.needs() {
        match need {
            Need::Insert(_) | Need::Update(_) => {
                let columns = by_table.entry((need.table(), need.privilege())).or_default();
                columns.push(quoted(need.column()));
            }
            Need::Delete(table) => statements.push(format!("DELETE FROM {} WHERE false", qualified(table))),
            Need::Sequence(_) => {}
        }
    }
    for ((table, privilege), columns) in by_table {
        let table = qualified(table);
        statements.push(if privilege == "INSERT" {
            let nothing = vec!["NULL"; columns.len()].join(", ");
            format!("INSERT INTO {table} ({}) SELECT {nothing} WHERE false", columns.join(", "))
        } else {
            let unset: Vec<String> = columns.iter().map(|column| format!("{column} = DEFAULT")).collect();
            format!("UPDATE {table} SET {} WHERE false", unset.join(", "))
        });
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_can_match_a_row() {
        let all: Vec<String> =
            Feature::ALL.into_iter().flat_map(|feature| statements(feature, &str::to_owned)).collect();
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|statement| statement.ends_with(" WHERE false")), "{all:?}");
    }
}

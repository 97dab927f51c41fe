//! Checks which other roles can create objects in the schemas where Retool's triggers resolve names, and
//! counts rows that Retool itself would refuse.

use crate::postgres::session::AccessMode;
use crate::postgres::statement::only;
use crate::postgres::transaction::{End, Transaction};
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;
use crate::retool::shadowing_object::ShadowingObject;
use crate::retool::trigger_path::{self, Creator};

/// What can make Retool's triggers run code of other roles with the rights of the role that changes a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaRisks {
    /// The roles that can create objects for it.
    pub creators: Vec<Creator>,
    /// The objects that exist already, at most ten.
    pub shadowing_objects: Vec<ShadowingObject>,
}

/// Inspects the schemas in which triggers resolve names.
///
/// # Errors
/// The errors of the statements.
pub(crate) async fn schema_risks(database: &Database) -> Result<SchemaRisks, DatabaseError> {
    let privileges = database.privileges().await?;
    let transaction = Transaction::begin(database.pool(), AccessMode::ReadOnly).await?;
    let creators = trigger_path::creators(&transaction, &privileges).await?;
    let shadowing_objects = trigger_path::shadowing_objects(&transaction, &privileges).await?;
    transaction.end(End::Rollback).await?;
    Ok(SchemaRisks { creators, shadowing_objects })
}

const CROSSING: &str = r#"
SELECT count(*) AS memberships
FROM {user_groups} m
JOIN {users} u ON u.id = m."userId"
JOIN {groups} g ON g.id = m."groupId"
WHERE u."organizationId" <> g."organizationId"
"#;

/// Counts the memberships of users in a group of another organization (decision foreign-members).
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn crossing_memberships(database: &Database) -> Result<i64, DatabaseError> {
    let read = database.read_once("diagnosis.crossing", CROSSING, &[], |row| row.try_get("memberships"));
    Ok(only(read.await?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn the_statement_mentions_known_tables() {
        assert!(mentions_only_optional_columns(CROSSING));
    }
}

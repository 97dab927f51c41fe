//! Compares Retool's two records of groups' access to apps.
//!
//! Newer versions of Retool keep access in access control lists in addition to `group_pages`. Which of the
//! two a version uses is not known.

use crate::postgres::statement::only;
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;

/// The differences between the two records, in rows of group, app and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drift {
    /// Rows about groups in the access control lists.
    pub listed: i64,
    /// Rows of `group_pages` that are missing in the lists.
    pub only_in_group_pages: i64,
    /// Rows of the lists that are missing in `group_pages`.
    pub only_in_lists: i64,
}

const DRIFT: &str = r#"
WITH live AS {materialized} (
    SELECT p.id FROM {pages} p WHERE p."deletedAt" IS NULL
),
old AS {materialized} (
    SELECT gp."groupId"::text AS group_id, gp."pageId"::text AS page_id, gp."accessLevel"::text AS level
    FROM {group_pages} gp
    JOIN live ON live.id = gp."pageId"
    WHERE gp."groupId" IS NOT NULL
),
new AS {materialized} (
    SELECT m."memberId"::text AS group_id, a."entityId"::text AS page_id, a."accessLevel"::text AS level
    FROM {access_control_list_members} m
    JOIN {access_control_lists} a ON a.id::text = m."aclId"::text
    WHERE a."entityType"::text = 'page' AND m."memberType"::text = 'group'
      AND a."entityId"::text IN (SELECT live.id::text FROM live)
)
SELECT (SELECT count(*) FROM new) AS listed,
       (SELECT count(*) FROM (TABLE old EXCEPT TABLE new) AS missing) AS only_in_group_pages,
       (SELECT count(*) FROM (TABLE new EXCEPT TABLE old) AS missing) AS only_in_lists
"#;

/// Compares the two records.
///
/// # Errors
/// The errors of the statement.
pub(crate) async fn drift(database: &Database) -> Result<Drift, DatabaseError> {
    Ok(only(
        database
            .read_once("diagnosis.drift", DRIFT, &[], |row| {
                Ok(Drift {
                    listed: row.try_get("listed")?,
                    only_in_group_pages: row.try_get("only_in_group_pages")?,
                    only_in_lists: row.try_get("only_in_lists")?,
                })
            })
            .await?,
    )?)
}

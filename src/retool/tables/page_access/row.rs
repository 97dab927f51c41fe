//! The row of `group_pages` that grants a group access to a page.

use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::postgres::transaction::Deferred;
use crate::retool::access::AccessLevel;
use crate::retool::change::RowChange;
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, PageId};
use crate::retool::transaction::Transaction;

/// Creates or raises the group's row, but never lowers it (decision levels-move-one-way), because another
/// client may have raised it in the meantime. A row with any text other than a level grants nothing.
const RAISE: &str = r#"
INSERT INTO {group_pages} AS gp ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
VALUES ($1, $2, $3, pg_catalog.now(), pg_catalog.now())
ON CONFLICT ("groupId", "pageId")
    DO UPDATE SET "accessLevel" = EXCLUDED."accessLevel"{?update group_pages.updatedAt:, "updatedAt" = pg_catalog.now()}
    WHERE coalesce(pg_catalog.array_position(ARRAY['read', 'write', 'own']::pg_catalog.text[], gp."accessLevel"::pg_catalog.text), 0)
        OPERATOR(pg_catalog.<)
        pg_catalog.array_position(ARRAY['read', 'write', 'own']::pg_catalog.text[], EXCLUDED."accessLevel"::pg_catalog.text)
RETURNING "groupId"
"#;

const LOWER: &str = r#"
UPDATE {group_pages} SET "accessLevel" = $4{?update group_pages.updatedAt:, "updatedAt" = pg_catalog.now()}
WHERE "groupId" OPERATOR(pg_catalog.=) $1 AND "pageId" OPERATOR(pg_catalog.=) $2
  AND "accessLevel"::pg_catalog.text OPERATOR(pg_catalog.=) $3
RETURNING "groupId"
"#;

const REMOVE: &str = r#"
DELETE FROM {group_pages}
WHERE "groupId" OPERATOR(pg_catalog.=) $1 AND "pageId" OPERATOR(pg_catalog.=) $2
  AND "accessLevel"::pg_catalog.text OPERATOR(pg_catalog.=) $3
RETURNING "groupId"
"#;

/// Creates the group's row or raises it; false if another client has raised it to this level or higher in the
/// meantime.
pub(crate) async fn set_level(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
    deferred: Deferred,
) -> Result<bool, DatabaseError> {
    let level = level.as_str();
    let parameters: [Parameter<'_>; 3] =
        [(&group.get(), Type::INT4), (&page.get(), Type::INT4), (&level, Type::TEXT)];
    Ok(transaction.write("page_access.raise", RAISE, &parameters, deferred).await? > 0)
}

/// Lowers or deletes the group's row, which granted `held`; false if another client has changed it in the
/// meantime.
///
/// # Errors
/// See [`DatabaseError`].
pub(crate) async fn lower_row(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
    held: AccessLevel,
    change: RowChange,
) -> Result<bool, DatabaseError> {
    let held = held.as_str();
    let row: [Parameter<'_>; 3] =
        [(&group.get(), Type::INT4), (&page.get(), Type::INT4), (&held, Type::TEXT)];
    let changed = match change {
        RowChange::Remove => transaction.write("page_access.remove", REMOVE, &row, Deferred::AtOnce).await?,
        RowChange::Set(lower) => {
            let lower = lower.as_str();
            let parameters: Vec<Parameter<'_>> = row.into_iter().chain([(&lower as _, Type::TEXT)]).collect();
            transaction.write("page_access.lower", LOWER, &parameters, Deferred::AtOnce).await?
        }
    };
    Ok(changed > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::template::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [RAISE, LOWER, REMOVE] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

//! The row of `group_pages` that gives a group a level on a page.

use tokio_postgres::types::Type;

use crate::postgres::statement::Parameter;
use crate::retool::access::AccessLevel;
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, PageId};
use crate::retool::transaction::Transaction;

/// The group's row, made or raised, never lowered: somebody else may have raised it meanwhile. A row
/// with another word than a level gives nothing.
macro_rules! raise {
    ($also:literal) => {
        concat!(
            r#"
INSERT INTO group_pages AS gp ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
VALUES ($1, $2, $3, now(), now())
ON CONFLICT ("groupId", "pageId") DO UPDATE SET "accessLevel" = EXCLUDED."accessLevel""#,
            $also,
            r#"
    WHERE coalesce(array_position(ARRAY['read', 'write', 'own'], gp."accessLevel"::text), 0)
        < array_position(ARRAY['read', 'write', 'own'], EXCLUDED."accessLevel"::text)
RETURNING "groupId"
"#
        )
    };
}
const RAISE: &str = raise!(r#", "updatedAt" = now()"#);
/// For roles that may not set `updatedAt` (spec 6.5).
const RAISE_WITHOUT_TIME: &str = raise!("");

/// Makes the group's row or raises it; false when somebody else has raised it as high meanwhile.
pub(crate) async fn set_level(
    transaction: &Transaction<'_>,
    page: PageId,
    group: GroupId,
    level: AccessLevel,
) -> Result<bool, DatabaseError> {
    let level = level.as_str();
    let parameters: [Parameter<'_>; 3] =
        [(&group.get(), Type::INT4), (&page.get(), Type::INT4), (&level, Type::TEXT)];
    let sets_time = transaction.privileges().sets_pages_updated_at();
    let statement = if sets_time { RAISE } else { RAISE_WITHOUT_TIME };
    Ok(transaction.write("page_access.raise", statement, &parameters).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retool::optional_columns::mentions_only_optional_columns;

    #[test]
    fn statements_mention_known_columns() {
        for statement in [RAISE, RAISE_WITHOUT_TIME] {
            assert!(mentions_only_optional_columns(statement), "{statement}");
        }
    }
}

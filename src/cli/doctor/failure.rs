//! A line about a failed statement.

use crate::cli::doctor::report::{Check, Line};
use crate::connector::database_message::database_message;
use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::retool::error::DatabaseError;

/// The error, its meaning, and how to fix it.
pub(super) fn failed(check: Check, error: &DatabaseError, connection: &ConnectionSettings) -> Line {
    let line = Line::failed(check, database_message(error));
    match error {
        DatabaseError::Postgres(PostgresError::Timeout { .. }) => line
            .means("Another session holds a lock on a table, the server is overloaded, or the limit is too low for this organization.")
            .fix("look for the lock: SELECT pid, wait_event_type, state, query FROM pg_stat_activity;")
            .fix("raise --statement-timeout-seconds")
            .fix(format!(
                "if the role has its own limit: ALTER ROLE {} RESET statement_timeout;",
                quoted(&connection.user)
            )),
        DatabaseError::MissingPrivileges(missing) => line.fixes(missing.grants().iter().cloned()),
        DatabaseError::Postgres(
            PostgresError::Statement { .. }
            | PostgresError::BadValue { .. }
            | PostgresError::UnknownSchema { .. },
        ) => line
            .means("baton-retool does not support this version of Retool.")
            .fix("install a newer version of baton-retool, or report the version of Retool to its maintainers"),
        _ => line,
    }
}

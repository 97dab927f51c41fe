//! Checks that the role can make the changes that the settings allow.

use crate::cli::doctor::failure::failed;
use crate::cli::doctor::report::{Check, Line, Report};
use crate::config::Settings;
use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::retool::database::Database;
use crate::retool::diagnosis::{Change, Facts, try_change};
use crate::retool::error::DatabaseError;

pub(super) async fn check(
    database: &Database,
    settings: &Settings,
    connection: &ConnectionSettings,
    facts: &Facts,
    report: &mut Report,
) {
    if !settings.scope.provisioning {
        report.push(Line::skipped(Check::Change, "changes are off (--provisioning)"));
        return;
    }
    let any_complete = facts.changes.iter().any(|change| change.grants.is_empty());
    for change in &facts.changes {
        let line = if change.grants.is_empty() {
            possible(try_change(database, change.feature).await, change, facts, connection)
        } else if change.is_unknown && any_complete {
            // A role for other changes only is a valid setup, so this is a warning.
            Line::warning(Check::Change, format!("not granted: {}", change.feature.loss()))
                .means(
                    "Other changes are granted. To allow this one too, run as the owner of Retool's tables:",
                )
                .fixes(change.grants.iter().cloned())
        } else {
            Line::failed(Check::Change, "privileges are missing")
                .means("Run as the owner of Retool's tables:")
                .fixes(change.grants.iter().cloned())
        };
        report.push(line.about(change.feature.as_str()));
    }
}

fn possible(
    tried: Result<(), DatabaseError>,
    change: &Change,
    facts: &Facts,
    connection: &ConnectionSettings,
) -> Line {
    match (tried, change.policed) {
        (Ok(()), None) => Line::ok(Check::Change, "possible; tested without changing a row"),
        (Ok(()), Some(table)) => {
            let found = format!("granted, but row-level security on {table} may refuse rows");
            Line::warning(Check::Change, found)
                .means("Only a write shows whether its policies let the role write. To be sure, run as a superuser:")
                .fix(format!("ALTER ROLE {} BYPASSRLS;", quoted(&facts.server.role)))
        }
        (Err(DatabaseError::Postgres(PostgresError::ReadOnly { reason })), _) => {
            Line::failed(Check::Change, reason.to_string())
                .means("The server is a standby, or is read-only for another reason.")
                .fix("set host to the primary, or to all hosts with target_session_attrs=read-write")
        }
        (Err(error), _) => failed(Check::Change, &error, connection),
    }
}

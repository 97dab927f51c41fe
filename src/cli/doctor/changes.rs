//! Whether what the settings allow to change can be changed.

use super::report::{Check, Line, Report};
use crate::config::Settings;
use crate::retool::database::Database;
use crate::retool::database::diagnosis::{Facts, try_change};
use crate::retool::database::error::Error;

pub(super) async fn check(database: &Database, settings: &Settings, facts: &Facts, report: &mut Report) {
    if !settings.provisioning.enabled {
        report.push(Line::skipped(Check::Change, "changes are off (--provisioning)"));
        return;
    }
    for (feature, grants) in &facts.changes {
        let line = if grants.is_empty() {
            tried(try_change(database, *feature).await)
        } else {
            Line::failed(Check::Change, "privileges are missing")
                .means("Run as the owner of Retool's tables:")
                .fixes(grants.iter().cloned())
        };
        report.push(line.about(feature.as_str()));
    }
}

fn tried(outcome: Result<(), Error>) -> Line {
    match outcome {
        Ok(()) => Line::ok(Check::Change, "possible; tried on no row and undone"),
        Err(Error::ReadOnly { reason }) => Line::failed(Check::Change, reason)
            .means("The server is a standby or takes no changes for another reason.")
            .fix("name the host of the primary, or all hosts with target_session_attrs=read-write"),
        Err(error) => Line::failed(Check::Change, error.to_string())
            .means("The server refuses it for another reason than a privilege."),
    }
}

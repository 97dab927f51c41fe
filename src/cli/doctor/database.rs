//! Checks the server, the tables, and the privileges of the role to read.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::doctor::changes;
use crate::cli::doctor::failure::failed;
use crate::cli::doctor::load;
use crate::cli::doctor::report::{Check, Line, Report};
use crate::cli::doctor::schema;
use crate::config::Settings;
use crate::connector::MANAGED_GROUPS;
use crate::connector::database_message::database_message;
use crate::numbers;
use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::identifier::quoted;
use crate::retool::database::Database;
use crate::retool::diagnosis::{
    Access, Facts, OptionalColumn, Server, Standing, drift, facts, folders_inside_others, last_event,
    measure, migrations,
};

/// The versions of Postgres on which the tests run.
const SUPPORTED: std::ops::RangeInclusive<i32> = 10..=18;

const RUN: &str = "Run as the owner of Retool's tables:";

pub(super) async fn check(connection: &Arc<ConnectionSettings>, settings: &Settings, report: &mut Report) {
    let scope = settings.scope;
    let database = match Database::new(ConnectionSettings::clone(connection), settings.timeouts, scope) {
        Ok(database) => database,
        Err(error) => {
            report.push(Line::failed(Check::Server, error.to_string()));
            report.skip(Check::Database..=Check::Drift, "the database cannot be queried");
            return;
        }
    };
    let facts = match facts(&database).await {
        Ok(facts) => facts,
        Err(error) => {
            report.push(failed(Check::Server, &error, connection));
            report.skip(Check::Database..=Check::Drift, "the database cannot be queried");
            return;
        }
    };
    report.push(server(&facts.server));
    if !tables(&facts, report) {
        report.skip(Check::Types..=Check::Drift, "Retool's tables are not found");
        return;
    }
    let complete = facts.absent.is_empty() && facts.parts.iter().all(|part| part.grants.is_empty());
    report.extend(schema::check(&database, scope.provisioning, complete).await);
    report.push(types(&facts));
    report.push(level(&database, &facts).await);
    report.extend(parts(&facts));
    report.extend(row_security(&facts));
    let accounts = scope.provisioning && settings.rest.is_some();
    report.extend(facts.optional.iter().map(|column| optional(column, accounts)));
    let whole = complete && !scope.skip_pages && !scope.skip_resources;
    report.extend([
        folders(&database, &facts.folders, whole).await,
        audit(&database, &facts.audit).await,
        go_connector(&facts.go_connector),
    ]);
    changes::check(&database, settings, connection, &facts, report).await;
    if complete {
        match measure(&database, MANAGED_GROUPS).await {
            Ok(measured) => {
                report.push(load::statements(&measured, &facts));
                report.push(load::snapshot(&measured, settings.options.snapshot_max_mib));
            }
            Err(error) => {
                report.push(failed(Check::Statements, &error, connection));
                report.skip(Check::Snapshot..=Check::Snapshot, "the rows cannot be counted");
            }
        }
    } else {
        report.skip(Check::Statements..=Check::Snapshot, "some tables or columns cannot be read");
    }
    report.push(lists(&database, &facts, complete, scope.skip_pages).await);
}

fn server(server: &Server) -> Line {
    let mut found = format!("PostgreSQL {}", server.version);
    if server.standby {
        found.push_str(", a standby");
    }
    if server.pooled {
        found.push_str(", behind a pooler");
    }
    if !SUPPORTED.contains(&server.release) {
        let (oldest, newest) = (SUPPORTED.start(), SUPPORTED.end());
        return Line::warning(
            Check::Server,
            format!("{found} is not supported: baton-retool is tested with {oldest} to {newest}"),
        )
        .means("It may still work.")
        .fix(format!("move Retool's database to a release from {oldest} to {newest}"));
    }
    if server.superuser {
        return Line::warning(Check::Server, format!("{found}; the role {:?} is a superuser", server.role))
            .means("Anyone who gets its password can do anything with the server.")
            .fix("create a dedicated role: baton-retool setup-sql --role baton");
    }
    let line = Line::ok(Check::Server, found);
    match (server.standby, server.pooled) {
        (true, _) => line.means("A standby is sufficient for reads; it accepts no changes."),
        (_, true) => line.means("Each read sets its limits in its own transaction."),
        _ => line,
    }
}

/// Whether the tables exist, at least the first one.
fn tables(facts: &Facts, report: &mut Report) -> bool {
    let name = &facts.server.database;
    if let Some(grant) = &facts.grant_on_schema {
        report.push(
            Line::failed(Check::Database, format!("{name}: the role may not use the schema of the tables"))
                .means("Run as the owner of the schema, who is not always the owner of the tables:")
                .fix(grant),
        );
        return false;
    }
    if facts.is_another_database {
        report.push(
            Line::failed(Check::Database, format!("{name} is not a Retool database: the search_path has no table organizations"))
                .means("It is another database of the server, or the schema of the tables is not in the role's search_path.")
                .fix("correct dbname in the connection string; a self-hosted Retool calls it hammerhead_production")
                .fix("or set search_path in the connection string to the schema of the tables"),
        );
        return false;
    }
    report.push(if facts.absent.is_empty() {
        Line::ok(Check::Database, format!("{name} has every required table and column"))
    } else {
        Line::failed(Check::Database, format!("{name}: {}", facts.absent.join(", ")))
            .means("baton-retool does not support this version of Retool, which is older or newer than the supported ones.")
            .fix("install a newer version of baton-retool, or report the version of Retool to its maintainers")
    });
    true
}

fn types(facts: &Facts) -> Line {
    if facts.odd_types.is_empty() {
        return Line::ok(Check::Types, "every column has the expected type");
    }
    Line::failed(Check::Types, facts.odd_types.join(", "))
        .means("baton-retool does not support this version of Retool.")
        .fix("install a newer version of baton-retool, or report the version of Retool to its maintainers")
}

async fn level(database: &Database, facts: &Facts) -> Line {
    match &facts.migrations {
        Standing::Absent => Line::skipped(Check::Migrations, "this Retool has no list of migrations"),
        Standing::NotGranted(grants) => {
            Line::skipped(Check::Migrations, "the role may not read the list, which is optional")
                .fixes(grants.iter().cloned())
        }
        Standing::Readable => match migrations(database).await {
            Ok((count, last)) => {
                let last = last.unwrap_or_else(|| "none".to_owned());
                Line::ok(Check::Migrations, format!("{count} so far, the last is {last}"))
            }
            Err(error) => Line::warning(Check::Migrations, database_message(&error)),
        },
    }
}

fn parts(facts: &Facts) -> impl Iterator<Item = Line> {
    facts.parts.iter().map(|part| {
        let line = match part.grants.is_empty() {
            true => Line::ok(Check::Read, "everything that is needed"),
            false => Line::failed(Check::Read, "privileges are missing")
                .means(RUN)
                .fixes(part.grants.iter().cloned()),
        };
        line.about(part.what)
    })
}

fn row_security(facts: &Facts) -> Vec<Line> {
    let bypass = format!("ALTER ROLE {} BYPASSRLS;", quoted(&facts.server.role));
    let mut lines = Vec::new();
    if !facts.hidden.is_empty() {
        lines.push(
            Line::failed(Check::RowSecurity, format!("hides every row of {}", facts.hidden.join(", ")))
                .means("Row-level security is on and has no policy for this role: syncs would report no access. Run as a superuser:")
                .fix(&bypass),
        );
    }
    if !facts.filtered.is_empty() {
        lines.push(
            Line::warning(
                Check::RowSecurity,
                format!("shows only some rows of {}", facts.filtered.join(", ")),
            )
            .means("Policies decide which ones. To read all rows, run as a superuser:")
            .fix(&bypass),
        );
    }
    if lines.is_empty() {
        lines.push(Line::ok(Check::RowSecurity, "hides nothing"));
    }
    lines
}

/// `accounts`: whether accounts are managed through the REST API, which identifies a user by the sid.
fn optional(optional: &OptionalColumn, accounts: bool) -> Line {
    let matters = optional.matters || (accounts && optional.name == "users.sid");
    let line = match (&optional.standing, matters) {
        (Standing::Readable, _) => Line::ok(
            Check::Optional,
            match optional.access {
                Access::Read => "readable",
                Access::Set => "may be set",
            },
        ),
        (Standing::Absent, _) => Line::skipped(Check::Optional, "this Retool does not have it"),
        (Standing::NotGranted(grants), matters) => {
            let line = if matters { Line::warning } else { Line::skipped };
            line(Check::Optional, format!("not granted: {}", optional.loss)).fixes(grants.iter().cloned())
        }
    };
    line.about(&optional.name)
}

async fn folders(database: &Database, standing: &Standing, whole: bool) -> Line {
    let line = match standing {
        _ if !whole => Line::skipped(Check::Extras, "the connector does not read all apps and resources"),
        Standing::Readable => match folders_inside_others(database).await {
            Ok((0, 0)) => Line::ok(Check::Extras, "no app or resource is in a subfolder of a folder that gives groups access"),
            Ok((apps, resources)) => Line::ok(
                Check::Extras,
                format!(
                    "{} apps and {} resources are in subfolders of folders that give groups access",
                    numbers::count(apps),
                    numbers::count(resources)
                ),
            )
            .means("A folder gives access only to its direct contents. Compare one of them with what Retool shows."),
            Err(error) => Line::warning(Check::Extras, database_message(&error)),
        },
        other => extra(other),
    };
    line.about("folders")
}

async fn audit(database: &Database, standing: &Standing) -> Line {
    let line = match standing {
        Standing::Readable => match last_event(database).await {
            Ok(Some(hours)) => Line::ok(Check::Extras, format!("the last entry is {} old", age(hours))),
            Ok(None) => Line::ok(Check::Extras, "Retool has written no entry"),
            Err(error) => Line::warning(Check::Extras, database_message(&error)),
        },
        other => extra(other),
    };
    line.about("audit log")
}

/// How long ago the last entry was written. The clocks of the machines can differ.
fn age(hours: i64) -> String {
    match u64::try_from(hours) {
        Ok(hours @ 1..) => numbers::duration(Duration::from_secs(hours.saturating_mul(3600))),
        _ => "less than 1 h".to_owned(),
    }
}

fn go_connector(standing: &Standing) -> Line {
    let line = match standing {
        Standing::Readable => Line::ok(Check::Extras, "the Go connector can run with this role"),
        other => extra(other),
    };
    line.about("going back")
}

fn extra(standing: &Standing) -> Line {
    match standing {
        Standing::NotGranted(grants) => {
            Line::skipped(Check::Extras, "not granted, and optional").fixes(grants.iter().cloned())
        }
        Standing::Readable | Standing::Absent => Line::skipped(Check::Extras, "this Retool does not have it"),
    }
}

async fn lists(database: &Database, facts: &Facts, complete: bool, skip_pages: bool) -> Line {
    if skip_pages {
        return Line::skipped(Check::Drift, "--skip-pages excludes apps");
    }
    match &facts.access_lists {
        Standing::Absent => return Line::skipped(Check::Drift, "this Retool has no access control lists"),
        Standing::NotGranted(grants) => {
            return Line::skipped(
                Check::Drift,
                "the role may not read the access control lists, which are optional",
            )
            .fixes(grants.iter().cloned());
        }
        Standing::Readable if !complete => {
            return Line::skipped(Check::Drift, "some tables or columns cannot be read");
        }
        Standing::Readable => {}
    }
    match drift(database).await {
        Ok(drift) if drift.listed == 0 => {
            Line::skipped(Check::Drift, "the access control lists contain no group")
        }
        Ok(drift) if (drift.only_in_group_pages, drift.only_in_lists) == (0, 0) => {
            Line::ok(Check::Drift, format!("group_pages and the access control lists agree on {} rows", numbers::count(drift.listed)))
        }
        Ok(drift) => Line::warning(
            Check::Drift,
            format!(
                "{} rows are in group_pages only, {} in the access control lists only",
                numbers::count(drift.only_in_group_pages),
                numbers::count(drift.only_in_lists)
            ),
        )
        .means("The connector reads group_pages. If this Retool uses the lists, the reported access to apps is wrong."),
        Err(error) => Line::warning(Check::Drift, database_message(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_postgres_without_tests_are_named() {
        for (version, release, supported) in
            [("9.6.24", 9, false), ("10.23", 10, true), ("18.0", 18, true), ("19.1", 19, false)]
        {
            let known = Server {
                version: version.to_owned(),
                release,
                database: "retool".to_owned(),
                role: "baton".to_owned(),
                standby: false,
                superuser: false,
                pooled: false,
                statement_timeout_ms: 60_000,
            };
            let text = format!("{:?}", server(&known));
            assert!(text.contains(&format!("PostgreSQL {version}")), "{text}");
            assert_eq!(!text.contains("is not supported"), supported, "{text}");
        }
    }
}

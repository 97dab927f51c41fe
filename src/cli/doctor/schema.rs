//! Checks which other roles can create objects in the schema of Retool's tables, and memberships across
//! organizations.

use crate::cli::doctor::report::{Check, Line};
use crate::connector::database_message::database_message;
use crate::postgres::identifier::quoted;
use crate::retool::database::Database;
use crate::retool::diagnosis::{Creators, creators, crossing_memberships};

/// Lines about possible problems; empty if there are none.
pub(super) async fn check(database: &Database, provisioning: bool, complete: bool) -> Vec<Line> {
    let mut lines = match creators(database).await {
        Ok(found) => of_creators(&found, provisioning),
        Err(error) => vec![Line::warning(Check::Database, database_message(&error)).about("schema")],
    };
    if complete {
        lines.extend(crossing(database).await);
    }
    lines
}

fn of_creators(found: &Creators, provisioning: bool) -> Vec<Line> {
    let schema = quoted(&found.schema);
    let mut lines = Vec::new();
    if !found.impostors.is_empty() {
        let names = found.impostors.join(", ");
        let line = Line::warning(
            Check::Database,
            format!("operators or functions have the names of Postgres's own: {names}"),
        )
        .means(
            "Retool and its triggers can run them instead of Postgres's. The statements of baton-retool do not.",
        )
        .fix(format!("see who owns them with \\do+ {schema}.* and \\df+ {schema}.* in psql, and drop them"));
        lines.push(line.about("schema"));
    }
    if !found.roles.is_empty() {
        let words = |role: &String| if role.is_empty() { "everyone".to_owned() } else { quoted(role) };
        let who = found.roles.iter().map(words).collect::<Vec<_>>().join(", ");
        let means = if provisioning {
            "Anyone who can define operators there can have Retool's triggers run them with the rights of the role that changes a row, including this role. Run as the owner of the schema:"
        } else {
            "Anyone who can define operators there can have Retool run them. The statements of baton-retool do not. Run as the owner of the schema:"
        };
        let line = Line::warning(
            Check::Database,
            format!("roles other than the owner may create objects in schema {schema}: {who}"),
        )
        .means(means)
        .fixes(found.roles.iter().map(|role| {
            let role = if role.is_empty() { "PUBLIC".to_owned() } else { quoted(role) };
            format!("REVOKE CREATE ON SCHEMA {schema} FROM {role};")
        }));
        lines.push(line.about("schema"));
    }
    lines
}

async fn crossing(database: &Database) -> Option<Line> {
    let line = match crossing_memberships(database).await {
        Ok(0) => return None,
        Ok(count) => Line::warning(
            Check::Database,
            format!("{count} memberships put a user of one organization into a group of another"),
        )
        .means("They are listed like any other. Neither Retool nor Grant creates such rows."),
        Err(error) => Line::warning(Check::Database, database_message(&error)),
    };
    Some(line.about("memberships"))
}

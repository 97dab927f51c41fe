//! Checks which other roles can create objects where Retool's triggers resolve names, and memberships across
//! organizations.

use crate::cli::doctor::report::{Check, Line};
use crate::connector::database_message::database_message;
use crate::postgres::identifier::quoted;
use crate::retool::database::Database;
use crate::retool::diagnosis::{SchemaRisks, crossing_memberships, schema_risks};
use crate::retool::shadowing_object::listed;
use crate::retool::trigger_path::Creator;

/// Lines about possible problems; empty if there are none.
pub(super) async fn check(database: &Database, provisioning: bool, complete: bool) -> Vec<Line> {
    let mut lines = match schema_risks(database).await {
        Ok(found) => of_schema_risks(&found, provisioning),
        Err(error) => vec![Line::warning(Check::Database, database_message(&error)).about("schema")],
    };
    if complete {
        lines.extend(crossing(database).await);
    }
    lines
}

fn of_schema_risks(found: &SchemaRisks, provisioning: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    if !found.shadowing_objects.is_empty() {
        let means = if provisioning {
            "Retool and its triggers can use them instead. The statements of baton-retool do not, and it makes no change until they are removed."
        } else {
            "Retool and its triggers can use them instead. The statements of baton-retool do not."
        };
        let line = Line::warning(
            Check::Database,
            format!(
                "objects share names with objects of Postgres or Retool: {}",
                listed(&found.shadowing_objects)
            ),
        )
        .means(means)
        .fix("look at them in psql with \\do+, \\df+, \\d+ and \\dT+, and drop or rename them");
        lines.push(line.about("schema"));
    }
    if !found.creators.is_empty() {
        let words = |creator: &Creator| {
            let role = if creator.role.is_empty() { "everyone".to_owned() } else { quoted(&creator.role) };
            format!("{role} in schema {}", quoted(&creator.schema))
        };
        let who = found.creators.iter().map(words).collect::<Vec<_>>().join(", ");
        let means = if provisioning {
            "Anyone who can define operators there can make baton-retool refuse every change, because Retool's triggers would run them with the rights of its role. Run as the owner of the schema:"
        } else {
            "Anyone who can define operators there can have Retool run them. The statements of baton-retool do not. Run as the owner of the schema:"
        };
        let line = Line::warning(
            Check::Database,
            format!(
                "roles other than the owner may create objects in schemas that Retool's triggers use: {who}"
            ),
        )
        .means(means)
        .fixes(found.creators.iter().map(|Creator { schema, role }| {
            let role = if role.is_empty() { "PUBLIC".to_owned() } else { quoted(role) };
            format!("REVOKE CREATE ON SCHEMA {} FROM {role};", quoted(schema))
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

//! `baton-retool doctor`: finds problems that keep the connector from working, from the settings to the rows.
//!
//! The checks run in the order in which they depend on each other. A check that cannot run because an earlier
//! one failed is reported as skipped, so that the report always has the same checks.

mod c1;
mod changes;
mod database;
mod failure;
#[cfg(feature = "lambda")]
mod hosted;
mod load;
mod network;
mod output;
mod report;
mod rest;
mod schema;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};

#[cfg(feature = "lambda")]
use crate::cli::doctor::hosted::Served;
use crate::cli::doctor::report::{Check, Line, Report};
use crate::cli::doctor::settings::Refused;
use crate::cli::failure::USAGE;
use crate::cli::invalid;
use crate::cli::output::{output, wants_json};
use crate::cli::wiring::block_on;
use crate::config::{self, Run, Settings, Sources, Warning};

/// The name of the command.
pub(super) const NAME: &str = "doctor";

/// The reason why a host is not checked.
const NOT_ALLOWED: &str = "the egress policy does not allow connections to its host";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Diagnose why the connector does not work, and print how to fix it")
        .long_about("Checks, with the same settings as `serve`: the settings themselves, names and ports, TLS, the login, the database and its tables, every privilege, row-level security, changes (with --provisioning; tested without changing a row), the duration of the heaviest statements, Retool's REST API if it is set up, and ConductorOne if client credentials are set: that it is reachable and issues a token. Each line says what was found, what it means and how to fix it. The command changes nothing and logs nothing.")
        .after_help("Examples:\n  baton-retool doctor\n  baton-retool doctor --provisioning --strict --output json\n\nExit codes: 0 nothing failed, 1 a warning with --strict, 2 something failed or a setting is invalid.")
        .arg(output("What to print: a table for people, or one JSON object for machines"))
        .arg(
            Arg::new("strict")
                .long("strict")
                .action(ArgAction::SetTrue)
                .help("Exit with code 1 if there is a warning"),
        )
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let sources = Sources::of_process();
    let mut report = Report::default();
    let examined = block_on(async {
        #[cfg(feature = "lambda")]
        if config::is_hosted(matches, &sources) {
            let (served, c1) = hosted::check(matches, &sources, &mut report).await;
            match served {
                Some(Served { settings, warnings, refused }) => {
                    examine(&settings, &warnings, refused, &mut report).await;
                }
                None => report.skip(Check::Dns..=Check::Rest, "the function has no settings"),
            }
            report.push(c1);
            return Ok(());
        }
        let loaded = config::load(matches, &sources);
        if let Err(error) = &loaded {
            for error in error.each() {
                report.push(settings::refused(&error.to_string()));
            }
        }
        // A file that cannot be read is reported once.
        if let Err(error) = config::check_without_command(matches, &sources) {
            let known: Vec<_> = loaded.as_ref().err().map(config::Error::each).unwrap_or_default();
            for error in error.each().into_iter().filter(|error| !known.contains(error)) {
                report.push(settings::refused_without_command(&error.to_string()));
            }
        }
        match loaded {
            Ok((settings, warnings)) => {
                examine(&settings, &warnings, Refused::default(), &mut report).await;
            }
            Err(_) => {
                // The form of the client's credentials has a check of its own.
                let unchecked = config::unchecked(Run::Serve, matches, &sources);
                for error in invalid::of_clients(&unchecked) {
                    report.push(settings::refused(&error));
                }
                report.skip(Check::Dns..=Check::Rest, "a setting is invalid");
            }
        }
        report.push(c1::check(matches, &sources).await);
        Ok(())
    });
    if examined.is_err() {
        report.push(Line::failed(Check::Settings, "the program cannot start threads"));
    }
    if output::print(&report, wants_json(matches)).is_err() {
        // The output has no reader.
        return ExitCode::FAILURE;
    }
    match report.worst() {
        report::Status::Failed => ExitCode::from(USAGE),
        report::Status::Warning if matches.get_flag("strict") => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

async fn examine(settings: &Settings, warnings: &[Warning], refused: Refused, report: &mut Report) {
    settings::serving(settings, report).await;
    match settings::connection(settings, warnings, report) {
        Some(_) if refused.database => report.skip(Check::Dns..=Check::Drift, NOT_ALLOWED),
        Some(connection) => {
            let connection = Arc::new(connection);
            if network::check(&connection, settings.timeouts, report).await {
                database::check(&connection, settings, report).await;
            }
        }
        None => report.skip(Check::Dns..=Check::Drift, "the connection string is invalid"),
    }
    if refused.api {
        report.skip(Check::Rest..=Check::Rest, NOT_ALLOWED);
    } else {
        rest::check(settings, report).await;
    }
}

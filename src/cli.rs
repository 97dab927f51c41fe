//! What a person types: one file per command.

mod child;
mod command_line;
mod demo;
mod doctor;
mod failure;
mod health_check;
mod in_memory;
#[cfg(feature = "lambda")]
mod lambda;
mod output;
mod serve;
mod service;
mod setup_sql;
mod show;
mod signals;
mod sync;
mod wiring;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::cli::command_line::{command, without_secrets};
use crate::cli::failure::USAGE;
use crate::cli::wiring::stop_telemetry;
use crate::config;
use crate::telemetry::logs;

/// The settings as a Markdown table: what the README has, so that a test can compare the two.
pub fn settings_table() -> String {
    config::markdown_table()
}

/// The settings of a connector that ConductorOne hosts, as a Markdown table: what `docs/lambda.md` has, so that a test
/// can compare the two.
#[cfg(feature = "lambda")]
pub fn hosted_settings_table() -> String {
    config::hosted_markdown_table()
}

/// Runs the program with these arguments, the first being its name.
///
/// Exit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right. A sync that a signal stops ends
/// in 130 or 143, as shells have it. The child of an agent ends in 1 for any failure.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let code = run_command(arguments.into_iter().collect());
    logs::flush();
    code
}

fn run_command(arguments: Vec<OsString>) -> ExitCode {
    #[cfg(feature = "lambda")]
    let arguments = lambda::as_function(arguments);
    let parsed = command().try_get_matches_from(&arguments).map_err(without_secrets);
    if child::is_requested(&parsed, &arguments) {
        return child::run(parsed, &arguments);
    }
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) => {
            // Printing help or a usage error has nowhere else to go when it fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let result = match matches.subcommand() {
        Some((serve::NAME, matches)) => serve::run(matches),
        Some((health_check::NAME, matches)) => health_check::run(matches),
        Some((setup_sql::NAME, matches)) => setup_sql::run(matches),
        Some((doctor::NAME, matches)) => return doctor::run(matches),
        Some((demo::NAME, matches)) => demo::run(matches),
        Some((show::NAME, matches)) => show::run(matches),
        Some((sync::NAME, matches)) => sync::run(matches),
        #[cfg(feature = "lambda")]
        Some((lambda::NAME, matches)) => return lambda::run(matches),
        _ => service::run_bare(&matches),
    };
    if let Err(failure) = &result {
        logs::flush();
        // Before the wait for a collector. Nobody is left to tell when stderr is gone.
        let _ = writeln!(io::stderr(), "baton-retool: {}", failure.message());
    }
    stop_telemetry(&result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit_code(),
    }
}

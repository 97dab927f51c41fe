//! The command line: one file per command.

mod change;
mod child;
mod command_line;
mod completion;
mod demo;
mod doctor;
mod documents;
mod failure;
mod fatal;
mod health_check;
mod help;
mod in_memory;
mod invalid;
#[cfg(feature = "lambda")]
mod lambda;
mod man;
mod output;
mod panics;
mod serve;
mod service;
mod settings;
mod setup_sql;
mod show;
mod signals;
mod sync;
mod table;
mod version;
mod wiring;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::ArgMatches;

use crate::cli::command_line::command;
use crate::cli::failure::{Failure, USAGE};
use crate::cli::invalid::with_all_others;
use crate::cli::wiring::stop_telemetry;
use crate::config::{self, Detail, Group, Run};
use crate::telemetry::logs;

/// The settings as a Markdown table. A test compares it with `docs/settings.md`.
pub fn settings_table() -> String {
    config::markdown_table()
}

/// The settings of a connector that ConductorOne hosts, as a Markdown table. A test compares it with
/// `docs/lambda.md`.
#[cfg(feature = "lambda")]
pub fn hosted_settings_table() -> String {
    config::hosted_markdown_table()
}

/// Runs the program with these arguments; the first is its name.
///
/// Exit codes: 0 success, 1 failure, 2 invalid command line or settings. A sync that is stopped by a signal
/// returns 130 or 143, as in shells. The child of an agent returns 1 for any failure.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    panics::log_panics();
    let code = run_command(arguments.into_iter().collect());
    logs::flush();
    code
}

fn run_command(arguments: Vec<OsString>) -> ExitCode {
    #[cfg(feature = "lambda")]
    let arguments = lambda::as_function(arguments);
    let (detail, arguments) = help::detail(arguments);
    let parsed = command(detail).try_get_matches_from(&arguments).map_err(help::without_secrets);
    if child::is_requested(&parsed, &arguments) {
        return child::run(parsed, &arguments);
    }
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) => {
            let path = help::path_of(&command(detail), &arguments);
            // If printing help or a usage error fails, there is no other place to report it.
            if error.use_stderr() {
                let _ = write!(anstream::stderr(), "{}", help::error_text(&error, &path));
                return ExitCode::from(USAGE);
            }
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let result = match matches.subcommand() {
        Some((name, matches)) => match refuse_change(name, matches) {
            // This command has its own exit codes.
            Ok(()) if name == doctor::NAME => return doctor::run(matches),
            #[cfg(feature = "lambda")]
            Ok(()) if name == lambda::NAME => return lambda::run(matches),
            Ok(()) => run_named(name, matches),
            Err(failure) => Err(failure),
        },
        None => with_all_others(Run::WithoutCommand, &matches, service::run_bare(&matches)),
    };
    if let Err(failure) = &result {
        logs::flush();
        // The failure is reported before the wait for a collector.
        fatal::report(failure, &matches);
    }
    stop_telemetry(&result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit_code(),
    }
}

fn run_named(name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    match name {
        serve::NAME => with_all_others(Run::Serve, matches, serve::run(matches)),
        health_check::NAME => health_check::run(matches),
        setup_sql::NAME => setup_sql::run(matches),
        demo::NAME => with_all_others(Run::ServeOwn, matches, demo::run(matches)),
        show::NAME => show::run(matches),
        settings::NAME => settings::run(matches),
        documents::CAPABILITIES => documents::capabilities(matches),
        documents::CONFIG => documents::config(),
        completion::NAME => completion::run(matches, command(Detail::Documented)),
        man::NAME => man::run(matches, command(Detail::Documented)),
        version::NAME => version::run(matches),
        _ => with_all_others(Run::Sync, matches, sync::run(matches)),
    }
}

/// A command ignores flags for a one-shot change, so the change would not be made.
fn refuse_change(name: &str, matches: &ArgMatches) -> Result<(), Failure> {
    match config::typed(matches).find(|setting| setting.group == Group::Change) {
        Some(setting) => {
            let flag = setting.name;
            Err(Failure::Usage(anyhow!("--{flag} is for a run without a command: remove {name}")))
        }
        None => Ok(()),
    }
}

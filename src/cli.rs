//! What a person types: one file per command.

mod demo;
mod serve;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, Command};

use crate::config::{self, LogFormat, LogLevel, LogSettings, Settings, Sources};
use crate::connector::{Connector, Options};
use crate::retool::database::connection_string::{ConnectionSettings, Environment};
use crate::retool::database::privileges::Scope;
use crate::retool::database::{Database, Timeouts};
use crate::telemetry::logs;

/// Exit code of a command line or setting that cannot be right (decision 7.14).
const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// The command line, a variable or the configuration file.
    Usage(anyhow::Error),
    /// Anything else.
    Run(anyhow::Error),
}

/// Runs the program with these arguments, the first being its name.
///
/// Exit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Printing help or a usage error has nowhere else to go when it fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let result = match matches.subcommand() {
        Some(("serve", matches)) => settings(matches).and_then(|settings| block_on(serve::run(settings))),
        Some(("demo", matches)) => {
            let json = matches.get_one::<String>("output").is_some_and(|output| output == "json");
            settings(matches).and_then(|settings| block_on(demo::run(settings, json)))
        }
        _ => {
            // The same text that --help prints, where errors go: nothing was done.
            let help = command().render_help();
            let mut stderr = std::io::stderr();
            let _ = if stderr.is_terminal() {
                writeln!(stderr, "{}", help.ansi())
            } else {
                writeln!(stderr, "{help}")
            };
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, error) = match failure {
                Failure::Usage(error) => (ExitCode::from(USAGE), error),
                Failure::Run(error) => (ExitCode::FAILURE, error),
            };
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(std::io::stderr(), "baton-retool: {}", in_one_line(&error));
            code
        }
    }
}

/// The command line. Settings are accepted before and after the name of a command.
pub fn command() -> Command {
    Command::new("baton-retool")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .about("Baton connector for self-hosted Retool: tells a baton agent who has access to what, straight from Retool's Postgres database.")
        .after_help("Every setting can also be given as a BATON_ variable or in a configuration file: ./.baton.yaml, or the file that BATON_CONFIG_PATH names. A flag beats a variable, a variable beats the file.\n\nExit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right.")
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").help("Print version").action(ArgAction::Version))
        .args(config::arguments())
        .subcommand(
            Command::new("serve")
                .about("Answer the baton connector protocol on a port, with gRPC reflection and health")
                .long_about("Answers the baton connector protocol on --listen, for an agent or for grpcurl: gRPC reflection and the standard health service are on. Ends on Ctrl-C or SIGTERM, after the calls under way."),
        )
        .subcommand(
            Command::new("demo")
                .about("Serve, read everything once as an agent would, and show what there is")
                .long_about("Serves like `serve`, reads everything once over that port as an agent would, prints how much there is of each resource type and commands to look at it with grpcurl, and goes on serving until Ctrl-C. `make demo` runs it on a throwaway database.")
                .arg(
                    Arg::new("output")
                        .long("output")
                        .help("What to print: a table for people, or one JSON object for machines and no waiting")
                        .value_parser(["table", "json"])
                        .default_value("table"),
                ),
        )
}

/// Reads the settings, starts logging and passes the warnings on.
fn settings(matches: &clap::ArgMatches) -> Result<Settings, Failure> {
    match config::load(matches, &Sources::of_process()) {
        Ok((settings, warnings)) => {
            logs::start(&settings.logs);
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            Ok(settings)
        }
        Err(error) => {
            logs::start(&LogSettings { level: LogLevel::Info, format: LogFormat::Json });
            Err(Failure::Usage(error.into()))
        }
    }
}

/// The connector that these settings describe. Nothing is connected yet.
fn connector(settings: &Settings) -> Result<Arc<Connector>, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error.context("connection-string"));
    let connection = ConnectionSettings::parse(&settings.connection_string, &Environment::of_process())
        .map_err(|error| usage(error.into()))?;
    for warning in &connection.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(database = connection.describe(), "using the Retool database");
    let timeouts = Timeouts { connect: settings.timeouts.connect, statement: settings.timeouts.statement };
    let scope =
        Scope { skip_pages: settings.features.skip_pages, skip_resources: settings.features.skip_resources };
    let database = Database::new(connection, timeouts, scope).map_err(|error| usage(error.into()))?;
    if settings.provisioning {
        tracing::warn!(
            "this release does not change anything in Retool yet; --provisioning is on, and requests to grant, revoke or create are refused all the same"
        );
    }
    let options = Options {
        skip_pages: settings.features.skip_pages,
        skip_resources: settings.features.skip_resources,
        skip_disabled_users: settings.features.skip_disabled_users,
        provisioning: settings.provisioning,
        ticketing: settings.ticketing,
    };
    Ok(Arc::new(Connector::new(Arc::new(database), options)))
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Run(error.into()))?
        .block_on(command)
}

/// An error and its causes, each said once: some errors have their cause in their own words already.
fn in_one_line(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, next| match said.as_str() {
        "" => next,
        _ if said.contains(&next) => said,
        _ => format!("{said}: {next}"),
    })
}

/// Ends when the program is asked to: SIGTERM or Ctrl-C. Both are heeded from the call on, not only from
/// the first poll: whoever sees the program listen may end it in the same moment.
fn asked_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("cannot listen for SIGTERM and Ctrl-C");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => tracing::info!("received SIGTERM"),
            _ = interrupt.recv() => tracing::info!("received Ctrl-C"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::in_one_line;
    use crate::server;

    #[test]
    fn a_cause_that_an_error_names_itself_is_not_repeated() {
        let taken = || io::Error::new(io::ErrorKind::AddrInUse, "address taken");
        let listen = server::Error::Listen { address: "h:1".to_owned(), source: taken() };
        assert_eq!(
            in_one_line(&listen.into()),
            "cannot listen on h:1: address taken; choose another one with --listen"
        );
        let wrapped = anyhow::Error::from(taken()).context("first").context("second");
        assert_eq!(in_one_line(&wrapped), "second: first: address taken");
    }
}

//! `baton-retool lambda`: the connector as a function of AWS Lambda, hosted by ConductorOne.
//!
//! The function gets its settings from ConductorOne, builds a connector, and answers events until Lambda ends it.

mod egress;
mod generations;
mod keys;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use serde_json::{Map, Value};

use crate::agent::hosted::HostedError;
use crate::cli::failure::Failure;
use crate::cli::signals::{handle_other_signals, stop_requested};
use crate::cli::wiring::{block_on, stop_telemetry};
use crate::config::{self, Sources};
use crate::proto;
use crate::server::lambda::{Function, Runtime, RuntimeError};
use crate::telemetry::{self, logs};

pub(super) use egress::{check_api, check_database};
pub(super) use generations::{Effective, Generations};
pub(super) use keys::Keys;

/// The name of the command.
pub(super) const NAME: &str = "lambda";

/// The variables that are fields of every log line, and the names of the fields.
const FIELDS: [(&str, &str); 9] = [
    ("tenant", "tenant_id"),
    ("connector", "connector_id"),
    ("app", "app_id"),
    ("version", "release_version"),
    ("installation", "installation"),
    ("catalog_id", "catalog_id"),
    ("catalog_name", "catalog_name"),
    ("tenant_name", "tenant_name"),
    ("tenant_is_internal", "tenant_is_internal"),
];

/// The name of the program in the archive of a function. Lambda starts it without arguments.
const BOOTSTRAP: &str = "bootstrap";

/// The arguments, with the command if Lambda started the program.
pub(super) fn as_function(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().and_then(|program| Path::new(program).file_name());
    if arguments.len() == 1 && name == Some(OsStr::new(BOOTSTRAP)) {
        arguments.push(NAME.into());
    }
    arguments
}

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Serve the baton connector protocol as an AWS Lambda function, hosted by ConductorOne")
        .long_about("Serves the baton connector protocol as an AWS Lambda function. ConductorOne hosts the function, serves its settings and makes the calls. Changes and tickets are on unless provisioning or ticketing is false. Settings of the server's port, such as --listen, TLS and health checks, have no effect.")
        .args(config::hosted_arguments())
}

/// Runs the function until Lambda ends it. A failure is one line of JSON on standard error.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let sources = Sources::of_process();
    let result = start_logs(matches, &sources)
        .and_then(|()| block_on(async { serve(matches.clone(), sources).await }));
    logs::flush();
    if let Err(failure) = &result {
        // A failure to write to stderr cannot be reported.
        let _ = io::stderr().write_all(&logs::error_line(&failure.message()));
    }
    stop_telemetry(&result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit_code(),
    }
}

fn start_logs(matches: &ArgMatches, sources: &Sources) -> Result<(), Failure> {
    let (settings, telemetry, warnings) = config::load_telemetry(matches, sources).map_err(Failure::usage)?;
    logs::add_fields(fields(sources));
    telemetry::start(&settings, &telemetry).map_err(Failure::usage)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn fields(sources: &Sources) -> Map<String, Value> {
    let field = |(variable, name): (&str, &str)| {
        let value = sources.variable(variable)?.to_string_lossy().into_owned();
        Some((name.to_owned(), value.into()))
    };
    FIELDS.into_iter().filter_map(field).collect()
}

async fn serve(matches: ArgMatches, sources: Sources) -> Result<(), Failure> {
    let stop = stop_requested();
    handle_other_signals();
    tokio::task::spawn_blocking(proto::warm_up);
    let hosted = config::load_hosted(&matches, &sources).map_err(Failure::usage)?;
    let keys = Keys::new(&hosted)?;
    let address = sources.variable(Runtime::VARIABLE).map(|address| address.to_string_lossy().into_owned());
    let runtime = Runtime::new(address.as_deref())?;
    let generations = Generations::new(matches, sources, &hosted)?;
    // These run concurrently, because the first event needs both.
    let (first, callers) = tokio::join!(generations.first(), keys.callers(&hosted));
    let (callers, first) = (callers?, first?);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), configuration = first.version, "waiting for events");
    Ok(runtime.serve(Function::new(callers, generations, first), stop).await?)
}

impl From<HostedError> for Failure {
    /// Converts an invalid setting, or a failure of the requests to ConductorOne.
    fn from(error: HostedError) -> Self {
        if error.is_a_setting() { Self::usage(error) } else { Self::run(error) }
    }
}

impl From<RuntimeError> for Failure {
    /// Converts an invalid variable, or a failure of the Runtime API.
    fn from(error: RuntimeError) -> Self {
        if error.is_a_setting() { Self::usage(error) } else { Self::run(error) }
    }
}

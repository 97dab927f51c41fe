//! What a person types: one file per command.

mod child;
mod demo;
mod doctor;
mod health_check;
mod serve;
mod setup_sql;
mod show;
mod sync;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{Arg, ArgAction, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, ListenAddress, LogSettings, RestSettings, Settings, Sources};
use crate::connector::{Connector, Options};
use crate::postgres::connection_string::{ConnectionSettings, Environment};
use crate::postgres::pool::Timeouts;
use crate::proto;
use crate::retool::api::{Api, ApiSettings};
use crate::retool::database::Database;
use crate::retool::privileges::Scope;
use crate::server::{self, Endpoint, Limits, Security, TlsFiles};
use crate::telemetry::{self, MetricsServer};

/// Exit code of a command line or setting that cannot be right (decision 7.14).
const USAGE: u8 = 2;

/// The variable by which the former program knew that it should ask ConductorOne for work.
const CLIENT_ID: &str = "BATON_CLIENT_ID";

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
/// Exit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right. The child of an agent
/// ends in 1 for either.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = command().try_get_matches_from(&arguments);
    if child::is_meant(&parsed, &arguments) {
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
        Some(("serve", matches)) => settings(matches).and_then(|settings| block_on(serve::run(settings))),
        Some((health_check::NAME, matches)) => health_check::run(matches),
        Some((setup_sql::NAME, matches)) => setup_sql::run(matches),
        Some((doctor::NAME, matches)) => return doctor::run(matches),
        Some(("demo", matches)) => {
            let json = matches.get_one::<String>("output").is_some_and(|output| output == "json");
            settings(matches).and_then(|settings| block_on(demo::run(settings, json)))
        }
        Some((sync::NAME, matches)) => return sync::run(matches, false),
        Some((show::NAME, matches)) => return show::run(matches),
        _ => return sync::run(&matches, true),
    };
    if let Err(Failure::Usage(error) | Failure::Run(error)) = &result {
        // Before the wait for a collector. Nobody is left to tell when stderr is gone.
        let _ = writeln!(std::io::stderr(), "baton-retool: {}", in_one_line(error));
    }
    stop_telemetry(&result);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(_)) => ExitCode::from(USAGE),
        Err(Failure::Run(_)) => ExitCode::FAILURE,
    }
}

/// Sends what telemetry there still is, once every call has ended. Nobody is made to wait for that who has
/// a setting to mend, or who asks the program again to end.
fn stop_telemetry(result: &Result<(), Failure>) {
    if matches!(result, Err(Failure::Usage(_))) || HURRY.load(Ordering::Relaxed) {
        return;
    }
    // Without a runtime there is nothing to wait with.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut signals = StopSignals::watch();
        let hurry = async {
            signals.next().await;
        };
        telemetry::stop(hurry).await;
    });
}

/// The command line. Settings are accepted before and after the name of a command.
pub fn command() -> Command {
    Command::new("baton-retool")
        .version(concat!("version ", env!("CARGO_PKG_VERSION")))
        .about("Baton connector for self-hosted Retool: tells a baton agent who has access to what, straight from Retool's Postgres database.")
        .after_help("Every setting can also be given as a BATON_ variable or in a configuration file: ./.baton.yaml, or the file that BATON_CONFIG_PATH names. A flag beats a variable, a variable beats the file.\n\nExit codes: 0 done, 1 failed, 2 a command line or setting that cannot be right. `doctor` has its own: see `doctor --help`.")
        .disable_version_flag(true)
        .arg(Arg::new("version").short('v').long("version").help("Print version").action(ArgAction::Version))
        .args(config::arguments())
        .subcommand(
            Command::new("serve")
                .about("Answer the baton connector protocol on a port, with gRPC reflection and health")
                .long_about("Answers the baton connector protocol on --listen, for an agent or for grpcurl: gRPC reflection and the standard health service are on. Ends on Ctrl-C or SIGTERM, after the calls under way."),
        )
        .arg(sync::output())
        .subcommand(sync::command())
        .subcommand(show::command())
        .subcommand(health_check::command())
        .subcommand(setup_sql::command())
        .subcommand(doctor::command())
        .subcommand(Command::new(child::NAME).hide(true).about("Serve the agent that started this process"))
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

/// Reads the settings, starts logging and telemetry and passes the warnings on.
fn settings(matches: &clap::ArgMatches) -> Result<Settings, Failure> {
    settings_with(matches, |_| {})
}

fn settings_with(
    matches: &clap::ArgMatches,
    change: impl FnOnce(&mut LogSettings),
) -> Result<Settings, Failure> {
    match config::load(matches, &Sources::of_process()) {
        Ok((mut settings, warnings)) => {
            change(&mut settings.logs);
            telemetry::start(&settings.logs, &settings.telemetry)
                .map_err(|error| Failure::Usage(error.into()))?;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            Ok(settings)
        }
        Err(error) => Err(Failure::Usage(error.into())),
    }
}

/// Where a server is to listen.
fn endpoint(settings: &Settings) -> Endpoint {
    match settings.server.listen.clone() {
        ListenAddress::Tcp { host, port } => Endpoint::Tcp { host, port },
        ListenAddress::Unix(path) => Endpoint::Unix(path),
    }
}

/// Who may call a server.
fn security(settings: &Settings) -> Security {
    let server = &settings.server;
    Security {
        tls: server.tls.clone().map(|tls| TlsFiles {
            certificate: tls.certificate,
            key: tls.key,
            client_ca: tls.client_ca,
        }),
        token_file: server.auth_token_file.clone(),
        open_health: server.health_without_token,
        insecure: server.insecure,
    }
}

/// Why a server does not listen: a setting, or what has become of the machine.
fn cannot_listen(error: server::Error) -> Failure {
    if error.is_a_setting() { Failure::Usage(error.into()) } else { Failure::Run(error.into()) }
}

/// What callers may take from a server.
fn limits(settings: &Settings) -> Limits {
    let limits = settings.server.limits;
    Limits {
        connections: limits.connections,
        streams: limits.streams,
        requests: limits.requests,
        request_bytes: limits.request_bytes,
        response_bytes: limits.response_bytes,
        header_bytes: limits.header_bytes,
        deadline: limits.deadline,
        keepalive_interval: limits.keepalive_interval,
        keepalive_timeout: limits.keepalive_timeout,
        grace: limits.grace,
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
    let database = Database::new(connection, timeouts(settings), scope(settings))
        .map_err(|error| usage(error.into()))?;
    let provisioning = settings.provisioning;
    if provisioning.enabled && provisioning.dry_run {
        tracing::warn!("--dry-run is on: changes are answered and not made");
    }
    let options = Options {
        skip_pages: settings.features.skip_pages,
        skip_resources: settings.features.skip_resources,
        skip_disabled_users: settings.features.skip_disabled_users,
        provisioning: provisioning.enabled,
        dry_run: provisioning.dry_run,
        managed_groups: provisioning.managed_groups,
        ticketing: settings.ticketing,
    };
    let api = settings.rest.as_ref().map(api).transpose()?;
    Ok(Arc::new(Connector::new(Arc::new(database), api, options)))
}

/// Retool's REST API. Nothing is connected yet.
fn api(settings: &RestSettings) -> Result<Arc<Api>, Failure> {
    let RestSettings { base_url, token, timeout } = settings;
    let api = Api::new(&ApiSettings { base_url: base_url.as_str(), token, timeout: *timeout })
        .map_err(|error| Failure::Usage(anyhow::Error::from(error).context("retool-api-base-url")))?;
    tracing::info!(base_url = %base_url, "using Retool's REST API");
    Ok(Arc::new(api))
}

/// How long the database may take.
fn timeouts(settings: &Settings) -> Timeouts {
    let timeouts = settings.timeouts;
    Timeouts { connect: timeouts.connect, statement: timeouts.statement, pool: timeouts.pool }
}

/// What of Retool's database is read and changed.
fn scope(settings: &Settings) -> Scope {
    Scope {
        skip_pages: settings.features.skip_pages,
        skip_resources: settings.features.skip_resources,
        provisioning: settings.provisioning.enabled,
        managed_groups: settings.provisioning.managed_groups,
    }
}

/// Begins, side by side, what the first calls would wait for: an agent asks as soon as it is connected.
fn look_ahead(connector: &Arc<Connector>) {
    tokio::task::spawn_blocking(proto::warm_up);
    let connector = Arc::clone(connector);
    tokio::spawn(async move {
        match connector.validate_once().await {
            Ok(()) => tracing::info!("the database can be read"),
            Err(error) => tracing::warn!(%error, "the database cannot be read yet"),
        }
    });
}

/// Answers Prometheus from now on, where that is wanted.
async fn serve_metrics(settings: &Settings) -> anyhow::Result<()> {
    let Some(address) = &settings.telemetry.metrics_listen else { return Ok(()) };
    let metrics = MetricsServer::listen(address)
        .await
        .with_context(|| format!("cannot listen on {address} (--metrics-listen)"))?;
    tokio::spawn(metrics.serve());
    Ok(())
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
    let mut signals = StopSignals::watch();
    async move {
        let name = signals.next().await;
        tracing::info!("received {name}");
    }
}

/// Whether the program has been asked twice to end.
static HURRY: AtomicBool = AtomicBool::new(false);

/// Ends when the program is asked to a second time: whoever asks again will not wait.
fn asked_twice_to_stop() -> impl Future<Output = ()> {
    let mut signals = StopSignals::watch();
    // A task of its own: two signals that nobody has looked at in between would count as one.
    let asked_twice = tokio::spawn(async move {
        signals.next().await;
        let name = signals.next().await;
        HURRY.store(true, Ordering::Relaxed);
        tracing::info!("received {name} again");
    });
    async move {
        if asked_twice.await.is_err() {
            std::future::pending().await
        }
    }
}

/// The signals that ask the program to stop.
struct StopSignals(io::Result<(Signal, Signal)>);

impl StopSignals {
    fn watch() -> Self {
        let pair = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        if let Err(error) = &pair {
            tracing::error!(%error, "cannot listen for SIGTERM and Ctrl-C");
        }
        Self(pair)
    }

    /// The name of the next signal.
    async fn next(&mut self) -> &'static str {
        let Ok((terminate, interrupt)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "Ctrl-C",
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

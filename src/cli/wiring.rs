//! Builds the parts of the program from the settings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::ArgMatches;
use secrecy::SecretString;
use tokio::runtime::Builder;

use crate::cli::failure::Failure;
use crate::cli::signals::{self, StopSignals};
use crate::config::{self, InForce, Settings, Sources};
use crate::connector::Connector;
use crate::postgres::connection_string::{ConnectionSettings, Environment};
use crate::proto;
use crate::retool::api::Api;
use crate::retool::api::settings::ApiSettings;
use crate::retool::database::Database;
use crate::telemetry::settings::LogSettings;
use crate::telemetry::{self, MetricsServer};

/// Reads the settings, starts logging and telemetry, and logs the warnings.
pub(super) fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    settings_with(matches, |_| {})
}

/// Like [`settings`], with a change of the log settings before logging starts.
pub(super) fn settings_with(
    matches: &ArgMatches,
    change: impl FnOnce(&mut LogSettings),
) -> Result<Settings, Failure> {
    let (mut settings, warnings) = config::load(matches, &Sources::of_process()).map_err(Failure::usage)?;
    change(&mut settings.logs);
    telemetry::start(&settings.logs, &settings.telemetry).map_err(Failure::usage)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for InForce { name, value, origin } in settings.provenance.iter() {
        tracing::debug!(setting = name, %value, %origin, "effective setting");
    }
    Ok(settings)
}

/// Creates the connector for these settings. It does not connect yet.
pub(super) fn connector(settings: &Settings) -> Result<Arc<Connector>, Failure> {
    connector_to(connection(settings)?, settings).map(Arc::new)
}

/// The connection settings of Retool's database.
pub(super) fn connection(settings: &Settings) -> Result<ConnectionSettings, Failure> {
    parsed(&settings.connection_string)
}

/// The connection settings in a connection string.
pub(super) fn parsed(connection_string: &SecretString) -> Result<ConnectionSettings, Failure> {
    ConnectionSettings::parse(connection_string, &Environment::of_process())
        .map_err(|error| Failure::Usage(anyhow::Error::from(error).context("connection-string")))
}

/// Creates the connector for these settings and this database. It does not connect yet.
pub(super) fn connector_to(
    connection: ConnectionSettings,
    settings: &Settings,
) -> Result<Connector, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error.context("connection-string"));
    for warning in &connection.warnings {
        tracing::warn!("{warning}");
    }
    let api = settings.rest.as_ref().map(api).transpose()?;
    tracing::info!(database = connection.describe(), "using the Retool database");
    let database =
        Database::new(connection, settings.timeouts, settings.scope).map_err(|error| usage(error.into()))?;
    if settings.scope.provisioning && settings.options.dry_run {
        tracing::warn!("--dry-run is on: changes are reported but not made");
    }
    Ok(Connector::new(Arc::new(database), api, settings.options))
}

/// Creates the client of Retool's REST API. It does not connect yet.
fn api(settings: &ApiSettings) -> Result<Arc<Api>, Failure> {
    let api = Api::new(settings)
        .map_err(|error| Failure::Usage(anyhow::Error::from(error).context("retool-api-base-url")))?;
    tracing::info!(base_url = %settings.base_url, "using Retool's REST API");
    Ok(Arc::new(api))
}

/// Starts, in parallel, the work that the first calls would wait for: an agent sends calls as soon as it has
/// connected.
pub(super) fn check_database_in_background(connector: &Arc<Connector>) {
    tokio::task::spawn_blocking(proto::warm_up);
    let connector = Arc::clone(connector);
    tokio::spawn(async move {
        match connector.validate_once().await {
            Ok(()) => tracing::info!("the database can be read"),
            Err(error) => tracing::warn!(%error, "the database cannot be read yet"),
        }
    });
}

/// Starts the Prometheus endpoint if it is configured.
pub(super) async fn serve_metrics(settings: &Settings) -> anyhow::Result<()> {
    let Some(address) = &settings.telemetry.metrics_listen else { return Ok(()) };
    let metrics = MetricsServer::listen(address)
        .await
        .with_context(|| format!("cannot listen on {address} (--metrics-listen)"))?;
    tokio::spawn(metrics.serve());
    Ok(())
}

/// How long a finished command waits for its threads: for example for a DNS lookup, which cannot be
/// interrupted.
const LINGER: Duration = Duration::from_secs(2);

/// Runs a command on a multi-threaded runtime. Threads that are still blocked shortly after its end are left
/// to the exit of the process.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(Failure::run)?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(LINGER);
    result
}

/// Sends the remaining telemetry after every call has ended. It does not wait if a setting is invalid, if a
/// signal stopped a sync, or after a second stop signal.
pub(super) fn stop_telemetry(result: &Result<(), Failure>) {
    if matches!(result, Err(Failure::Usage(_) | Failure::Stopped { .. })) || signals::is_to_stop_at_once() {
        return;
    }
    // Without a runtime it cannot wait.
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut signals = StopSignals::watch();
        let at_once = async {
            signals.next().await;
        };
        telemetry::stop(at_once).await;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_blocked_thread_does_not_keep_the_program() {
        let (release, held) = mpsc::channel::<()>();
        let ended = block_on(async move {
            let (begun, begins) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let _ = begun.send(());
                held.recv()
            });
            let _ = begins.await;
            Ok(())
        });
        // The thread is blocked until here.
        drop(release);
        assert!(ended.is_ok());
    }
}

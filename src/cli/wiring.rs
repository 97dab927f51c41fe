//! From settings to running parts.

use std::sync::Arc;

use anyhow::Context;
use clap::ArgMatches;
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

/// Reads the settings, starts logging and telemetry and passes the warnings on.
pub(super) fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    settings_with(matches, |_| {})
}

/// As [`settings`], with logging changed before it starts.
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
        tracing::debug!(setting = name, %value, %origin, "setting in force");
    }
    Ok(settings)
}

/// The connector that these settings describe. Nothing is connected yet.
pub(super) fn connector(settings: &Settings) -> Result<Arc<Connector>, Failure> {
    connector_to(connection(settings)?, settings)
}

/// How to reach Retool's database.
pub(super) fn connection(settings: &Settings) -> Result<ConnectionSettings, Failure> {
    ConnectionSettings::parse(&settings.connection_string, &Environment::of_process())
        .map_err(|error| Failure::Usage(anyhow::Error::from(error).context("connection-string")))
}

/// The connector that these settings describe, to this database. Nothing is connected yet.
pub(super) fn connector_to(
    connection: ConnectionSettings,
    settings: &Settings,
) -> Result<Arc<Connector>, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error.context("connection-string"));
    for warning in &connection.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(database = connection.describe(), "using the Retool database");
    let database =
        Database::new(connection, settings.timeouts, settings.scope).map_err(|error| usage(error.into()))?;
    if settings.scope.provisioning && settings.options.dry_run {
        tracing::warn!("--dry-run is on: changes are answered and not made");
    }
    let api = settings.rest.as_ref().map(api).transpose()?;
    Ok(Arc::new(Connector::new(Arc::new(database), api, settings.options)))
}

/// Retool's REST API. Nothing is connected yet.
fn api(settings: &ApiSettings) -> Result<Arc<Api>, Failure> {
    let api = Api::new(settings)
        .map_err(|error| Failure::Usage(anyhow::Error::from(error).context("retool-api-base-url")))?;
    tracing::info!(base_url = %settings.base_url, "using Retool's REST API");
    Ok(Arc::new(api))
}

/// Begins, side by side, what the first calls would wait for: an agent asks as soon as it is connected.
pub(super) fn look_ahead(connector: &Arc<Connector>) {
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
pub(super) async fn serve_metrics(settings: &Settings) -> anyhow::Result<()> {
    let Some(address) = &settings.telemetry.metrics_listen else { return Ok(()) };
    let metrics = MetricsServer::listen(address)
        .await
        .with_context(|| format!("cannot listen on {address} (--metrics-listen)"))?;
    tokio::spawn(metrics.serve());
    Ok(())
}

/// Runs a command on the program's threads.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(Failure::run)?.block_on(command)
}

/// Sends what telemetry there still is, once every call has ended. There is no wait for it where a setting is
/// wrong, where a signal stopped a sync, or where the program has been asked twice to stop.
pub(super) fn stop_telemetry(result: &Result<(), Failure>) {
    if matches!(result, Err(Failure::Usage(_) | Failure::Stopped { .. })) || signals::is_to_stop_at_once() {
        return;
    }
    // Without a runtime there is nothing to wait with.
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut signals = StopSignals::watch();
        let at_once = async {
            signals.next().await;
        };
        telemetry::stop(at_once).await;
    });
}

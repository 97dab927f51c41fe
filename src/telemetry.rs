//! Telemetry: logs, and traces and metrics for collectors. It can neither slow down nor stop the program:
//! data that a collector does not accept in time is dropped.
//!
//! Other modules do not know where telemetry is sent. They log with `tracing`, and record calls, statements
//! and requests with [`watch`]. Both cost almost nothing if no collector is configured.

pub(crate) mod debug_log;
mod drops;
mod export;
pub(crate) mod logs;
pub(crate) mod metrics;
mod otlp;
mod prometheus;
mod resource;
pub(crate) mod settings;
pub(crate) mod watch;

use std::sync::OnceLock;
use std::thread;

use opentelemetry_sdk::metrics::SdkMeterProvider;
use tokio::sync::oneshot;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::telemetry::settings::{LogSettings, TelemetrySettings};

pub(crate) use otlp::FLUSH;
pub(crate) use prometheus::MetricsServer;

/// The running exporters, for [`stop`].
static RUNNING: OnceLock<Running> = OnceLock::new();

struct Running {
    otlp: Option<otlp::Export>,
    meters: Option<SdkMeterProvider>,
}

/// The reason why telemetry cannot start. Each of these is a problem of a setting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A log target is not writable; see [`logs::Unwritable`].
    #[error("log-path: {0}")]
    Logs(#[from] logs::Unwritable),
    /// The settings of the collector are unusable.
    #[error(transparent)]
    Otlp(#[from] otlp::Error),
    /// The metrics cannot be collected.
    #[error("metrics-listen: {0}")]
    Metrics(String),
}

/// Checks that [`start`] would accept these settings. Writes nothing and connects to nothing.
///
/// # Errors
/// [`Error::Logs`], [`Error::Otlp`]
pub(crate) fn check(logs: &LogSettings, telemetry: &TelemetrySettings) -> Result<(), Error> {
    logs::check(logs)?;
    otlp::Plan::new(telemetry, &variable)?;
    Ok(())
}

/// The value of a variable that is set and not blank.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Starts telemetry: logs go to the targets in `logs`, and traces, metrics and logs to the collectors in
/// `telemetry` and the `OTEL_` variables, until [`stop`]. Starts no thread without a collector. Does nothing
/// if telemetry has already started.
///
/// # Errors
/// See [`Error`].
pub(crate) fn start(logs: &LogSettings, telemetry: &TelemetrySettings) -> Result<(), Error> {
    if RUNNING.get().is_some() {
        return Ok(());
    }
    let lines = logs::lines(logs)?;
    let plan = otlp::Plan::new(telemetry, &variable)?;
    let described = plan.as_ref().map(otlp::Plan::describe);
    let wanted = plan.is_some() || otlp::Plan::is_wanted(telemetry, &variable);
    let warnings = if wanted { otlp::warnings(&variable) } else { Vec::new() };
    let resource = resource::detect();
    let mut otlp = plan.map(|plan| otlp::Export::start(plan, &resource)).transpose()?;
    let reader = otlp.as_mut().and_then(otlp::Export::metric_reader);
    let meters = metrics::start(reader, telemetry.metrics_listen.is_some(), resource)
        .map_err(|error| Error::Metrics(error.to_string()))?;
    let subscriber = tracing_subscriber::registry()
        .with(lines)
        .with(debug_log::layer())
        .with(otlp.as_ref().map(|_| drops::layer()))
        .with(otlp.as_ref().and_then(otlp::Export::trace_layer))
        .with(otlp.as_ref().and_then(|otlp| otlp.log_layer(logs::filter(logs.level))));
    // Another call may have been first; its choice stays in force.
    let _ = subscriber.try_init();
    logs::started(logs);
    let _ = RUNNING.set(Running { otlp, meters });
    if let Some(described) = described {
        tracing::info!("{described}");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Sends the remaining data, if the collector accepts it within [`FLUSH`] and before `at_once` is done.
/// Nothing is sent afterwards. Call it after the last call has ended and before the process exits.
pub(crate) async fn stop(at_once: impl Future<Output = ()>) {
    let Some(running) = RUNNING.get().filter(|running| running.otlp.is_some()) else { return };
    let (done, finished) = oneshot::channel();
    let flush = move || {
        running.flush();
        // The receiver is dropped if sending took too long.
        let _ = done.send(());
    };
    // The exit of the program does not wait for this thread. If it cannot be started, the receiver returns at
    // once.
    let _ = thread::Builder::new().name("telemetry-flush".to_owned()).spawn(flush);
    tokio::select! {
        _ = finished => {}
        () = at_once => tracing::warn!("did not wait for the collector to accept the last telemetry"),
        () = tokio::time::sleep(FLUSH) => tracing::warn!(
            seconds = FLUSH.as_secs(),
            "the collector did not accept the last telemetry in time; it is lost"
        ),
    }
}

impl Running {
    /// Flushes each signal separately, so that a blocked signal does not delay the others.
    fn flush(&self) {
        thread::scope(|scope| {
            scope.spawn(|| self.otlp.as_ref().map(otlp::Export::flush_traces));
            scope.spawn(|| self.otlp.as_ref().map(otlp::Export::flush_logs));
            scope.spawn(|| self.meters.as_ref().map(|meters| meters.shutdown_with_timeout(FLUSH)));
        });
    }
}

//! What the program says about itself while it runs: logs, and traces and metrics for those who collect
//! them. Nothing of it can slow the program down or stop it: what a collector does
//! not take in time is dropped.
//!
//! The modules above do not know where their words go. They log with `tracing`, and have calls, statements
//! and requests watched by [`watch`]; both cost next to nothing while nobody collects.

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

/// What has been started, for [`stop`].
static RUNNING: OnceLock<Running> = OnceLock::new();

struct Running {
    otlp: Option<otlp::Export>,
    meters: Option<SdkMeterProvider>,
}

/// Why telemetry cannot be started. Each of these is a setting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// See [`logs::Unwritable`].
    #[error("log-path: {0}")]
    Logs(#[from] logs::Unwritable),
    /// The collector cannot be reached as the settings say.
    #[error(transparent)]
    Otlp(#[from] otlp::Error),
    /// The metrics cannot be gathered.
    #[error("metrics-listen: {0}")]
    Metrics(String),
}

/// Whether [`start`] would take these settings. Nothing is written and nobody is reached.
///
/// # Errors
/// [`Error::Logs`], [`Error::Otlp`]
pub(crate) fn check(logs: &LogSettings, telemetry: &TelemetrySettings) -> Result<(), Error> {
    logs::check(logs)?;
    otlp::Plan::new(telemetry, &variable)?;
    Ok(())
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Sends logs where `logs` says, and traces, metrics and logs where `telemetry` and the `OTEL_` variables
/// say, from now on and until [`stop`]. Starts no thread when nobody collects. Does nothing when telemetry
/// is on already.
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
    // Another call has been there first; its choice stands.
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

/// Sends what is left, if the collector takes it within [`FLUSH`] and before `at_once` is done, and nothing
/// more from then on. To be called when the last call has ended and before the process does.
pub(crate) async fn stop(at_once: impl Future<Output = ()>) {
    let Some(running) = RUNNING.get().filter(|running| running.otlp.is_some()) else { return };
    let (done, finished) = oneshot::channel();
    let flush = move || {
        running.flush();
        // Nobody listens any more when it has taken too long.
        let _ = done.send(());
    };
    // A thread that the end of the program does not wait for. Without one there is nothing to wait for.
    let _ = thread::Builder::new().name("telemetry-flush".to_owned()).spawn(flush);
    tokio::select! {
        _ = finished => {}
        () = at_once => tracing::warn!("not waited for the collector to take the last telemetry"),
        () = tokio::time::sleep(FLUSH) => tracing::warn!(
            seconds = FLUSH.as_secs(),
            "the collector did not take the last telemetry in time; it is lost"
        ),
    }
}

impl Running {
    /// Each signal on its own, so that one that is stuck does not keep the others.
    fn flush(&self) {
        thread::scope(|scope| {
            scope.spawn(|| self.otlp.as_ref().map(otlp::Export::flush_traces));
            scope.spawn(|| self.otlp.as_ref().map(otlp::Export::flush_logs));
            scope.spawn(|| self.meters.as_ref().map(|meters| meters.shutdown_with_timeout(FLUSH)));
        });
    }
}

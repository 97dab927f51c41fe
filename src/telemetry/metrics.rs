//! The program's metrics, declared once and exported in two ways: by the Prometheus endpoint and over OTLP to
//! a collector.
//!
//! Every module may use the functions here; they do nothing if no exporter is configured. Label values are
//! `&'static str` or enums, so that callers cannot create more series.

mod clock;
mod instruments;
mod outcome;
mod pool;
mod service;
mod snapshots;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::metrics::reader::MetricReader;
use prometheus::{Registry, TextEncoder};
use tonic::Code;

use crate::telemetry::metrics::instruments::Instruments;

pub(crate) use outcome::{Outcome, Provisioning, RestOutcome, UNKNOWN};
pub(crate) use pool::{PoolState, watch_pool};
pub(crate) use service::TaskOutcome;
pub(crate) use snapshots::{SnapshotRead, SnapshotState, watch_snapshots};

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
static REGISTRY: OnceLock<Registry> = OnceLock::new();
/// Creates the instruments if there is an exporter: a collector through `reader`, or Prometheus.
///
/// # Errors
/// The error of the library.
pub(super) fn start<R: MetricReader>(
    reader: Option<R>,
    scraped: bool,
    resource: Resource,
) -> Result<Option<SdkMeterProvider>, opentelemetry_sdk::error::OTelSdkError> {
    if reader.is_none() && !scraped {
        return Ok(None);
    }
    let mut builder = SdkMeterProvider::builder().with_resource(resource);
    if let Some(reader) = reader {
        builder = builder.with_reader(reader);
    }
    if scraped {
        let registry = REGISTRY.get_or_init(Registry::new);
        builder = builder.with_reader(scraper(registry)?);
    }
    let provider = builder.build();
    let _ = INSTRUMENTS.set(Instruments::new(&provider.meter(env!("CARGO_PKG_NAME"))));
    Ok(Some(provider))
}

/// The names already have the form of Prometheus, including the unit.
fn scraper(
    registry: &Registry,
) -> Result<opentelemetry_prometheus::PrometheusExporter, opentelemetry_sdk::error::OTelSdkError> {
    opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_units()
        .without_counter_suffixes()
        .without_target_info()
        .scope_info_enabled(false)
        .build()
}

/// All metrics in Prometheus' text format; empty if the Prometheus endpoint is off.
pub(super) fn render() -> String {
    REGISTRY.get().map(text).unwrap_or_default()
}

fn text(registry: &Registry) -> String {
    let families = registry.gather();
    // This fails only for names and labels that are invalid in Prometheus, and all of ours are valid.
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

/// Adds `change` to the number of calls in progress.
pub(super) fn call_in_progress(change: i64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.call_in_progress(change);
    }
}

/// Records a finished call. `rows` is the number of rows in its answer.
pub(super) fn call_ended(
    call: (&'static str, &'static str),
    code: Code,
    took: Duration,
    rows: Option<usize>,
) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.call_ended(call, code, took, rows);
    }
}

/// Records how long a call waited for a database connection, whether or not it got one.
pub(crate) fn pool_waited(waited: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.pool_waited(waited);
    }
}

/// Records a finished statement. `statement` is a short name, such as `groups.list`.
pub(crate) fn statement_ended(statement: &'static str, outcome: Outcome, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.statement_ended(statement, outcome, took);
    }
}

/// Records a finished request to Retool's REST API, with its status if it was answered. `operation` is a
/// short name, such as `users.create`.
pub(crate) fn rest_ended(operation: &'static str, outcome: RestOutcome, status: Option<u16>, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.rest_ended(operation, outcome, status, took);
    }
}

/// Records a finished request for a change in Retool. `operation` is a short name, such as `group.grant`.
pub(crate) fn provisioning_ended(operation: &'static str, outcome: Provisioning) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.provisioning_ended(operation, outcome);
    }
}

/// Records a listing of a sync, and whether there was a snapshot for it.
pub(crate) fn snapshot_listed(is_there: bool) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.snapshots.listed(is_there);
    }
}

/// Records the read of a snapshot or its failure.
pub(crate) fn snapshot_read(outcome: SnapshotRead, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.snapshots.read(outcome, took);
    }
}

/// Adds `change` to the number of ConductorOne's tasks in progress.
pub(super) fn task_in_progress(change: i64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.task_in_progress(change);
    }
}

/// Records a finished task of ConductorOne. `task` is its kind, such as `grant`.
pub(super) fn task_ended(task: &'static str, outcome: TaskOutcome, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.task_ended(task, outcome, took);
    }
}

/// Records the start of service mode.
pub(crate) fn service_started() {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.service_started();
    }
}

/// Records a poll for tasks of ConductorOne, and whether it was answered.
pub(crate) fn polled(answered: bool) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.polled(answered);
    }
}

/// Records an uploaded file of this many bytes.
pub(crate) fn uploaded(bytes: u64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.uploaded(bytes);
    }
}

/// Records a full sync that was uploaded and reported.
pub(crate) fn synced() {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.synced();
    }
}

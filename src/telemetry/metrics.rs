//! The program's metrics, declared once and read by two: the Prometheus endpoint and, over OTLP, a
//! collector.
//!
//! Every module may record by the free functions here; nothing happens while nobody reads. The texts that
//! tell one series from another are `&'static str` or enums, so that no caller can make more of them.

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
/// Makes the instruments when anybody reads them: a collector through `reader`, or Prometheus.
///
/// # Errors
/// The library's.
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

/// Our names are Prometheus' already, with unit and all.
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

/// All metrics in Prometheus' text format; empty when Prometheus is not to read them.
pub(super) fn render() -> String {
    REGISTRY.get().map(text).unwrap_or_default()
}

fn text(registry: &Registry) -> String {
    let families = registry.gather();
    // Only names and labels that Prometheus does not take would fail, and ours are all known.
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

/// A call has begun, or ended.
pub(super) fn call_under_way(change: i64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.call_under_way(change);
    }
}

/// A call has ended. `rows` is how many rows its answer has.
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

/// A call has waited so long for a connection to the database, whether it got one or not.
pub(crate) fn pool_waited(waited: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.pool_waited(waited);
    }
}

/// A statement has ended. `statement` is a short name, such as `groups.list`.
pub(crate) fn statement_ended(statement: &'static str, outcome: Outcome, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.statement_ended(statement, outcome, took);
    }
}

/// A request to Retool's REST API has ended: so, and with that status if it was answered. `operation` is a
/// short name, such as `users.create`.
pub(crate) fn rest_ended(operation: &'static str, outcome: RestOutcome, status: Option<u16>, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.rest_ended(operation, outcome, status, took);
    }
}

/// A request to change something in Retool has ended. `operation` is a short name, such as `group.grant`.
pub(crate) fn provisioning_ended(operation: &'static str, outcome: Provisioning) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.provisioning_ended(operation, outcome);
    }
}

/// A listing of a sync was asked for, and there was a snapshot to answer it from or not.
pub(crate) fn snapshot_asked(is_there: bool) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.snapshots.asked(is_there);
    }
}

/// A snapshot was read, or could not be.
pub(crate) fn snapshot_read(outcome: SnapshotRead, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.snapshots.read(outcome, took);
    }
}

/// A task of ConductorOne has begun, or ended.
pub(super) fn task_under_way(change: i64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.task_under_way(change);
    }
}

/// A task of ConductorOne has ended. `task` is its kind, such as `grant`.
pub(super) fn task_ended(task: &'static str, outcome: TaskOutcome, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.task_ended(task, outcome, took);
    }
}

/// ConductorOne was asked for tasks, and has answered or not.
pub(crate) fn polled(answered: bool) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.polled(answered);
    }
}

/// ConductorOne has taken a file of so many bytes.
pub(crate) fn uploaded(bytes: u64) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.uploaded(bytes);
    }
}

/// A full sync was uploaded and reported.
pub(crate) fn synced() {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.service.synced();
    }
}

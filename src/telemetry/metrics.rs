//! The program's metrics, declared once and read by two: the Prometheus endpoint and, over OTLP, a
//! collector.
//!
//! Every module may record by the free functions here; nothing happens while nobody reads. The texts that
//! tell one series from another are `&'static str` or enums, so that no caller can make more of them.

mod instruments;
#[cfg(test)]
mod tests;

use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use tonic::Code;

use crate::telemetry::metrics::instruments::Instruments;
use crate::telemetry::otlp::MetricReader;

/// What stands for a service or method that there is not.
pub const UNKNOWN: &str = "unknown";

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
static REGISTRY: OnceLock<Registry> = OnceLock::new();
/// Asks the pool, where there is one.
static POOL: RwLock<Option<PoolWatch>> = RwLock::new(None);

type PoolWatch = Box<dyn Fn() -> PoolState + Send + Sync>;

/// How many connections a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// Open, and free to be used.
    pub idle: u32,
    /// Open, and lent to a call.
    pub in_use: u32,
    /// As many as there may be.
    pub most: u32,
}

/// How something ended that was begun for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Ok,
    /// In an error.
    Failed,
    /// Not at all: the caller has gone, or ran out of time.
    Cancelled,
}

/// What has become of a request to change something in Retool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provisioning {
    /// It was changed.
    Changed,
    /// It was so already.
    Unchanged,
    /// It may not be changed.
    Refused,
    /// It could not be changed.
    Failed,
    /// It would have been changed, were this not a dry run.
    DryRun,
}

/// What has become of a request to Retool's REST API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestOutcome {
    /// It was answered as it should be.
    Ok,
    /// The answer has a status that says no: 4xx or 5xx.
    Refused,
    /// The answer sends elsewhere.
    Redirected,
    /// The status says yes and the answer says no.
    Declined,
    /// The answer is something else than JSON, such as a web page.
    NotJson,
    /// The answer lacks what was asked for, or is too large to be read.
    Incomplete,
    /// The answer, or its end, did not come in time.
    Timeout,
    /// No connection came about.
    Unreachable,
    /// The server could not prove who it is.
    Untrusted,
    /// The connection ended before the answer did.
    Closed,
    /// Nobody waited for it any more.
    Cancelled,
}

/// Makes the instruments when anybody reads them: a collector through `reader`, or Prometheus.
///
/// # Errors
/// The library's.
pub(super) fn start(
    reader: Option<MetricReader>,
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

/// Has the pool asked for its state whenever somebody reads the metrics. A later pool takes the place of
/// an earlier one.
pub fn watch_pool(state: impl Fn() -> PoolState + Send + Sync + 'static) {
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(state));
}

fn pool_state() -> Option<PoolState> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|state| state())
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

/// A call has waited so long for a connection to the database, be it in vain.
pub fn pool_waited(waited: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.pool_waited(waited);
    }
}

/// A statement has ended. `statement` is a short name, such as `groups.list`.
pub fn statement_ended(statement: &'static str, outcome: Outcome, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.statement_ended(statement, outcome, took);
    }
}

/// A request to Retool's REST API has ended: so, and with that status if it was answered. `operation` is a
/// short name, such as `users.create`.
pub fn rest_ended(operation: &'static str, outcome: RestOutcome, status: Option<u16>, took: Duration) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.rest_ended(operation, outcome, status, took);
    }
}

/// A request to change something in Retool has ended. `operation` is a short name, such as `group.grant`.
pub fn provisioning_ended(operation: &'static str, outcome: Provisioning) {
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.provisioning_ended(operation, outcome);
    }
}

/// The name of a gRPC code, as Prometheus metrics of other gRPC servers have it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

impl Outcome {
    /// As metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RestOutcome {
    /// As metrics and traces have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Declined => "declined",
            Self::NotJson => "not_json",
            Self::Incomplete => "incomplete",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Closed => "closed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Provisioning {
    /// As metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::DryRun => "dry_run",
        }
    }
}

//! All metrics with their names, descriptions and labels.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};
use tonic::Code;

use crate::telemetry::logs::losses::{self, Loss};
use crate::telemetry::metrics::clock::seconds_since_1970;
use crate::telemetry::metrics::outcome::{Outcome, Provisioning, RestOutcome, UNKNOWN, code_name};
use crate::telemetry::metrics::pool::pool_state;
use crate::telemetry::metrics::service::ServiceInstruments;
use crate::telemetry::metrics::snapshots::SnapshotInstruments;

/// Buckets from a statement on a small table to the longest wait of a caller, in seconds.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The metrics that are recorded when an event occurs. The others are computed when the metrics are read, see
/// [`observe`].
pub(super) struct Instruments {
    calls: Counter<u64>,
    call_seconds: Histogram<f64>,
    last_success: Gauge<f64>,
    calls_in_progress: UpDownCounter<i64>,
    rows: Counter<u64>,
    pool_wait: Histogram<f64>,
    statements: Histogram<f64>,
    rest: Counter<u64>,
    rest_seconds: Histogram<f64>,
    provisioning: Counter<u64>,
    /// Snapshots of access.
    pub(super) snapshots: SnapshotInstruments,
    /// Metrics of service mode only.
    pub(super) service: ServiceInstruments,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name, help| meter.u64_counter(name).with_description(help).build();
        let seconds = |name, help| {
            let histogram = meter.f64_histogram(name).with_description(help).with_unit("s");
            histogram.with_boundaries(SECONDS.to_vec()).build()
        };
        observe(meter);
        let calls_in_progress = meter
            .i64_up_down_counter("baton_retool_grpc_requests_in_flight")
            .with_description("Calls in progress.")
            .build();
        // The series exists from the start, for queries that expect 0.
        calls_in_progress.add(0, &[]);
        Self {
            calls: counter("baton_retool_grpc_requests_total", "Finished calls."),
            call_seconds: seconds("baton_retool_grpc_request_duration_seconds", "How long calls took."),
            last_success: meter
                .f64_gauge("baton_retool_grpc_last_success_timestamp_seconds")
                .with_description(
                    "When a call of the connector protocol last ended in OK, in seconds since 1970.",
                )
                .with_unit("s")
                .build(),
            calls_in_progress,
            rows: counter("baton_retool_rows_total", "Rows in the responses of list calls."),
            pool_wait: seconds(
                "baton_retool_pool_wait_seconds",
                "How long calls waited for a connection to the database.",
            ),
            statements: seconds(
                "baton_retool_database_statement_duration_seconds",
                "How long statements took in the database and on the network.",
            ),
            rest: counter("baton_retool_rest_requests_total", "Finished requests to Retool's REST API."),
            rest_seconds: seconds(
                "baton_retool_rest_request_duration_seconds",
                "How long requests to Retool's REST API took.",
            ),
            provisioning: counter(
                "baton_retool_provisioning_total",
                "Requests to change something in Retool.",
            ),
            snapshots: SnapshotInstruments::new(meter),
            service: ServiceInstruments::new(meter),
        }
    }

    pub(super) fn call_in_progress(&self, change: i64) {
        self.calls_in_progress.add(change, &[]);
    }

    pub(super) fn call_ended(
        &self,
        (service, method): (&'static str, &'static str),
        code: Code,
        took: Duration,
        rows: Option<usize>,
    ) {
        let known = |text: &'static str| if text.is_empty() { UNKNOWN } else { text };
        let labels = [
            KeyValue::new("service", known(service)),
            KeyValue::new("method", known(method)),
            KeyValue::new("code", code_name(code)),
        ];
        self.calls.add(1, &labels);
        self.call_seconds.record(took.as_secs_f64(), &labels);
        // A counter cannot show a single call: its first value is not an increase.
        if code == Code::Ok && service.starts_with("c1.") {
            self.last_success.record(seconds_since_1970(), &labels[1..2]);
        }
        if let Some(rows) = rows {
            self.rows.add(rows as u64, &labels[1..2]);
        }
    }

    pub(super) fn pool_waited(&self, waited: Duration) {
        self.pool_wait.record(waited.as_secs_f64(), &[]);
    }

    pub(super) fn statement_ended(&self, statement: &'static str, outcome: Outcome, took: Duration) {
        let labels = [KeyValue::new("statement", statement), KeyValue::new("outcome", outcome.as_str())];
        self.statements.record(took.as_secs_f64(), &labels);
    }

    pub(super) fn rest_ended(
        &self,
        operation: &'static str,
        outcome: RestOutcome,
        status: Option<u16>,
        took: Duration,
    ) {
        let operation = KeyValue::new("operation", operation);
        self.rest_seconds.record(took.as_secs_f64(), std::slice::from_ref(&operation));
        let code: Cow<'static, str> = match status {
            Some(status @ 100..=599) => status.to_string().into(),
            Some(_) => UNKNOWN.into(),
            None => "none".into(),
        };
        let labels = [operation, KeyValue::new("code", code), KeyValue::new("outcome", outcome.as_str())];
        self.rest.add(1, &labels);
    }

    pub(super) fn provisioning_ended(&self, operation: &'static str, outcome: Provisioning) {
        let labels = [KeyValue::new("operation", operation), KeyValue::new("outcome", outcome.as_str())];
        self.provisioning.add(1, &labels);
    }
}

/// Registers the metrics that are computed when the metrics are read.
fn observe(meter: &Meter) {
    let began = seconds_since_1970();
    meter
        .u64_observable_gauge("baton_retool_build_info")
        .with_description("Always 1; the label version is the running version.")
        .with_callback(|observer| {
            observer.observe(1, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
        })
        .build();
    meter
        .u64_observable_gauge("baton_retool_pool_connections")
        .with_description("Open connections to the database.")
        .with_callback(|observer| {
            if let Some(pool) = pool_state() {
                observer.observe(pool.idle.into(), &[KeyValue::new("state", "idle")]);
                observer.observe(pool.in_use.into(), &[KeyValue::new("state", "in_use")]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("baton_retool_pool_max_connections")
        .with_description("The maximum number of connections to the database.")
        .with_callback(|observer| {
            if let Some(pool) = pool_state() {
                observer.observe(pool.most.into(), &[]);
            }
        })
        .build();
    meter
        .u64_observable_counter("baton_retool_log_lines_lost_total")
        .with_description("Lines lost from the log.")
        .with_callback(|observer| {
            for loss in Loss::ALL {
                observer.observe(losses::lines(loss), &[KeyValue::new("reason", loss.as_str())]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("baton_retool_log_unwritable_targets")
        .with_description(
            "Targets of --log-path that cannot be written to; until they can, changes are refused.",
        )
        .with_callback(|observer| observer.observe(losses::unwritable_targets(), &[]))
        .build();
    meter
        .f64_observable_gauge("process_start_time_seconds")
        .with_description("When the process started, in seconds since 1970.")
        .with_unit("s")
        .with_callback(move |observer| observer.observe(began, &[]))
        .build();
    meter
        .u64_observable_gauge("process_resident_memory_bytes")
        .with_description("Resident memory of the process.")
        .with_unit("By")
        .with_callback(|observer| {
            if let Some(memory) = memory_stats::memory_stats() {
                observer.observe(memory.physical_mem as u64, &[]);
            }
        })
        .build();
}

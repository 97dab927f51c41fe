//! Metrics of service mode: polls, tasks, uploads, and the times of the last successes.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter};

use crate::telemetry::metrics::clock::seconds_since_1970;

/// Buckets from a change in Retool to a large sync, in seconds.
const SECONDS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 10800.0];

/// The result of a task of ConductorOne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskOutcome {
    /// The task succeeded.
    Done,
    /// The task failed, and ConductorOne may retry it.
    Failed,
    /// The task failed, and a retry does not help.
    FailedPermanently,
    /// The task ended, but its result could not be reported to ConductorOne.
    Unreported,
    /// The program stopped before the task ended.
    Aborted,
}

impl TaskOutcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::FailedPermanently => "failed_permanently",
            Self::Unreported => "unreported",
            Self::Aborted => "aborted",
        }
    }
}

/// The descriptions are in the code below.
pub(super) struct ServiceInstruments {
    tasks: Counter<u64>,
    task_seconds: Histogram<f64>,
    in_progress: UpDownCounter<i64>,
    polls: Counter<u64>,
    last_poll: Gauge<f64>,
    uploaded: Counter<u64>,
    last_sync: Gauge<f64>,
    start: Gauge<f64>,
}

impl ServiceInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let time = |name, help| meter.f64_gauge(name).with_description(help).with_unit("s").build();
        Self {
            tasks: meter
                .u64_counter("baton_retool_tasks_total")
                .with_description("Finished tasks of ConductorOne.")
                .build(),
            task_seconds: meter
                .f64_histogram("baton_retool_task_duration_seconds")
                .with_description("How long tasks took, the report to ConductorOne included.")
                .with_unit("s")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            in_progress: meter
                .i64_up_down_counter("baton_retool_tasks_in_flight")
                .with_description("Tasks in progress.")
                .build(),
            polls: meter
                .u64_counter("baton_retool_polls_total")
                .with_description("Polls of ConductorOne for tasks.")
                .build(),
            last_poll: time(
                "baton_retool_last_poll_timestamp_seconds",
                "When ConductorOne last answered a poll, in seconds since 1970.",
            ),
            uploaded: meter
                .u64_counter("baton_retool_upload_bytes_total")
                .with_description("Bytes of the files that ConductorOne has accepted.")
                .with_unit("By")
                .build(),
            last_sync: time(
                "baton_retool_last_sync_timestamp_seconds",
                "When a full sync was last uploaded and reported, in seconds since 1970.",
            ),
            start: time(
                "baton_retool_service_start_timestamp_seconds",
                "When service mode started, in seconds since 1970.",
            ),
        }
    }

    pub(super) fn task_in_progress(&self, change: i64) {
        self.in_progress.add(change, &[]);
    }

    pub(super) fn task_ended(&self, task: &'static str, outcome: TaskOutcome, took: Duration) {
        let labels = [KeyValue::new("task", task), KeyValue::new("outcome", outcome.as_str())];
        self.tasks.add(1, &labels);
        self.task_seconds.record(took.as_secs_f64(), &labels[..1]);
    }

    /// Other modes have no tasks and no polls, so their metrics exist from here on.
    pub(super) fn service_started(&self) {
        self.in_progress.add(0, &[]);
        self.start.record(seconds_since_1970(), &[]);
    }

    pub(super) fn polled(&self, answered: bool) {
        self.polls.add(1, &[KeyValue::new("outcome", if answered { "ok" } else { "failed" })]);
        if answered {
            self.last_poll.record(seconds_since_1970(), &[]);
        }
    }

    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.add(bytes, &[]);
    }

    pub(super) fn synced(&self) {
        self.last_sync.record(seconds_since_1970(), &[]);
    }
}

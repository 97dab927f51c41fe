//! Logs, metrics and traces.

mod collector_faults;
mod log_targets;
mod logs;
mod metrics;
mod otlp;
mod shutdown;

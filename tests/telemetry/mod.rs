//! Logs, metrics and traces.

mod collector_faults;
mod logs;
mod metrics;
mod otlp;
mod shutdown;

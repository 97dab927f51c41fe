//! Logs once when a collector stops accepting telemetry and once when it accepts it again. The library would
//! log a message with every batch.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter whose failures are logged.
pub(super) struct LoggedExporter<E> {
    exporter: E,
    signal: &'static str,
    failing: AtomicBool,
}

impl<E> LoggedExporter<E> {
    /// `signal` is the signal that the exporter sends.
    pub(super) fn new(signal: &'static str, exporter: E) -> Self {
        Self { exporter, signal, failing: AtomicBool::new(false) }
    }

    fn log(&self, result: OTelSdkResult) -> OTelSdkResult {
        let failed = result.is_err();
        let failed_before = self.failing.swap(failed, Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => {
                tracing::warn!(signal = self.signal, %error, "the collector does not accept telemetry; it is lost");
            }
            Ok(()) if failed_before => {
                tracing::info!(signal = self.signal, "the collector accepts telemetry again");
            }
            _ => {}
        }
        result
    }
}

impl<E> fmt::Debug for LoggedExporter<E> {
    /// Leaves out the inner exporter: it has headers, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedExporter").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for LoggedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.log(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for LoggedExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.log(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for LoggedExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.log(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

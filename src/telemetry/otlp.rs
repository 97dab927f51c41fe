//! Traces, metrics and logs over OTLP/gRPC.
//!
//! All code here runs on its own threads: the library's, which collect and send batches, and one thread of a
//! small runtime for the connections. The server's threads only add data to bounded queues, and drop it if
//! the queues are full.

mod error;
mod plan;
mod variables;

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::PeriodicReader;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::{Builder, Runtime};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::telemetry::export::LoggedExporter;
use crate::telemetry::otlp::plan::Target;
use crate::telemetry::watch;

pub(super) use error::Error;
pub(super) use plan::Plan;
pub(super) use variables::warnings;

/// Sends the metrics every minute, or at the interval in `OTEL_METRIC_EXPORT_INTERVAL`.
pub(super) type MetricReader = PeriodicReader<LoggedExporter<MetricExporter>>;

/// How long the program waits at exit for a collector to accept the remaining data.
pub(crate) const FLUSH: Duration = Duration::from_secs(5);

/// The default interval between exports of metrics.
const MINUTE: Duration = Duration::from_secs(60);

/// The running exporters.
pub(super) struct Export {
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<MetricReader>,
    /// Runs the connections; ends with the process.
    _runtime: Runtime,
}

impl Export {
    /// Starts to send according to `plan`. It does not connect before there is data to send.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn start(plan: Plan, resource: &Resource) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let inside = runtime.enter();
        let traces = plan.traces.map(|target| {
            let failed = target.failed();
            let exporter =
                configured(SpanExporter::builder().with_tonic(), target).build().map_err(failed)?;
            let builder = SdkTracerProvider::builder().with_resource(resource.clone());
            Ok::<_, Error>(builder.with_batch_exporter(LoggedExporter::new("traces", exporter)).build())
        });
        let logs = plan.logs.map(|target| {
            let failed = target.failed();
            let exporter = configured(LogExporter::builder().with_tonic(), target).build().map_err(failed)?;
            let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
            Ok::<_, Error>(builder.with_batch_exporter(LoggedExporter::new("logs", exporter)).build())
        });
        let metrics = plan.metrics.map(|target| {
            let failed = target.failed();
            let exporter =
                configured(MetricExporter::builder().with_tonic(), target).build().map_err(failed)?;
            let mut builder = PeriodicReader::builder(LoggedExporter::new("metrics", exporter));
            if plan.no_interval {
                builder = builder.with_interval(MINUTE);
            }
            Ok::<_, Error>(builder.build())
        });
        let (traces, logs, metrics) = (traces.transpose()?, logs.transpose()?, metrics.transpose()?);
        drop(inside);
        Ok(Self { traces, logs, metrics, _runtime: runtime })
    }

    /// Returns the reader for a meter provider; `None` after the first call.
    pub(super) fn metric_reader(&mut self) -> Option<MetricReader> {
        self.metrics.take()
    }

    /// A layer that converts the spans of [`watch`] to traces. Spans of libraries are left out, because their
    /// contents are unknown.
    pub(super) fn trace_layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.traces.as_ref()?.tracer(env!("CARGO_PKG_NAME"));
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        Some(layer.with_filter(Targets::new().with_target(watch::SPANS, LevelFilter::TRACE)))
    }

    /// A layer that sends the events that `filter` admits; the log has the same filter.
    pub(super) fn log_layer<S>(&self, filter: Targets) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Some(OpenTelemetryTracingBridge::new(self.logs.as_ref()?).with_filter(filter))
    }

    /// Sends the remaining spans. No span is sent afterwards.
    pub(super) fn flush_traces(&self) {
        // The log already reports a collector that does not accept them.
        let _ = self.traces.as_ref().map(|traces| traces.shutdown_with_timeout(FLUSH));
    }

    /// Sends the remaining log records. No record is sent afterwards.
    pub(super) fn flush_logs(&self) {
        let _ = self.logs.as_ref().map(|logs| logs.shutdown_with_timeout(FLUSH));
    }
}

fn configured<B: WithExportConfig + WithTonicConfig>(builder: B, target: Target) -> B {
    let builder = builder.with_endpoint(target.endpoint);
    match target.tls {
        Some(tls) => builder.with_tls_config(tls),
        None => builder,
    }
}

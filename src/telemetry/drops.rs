//! Logs once per signal when its queue is full and telemetry is lost. A slow collector refuses nothing, so no
//! other log line reports it.

use std::thread;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Listens to the events of the telemetry library.
struct Drops;

/// The event of the library when a queue is full for the first time, the signal, and the variable with the
/// size of its queue.
const FULL: [(&str, &str, &str); 2] = [
    ("BatchSpanProcessor.SpanDroppingStarted", "traces", "OTEL_BSP_MAX_QUEUE_SIZE"),
    ("BatchLogProcessor.LogDroppingStarted", "logs", "OTEL_BLRP_MAX_QUEUE_SIZE"),
];

/// A layer to add next to the layers that send.
pub(super) fn layer<S>() -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Drops.with_filter(Targets::new().with_target("opentelemetry_sdk", LevelFilter::WARN))
}

impl<S: Subscriber> Layer<S> for Drops {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let name = event.metadata().name();
        let Some((_, signal, variable)) = FULL.into_iter().find(|(full, ..)| *full == name) else { return };
        // The event occurs while a span ends or a line is logged, and no other line can be logged there.
        let warn = move || {
            tracing::warn!(
                signal,
                "telemetry arrives faster than the collector accepts it, and is lost when the queue is full: check the collector, or raise {variable}"
            );
        };
        // If no thread can be started, the warning is lost.
        let _ = thread::Builder::new().name("telemetry-drops".to_owned()).spawn(warn);
    }
}

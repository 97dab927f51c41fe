//! Logs once for each signal when its queue is full, from where on telemetry is lost: a collector
//! that is merely slow refuses nothing, so that nobody else would notice.

use std::thread;

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Listens to what the telemetry library says of itself.
struct Drops;

/// What the library says when a queue is full for the first time, the signal, and the variable with the
/// size of its queue.
const FULL: [(&str, &str, &str); 2] = [
    ("BatchSpanProcessor.SpanDroppingStarted", "traces", "OTEL_BSP_MAX_QUEUE_SIZE"),
    ("BatchLogProcessor.LogDroppingStarted", "logs", "OTEL_BLRP_MAX_QUEUE_SIZE"),
];

/// To be put beside the layers that send.
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
        // The library says it while a span ends or a line is logged: no place to log another one.
        let tell = move || {
            tracing::warn!(
                signal,
                "telemetry comes faster than the collector takes it, and what the queue does not hold is lost: look at the collector, or raise {variable}"
            );
        };
        // Without a thread it goes untold.
        let _ = thread::Builder::new().name("telemetry-drops".to_owned()).spawn(tell);
    }
}

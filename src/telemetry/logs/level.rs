//! A log level that can change while the program runs.

use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload;

use crate::telemetry::settings::LogLevel;

/// The log level, once logging has started.
static LEVEL: OnceLock<Level> = OnceLock::new();

/// The current log level, and a function that changes it.
struct Level {
    now: Mutex<LogLevel>,
    change: Box<dyn Fn(LogLevel) + Send + Sync>,
}

/// Creates a filter that [`set_level`] can change. `filter` returns the filter of a level.
pub(super) fn changeable<S: Subscriber>(
    level: LogLevel,
    filter: fn(LogLevel) -> Targets,
) -> reload::Layer<Targets, S> {
    let (filtered, handle) = reload::Layer::new(filter(level));
    let change = move |level| {
        // This fails after logging has ended.
        let _ = handle.reload(filter(level));
    };
    // After a second start, the first filter stays in use.
    let _ = LEVEL.set(Level { now: Mutex::new(level), change: Box::new(change) });
    filtered
}

/// Sets the lowest level that is logged. It does not affect a collector.
pub(crate) fn set_level(level: LogLevel) {
    let Some(Level { now, change }) = LEVEL.get() else { return };
    let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
    if *now != level {
        *now = level;
        change(level);
    }
}

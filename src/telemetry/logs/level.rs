//! The least severity that is logged, where it may change while the program runs.

use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload;

use crate::telemetry::settings::LogLevel;

/// Changes the least severity that is logged, once logging has started.
static LEVEL: OnceLock<Level> = OnceLock::new();

/// The least severity that is logged, and how it is changed.
struct Level {
    now: Mutex<LogLevel>,
    change: Box<dyn Fn(LogLevel) + Send + Sync>,
}

/// The filter of a level that [`set_level`] can change. `filter` makes the filter of another one.
pub(super) fn changeable<S: Subscriber>(
    level: LogLevel,
    filter: fn(LogLevel) -> Targets,
) -> reload::Layer<Targets, S> {
    let (filtered, handle) = reload::Layer::new(filter(level));
    let change = move |level| {
        // It fails where logging has ended.
        let _ = handle.reload(filter(level));
    };
    // Another start has been there first; its filter stays.
    let _ = LEVEL.set(Level { now: Mutex::new(level), change: Box::new(change) });
    filtered
}

/// Writes events from this level up from now on. What a collector gets stays as it is.
pub(crate) fn set_level(level: LogLevel) {
    let Some(Level { now, change }) = LEVEL.get() else { return };
    let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
    if *now != level {
        *now = level;
        change(level);
    }
}

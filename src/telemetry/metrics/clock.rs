//! The current time for gauges.

use std::time::{SystemTime, UNIX_EPOCH};

/// The current time, in seconds since 1970.
pub(super) fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

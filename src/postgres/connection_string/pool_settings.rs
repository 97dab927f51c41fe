//! The pool's settings, which the Go driver also reads from the connection string.

use std::time::Duration;

use crate::postgres::connection_string::duration;
use crate::postgres::connection_string::error::ConnectionStringError;
use crate::postgres::connection_string::layers::Layers;

/// The size of the pool and the lifetime of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    /// Maximum number of connections (`pool_max_conns`), at least 1.
    pub max_connections: u32,
    /// Minimum number of connections once the pool is warm (`pool_min_conns`), at most the maximum.
    pub min_connections: u32,
    /// Age at which a connection is replaced (`pool_max_conn_lifetime`), never zero.
    pub max_lifetime: Duration,
    /// Maximum of the random time added to the lifetime (`pool_max_conn_lifetime_jitter`).
    pub max_lifetime_jitter: Duration,
    /// Idle time after which a connection is closed (`pool_max_conn_idle_time`), never zero.
    pub max_idle_time: Duration,
    /// How often lifetime and idle time are checked (`pool_health_check_period`), never zero.
    pub health_check_period: Duration,
}

const WHOLE: &str = "a whole number";
const DURATION: &str = "a duration like 1h30m, 90s or 250ms";
const LONGER: &str = "a duration longer than zero, like 1h30m, 90s or 250ms";

/// Reads the pool's settings. The defaults are those of pgxpool, which the Go connector uses. Also validates
/// the settings without effect.
pub(crate) fn read(layers: &Layers, processors: u32) -> Result<PoolSettings, ConnectionStringError> {
    let number = |text: &str| text.parse().ok().filter(|number| i32::try_from(*number).is_ok());
    let longer = |key, otherwise| {
        let read = |text: &str| duration::parse(text).filter(|duration| !duration.is_zero());
        Ok::<_, ConnectionStringError>(layers.parsed(key, LONGER, read)?.unwrap_or(otherwise))
    };
    let settings = PoolSettings {
        max_connections: layers
            .parsed("pool_max_conns", "a whole number from 1", |text| number(text).filter(|max| *max > 0))?
            .unwrap_or(processors.max(4)),
        min_connections: layers.parsed("pool_min_conns", WHOLE, number)?.unwrap_or(0),
        max_lifetime: longer("pool_max_conn_lifetime", Duration::from_secs(60 * 60))?,
        max_lifetime_jitter: layers
            .parsed("pool_max_conn_lifetime_jitter", DURATION, duration::parse)?
            .unwrap_or_default(),
        max_idle_time: longer("pool_max_conn_idle_time", Duration::from_secs(30 * 60))?,
        health_check_period: longer("pool_health_check_period", Duration::from_secs(60))?,
    };
    if settings.min_connections > settings.max_connections {
        let (min, max) = (settings.min_connections, settings.max_connections);
        return Err(ConnectionStringError::PoolBounds { min, max });
    }
    check_without_effect(layers)?;
    Ok(settings)
}

/// Validates the settings of [`keys::NO_EFFECT`](crate::postgres::connection_string::keys::NO_EFFECT).
fn check_without_effect(layers: &Layers) -> Result<(), ConnectionStringError> {
    let whole = |text: &str| text.parse::<u32>().ok();
    layers.parsed("min_read_buffer_size", WHOLE, whole)?;
    layers.parsed("statement_cache_capacity", WHOLE, whole)?;
    layers.parsed("statement_cache_mode", "prepare or describe", |text| {
        ["prepare", "describe"].contains(&text).then_some(())
    })?;
    // The boolean texts that Go accepts.
    layers.parsed("prefer_simple_protocol", "true or false", |text| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    })?;
    Ok(())
}

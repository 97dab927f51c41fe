//! The limits for callers, so that one caller leaves enough resources for the others (decision bounds).

use std::time::Duration;

use serde::Deserialize;

use crate::monitoring_http;

/// The server's limits. [`Limits::DEFAULT`] has the defaults in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Limits {
    /// Concurrent connections, at least 1. A further connection replaces another one. An agent needs one, and
    /// HTTP/2 can keep up to 2 MiB for each.
    #[serde(rename = "max-connections")]
    pub connections: usize,
    /// Concurrent calls on one connection, at least 1. Further calls wait in the client.
    #[serde(rename = "max-streams")]
    pub streams: u32,
    /// Concurrent calls on all connections, at least 1. A further call gets Unavailable, which agents retry.
    #[serde(rename = "max-requests")]
    pub requests: usize,
    /// Largest request in bytes, in addition to a page token.
    #[serde(rename = "max-request-bytes")]
    pub request_bytes: usize,
    /// Largest answer in bytes, at least 2 MiB. Listings limit their pages to less than that.
    #[serde(rename = "max-response-bytes")]
    pub response_bytes: usize,
    /// Largest set of request headers in bytes.
    #[serde(rename = "max-header-bytes")]
    pub header_bytes: u32,
    /// Longest duration of a call; a shorter `grpc-timeout` of the client takes precedence. Not zero.
    #[serde(rename = "request-timeout-seconds")]
    pub deadline: Duration,
    /// Longest wait for the rest of a request, or for the caller to read the next part of an answer. Not
    /// zero.
    #[serde(rename = "stall-timeout-seconds")]
    pub stall: Duration,
    /// How often a silent connection is pinged. Not zero.
    #[serde(rename = "keepalive-interval-seconds")]
    pub keepalive_interval: Duration,
    /// Longest wait for the answer to a ping. Not zero.
    #[serde(rename = "keepalive-timeout-seconds")]
    pub keepalive_timeout: Duration,
    /// How long calls may continue after the server has begun to stop; zero ends them at once.
    #[serde(rename = "shutdown-grace-seconds")]
    pub grace: Duration,
}

const MIB: usize = 1024 * 1024;

impl Limits {
    /// The limits without any settings.
    pub(crate) const DEFAULT: Self = Self {
        connections: 512,
        streams: 256,
        requests: 512,
        // Enough for the requests of agents (decision request-size).
        request_bytes: MIB,
        response_bytes: 4 * MIB,
        header_bytes: 16 * 1024,
        deadline: Duration::from_secs(300),
        stall: Duration::from_secs(10),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(20),
        grace: Duration::from_secs(25),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Raises the limit on open files to the number that this many connections need. Logs a warning if this is
/// not possible: connections over the limit would then wait without an answer instead of being closed.
pub(crate) fn allow_open_files(connections: usize) {
    let wanted = u64::try_from(connections.saturating_add(OTHER_FILES)).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(most) if most >= wanted => {}
        Ok(most) => tracing::warn!(
            open_files = most,
            max_connections = connections,
            "the limit on open files is too low for --max-connections: raise it (ulimit -n) or lower --max-connections"
        ),
        Err(error) => tracing::warn!(%error, "cannot read the limit on open files (ulimit -n)"),
    }
}

/// An estimate for the pool of the database, the logs and the rest, plus the connections of the ports for
/// probes and for Prometheus.
const OTHER_FILES: usize = 64 + 2 * monitoring_http::CONNECTIONS;

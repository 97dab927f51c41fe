//! The limits of what callers may use, so that one caller leaves enough for the others.

use std::time::Duration;

use serde::Deserialize;

use crate::monitoring_http;

/// The server's limits. [`Limits::DEFAULT`] has what `--help` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Limits {
    /// Connections at a time, at least 1; one more takes the place of one that does nothing.
    #[serde(rename = "max-connections")]
    pub connections: usize,
    /// Calls at a time on one connection, at least 1; more wait in the client.
    #[serde(rename = "max-streams")]
    pub streams: u32,
    /// Calls at a time on all connections, at least 1; one more is answered Unavailable, which agents try
    /// again.
    #[serde(rename = "max-requests")]
    pub requests: usize,
    /// Largest request in bytes, besides a page token.
    #[serde(rename = "max-request-bytes")]
    pub request_bytes: usize,
    /// Largest answer in bytes, at least 2 MiB: listings stay under that by themselves.
    #[serde(rename = "max-response-bytes")]
    pub response_bytes: usize,
    /// Largest set of request headers in bytes.
    #[serde(rename = "max-header-bytes")]
    pub header_bytes: u32,
    /// Longest that a call may take; a shorter `grpc-timeout` of the client's wins. Not zero.
    #[serde(rename = "request-timeout-seconds")]
    pub deadline: Duration,
    /// How long the rest of a request, or the caller for the next part of an answer, may be waited for. Not zero.
    #[serde(rename = "stall-timeout-seconds")]
    pub stall: Duration,
    /// How often a silent connection is pinged. Not zero.
    #[serde(rename = "keepalive-interval-seconds")]
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take. Not zero.
    #[serde(rename = "keepalive-timeout-seconds")]
    pub keepalive_timeout: Duration,
    /// How long calls may still take after the server has begun to stop; zero ends them at once.
    #[serde(rename = "shutdown-grace-seconds")]
    pub grace: Duration,
}

const MIB: usize = 1024 * 1024;

impl Limits {
    /// The limits where no setting says otherwise.
    pub(crate) const DEFAULT: Self = Self {
        connections: 4096,
        streams: 256,
        requests: 512,
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

/// Raises the limit on open files to what so many connections need, and warns when that is not possible:
/// connections over the limit would then wait without an answer instead of being closed.
pub(crate) fn allow_open_files(connections: usize) {
    let wanted = u64::try_from(connections.saturating_add(OTHER_FILES)).unwrap_or(u64::MAX);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(most) if most >= wanted => {}
        Ok(most) => tracing::warn!(
            open_files = most,
            max_connections = connections,
            "the limit on open files is too low for --max-connections: raise it (ulimit -n) or lower that"
        ),
        Err(error) => tracing::warn!(%error, "cannot tell how many files may be open (ulimit -n)"),
    }
}

/// About as many as the database's pool, the logs and the rest may need, and as many as the ports for probes
/// and for Prometheus take.
const OTHER_FILES: usize = 64 + 2 * monitoring_http::CONNECTIONS;

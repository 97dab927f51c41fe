//! The HTTP endpoints for probes.

use std::fmt;

use crate::config::error::Error;
use crate::config::layers::{Layers, Text, invalid};
use crate::config::table::{HEALTH_CHECK_BIND_ADDRESS, HEALTH_CHECK_PORT};
use crate::config::values::{parse_host, write_host_and_port};

/// Where probes are answered over HTTP (service-mode.md 20). Printed as `host:port` or `[v6]:port`,
/// which a URL can take as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// A name or an address; an IPv6 address without its brackets. `(host, port)` can be bound as is.
    pub host: String,
    /// The port; 0 lets the system choose one.
    pub port: u16,
}

impl HealthSettings {
    /// Whether the endpoints are wanted is not asked.
    pub(in crate::config) fn read(layers: &Layers) -> Result<Self, Error> {
        let Text { value, origin } = layers.required_text(&HEALTH_CHECK_BIND_ADDRESS)?;
        let host = parse_host(value.trim())
            .map_err(|problem| invalid(&HEALTH_CHECK_BIND_ADDRESS, &origin, problem))?;
        Ok(Self { host, port: layers.whole(&HEALTH_CHECK_PORT)? })
    }
}

impl fmt::Display for HealthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_and_port(f, &self.host, self.port)
    }
}

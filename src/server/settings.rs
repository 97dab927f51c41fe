//! The settings of the servers.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::address::{parse_host, write_host_and_port};
use crate::server::{Endpoint, Limits, Security};

/// The address and security of the gRPC server, and its limits for callers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ServerSettings {
    /// The address of the listener.
    pub listen: Endpoint,
    /// The callers that are admitted.
    pub security: Security,
    /// Whether callers can list the services by reflection.
    pub reflection: bool,
    /// The limits for callers.
    pub limits: Limits,
}

impl ServerSettings {
    /// The default of `--reflection`.
    pub(crate) const REFLECTION: bool = true;
}

/// The address for HTTP health probes. Printed as `host:port` or `[v6]:port`, which can be used in a URL as
/// is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HealthSettings {
    /// A name or an address; an IPv6 address without its brackets. `(host, port)` can be bound as is.
    #[serde(rename = "health-check-bind-address", deserialize_with = "host")]
    pub host: String,
    /// The port; 0 lets the system choose one.
    #[serde(rename = "health-check-port")]
    pub port: u16,
}

impl HealthSettings {
    /// The default of `--health-check-bind-address`.
    pub(crate) const HOST: &str = "127.0.0.1";
    /// The default of `--health-check-port`.
    pub(crate) const PORT: u16 = 8081;
}

impl fmt::Display for HealthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_host_and_port(f, &self.host, self.port)
    }
}

fn host<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    parse_host(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

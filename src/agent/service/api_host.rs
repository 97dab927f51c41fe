//! The address of ConductorOne's API.

use std::fmt;

use crate::address::{AddressError, HostAndPort, parse_host};

/// The address of ConductorOne's API, which uses TLS. Displayed with a port only if one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiHost {
    /// A name or an IP address; an IPv6 address without brackets.
    pub host: String,
    /// The port, if one was given.
    pub port: Option<u16>,
}

impl ApiHost {
    /// The port of HTTPS.
    const DEFAULT_PORT: u16 = 443;

    /// Parses `host` or `host:port`.
    ///
    /// # Errors
    /// The error of [`HostAndPort`] for text with a port.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        match parse_host(text) {
            Ok(host) => Ok(Self { host, port: None }),
            Err(_) => {
                let HostAndPort { host, port } = text.parse()?;
                Ok(Self { host, port: Some(port) })
            }
        }
    }

    /// The given port, or the default.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(Self::DEFAULT_PORT)
    }

    /// Host and port in the form of gRPC.
    pub(crate) fn authority(&self) -> String {
        HostAndPort { host: self.host.clone(), port: self.port() }.to_string()
    }
}

impl fmt::Display for ApiHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(_) => f.write_str(&self.authority()),
            None if self.host.contains(':') => write!(f, "[{}]", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_uses_443() {
        for (text, authority, shown) in [
            ("acme.conductor.one", "acme.conductor.one:443", "acme.conductor.one"),
            ("127.0.0.1:18443", "127.0.0.1:18443", "127.0.0.1:18443"),
            ("[::1]:8443", "[::1]:8443", "[::1]:8443"),
            ("[::1]", "[::1]:443", "[::1]"),
        ] {
            let host = ApiHost::parse(text).unwrap();
            assert_eq!((host.authority().as_str(), host.to_string().as_str()), (authority, shown));
        }
        for wrong in ["", "https://acme.conductor.one", "acme:port", "a b"] {
            assert!(ApiHost::parse(wrong).is_err(), "{wrong}");
        }
    }
}

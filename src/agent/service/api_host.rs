//! Where ConductorOne's API answers.

use std::fmt;

use crate::address::{AddressError, HostAndPort, parse_host};

/// Where ConductorOne's API answers, over TLS. Printed as a person wrote it: with a port only if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiHost {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, where one was given.
    pub port: Option<u16>,
}

impl ApiHost {
    /// The port for HTTPS.
    const USUAL_PORT: u16 = 443;

    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    /// What [`HostAndPort`] says of a text with a port.
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

    /// The port, given or usual.
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(Self::USUAL_PORT)
    }

    /// Host and port, as gRPC writes them.
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
    fn a_host_has_a_port_or_the_usual_one() {
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

//! The address of a listener, and the callers that are admitted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::address::{AddressError, HostAndPort, UNIX, socket_path, write_host_and_port};
use crate::operator_file::shown;
use crate::server::error::Error;
use crate::server::transport::tls::TlsFiles;
use crate::server::transport::{listener, tls, tokens};

/// The address of a listener. Printed in the form in which it is read: `host:port`, `[v6]:port` or
/// `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Endpoint {
    /// A TCP port. Port 0 selects any free port.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket; the path is not empty. A relative path starts at the working directory.
    Unix(PathBuf),
}

/// The callers that are admitted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Security {
    /// Encrypts connections.
    #[serde(rename = "tls-cert")]
    pub tls: Option<TlsFiles>,
    /// The file with the accepted tokens. A caller must send one of them.
    #[serde(rename = "auth-token-file")]
    pub token_file: Option<PathBuf>,
    /// Whether health checks need no token.
    #[serde(rename = "health-without-token")]
    pub open_health: bool,
    /// Whether plaintext is allowed on any address.
    pub insecure: bool,
}

impl Endpoint {
    /// The default of `--listen`.
    pub(crate) const DEFAULT: &str = "127.0.0.1:8080";
}

impl FromStr for Endpoint {
    type Err = AddressError;

    /// Reads `host:port`, with brackets around an IPv6 address, or `unix:` and a path.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return socket_path(path).map(Self::Unix);
        }
        let HostAndPort { host, port } = text.parse()?;
        Ok(Self::Tcp { host, port })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_host_and_port(f, host, *port),
            Self::Unix(path) => write!(f, "unix:{}", shown(path)),
        }
    }
}

impl Security {
    /// The defaults in `--help`: no TLS and no tokens, so only this machine may connect.
    pub(crate) const DEFAULT: Self = Self { tls: None, token_file: None, open_health: true, insecure: false };

    /// All errors with which [`Server::listen`](crate::server::Server::listen) would refuse these settings. Binds
    /// no port.
    pub(crate) async fn check(&self, endpoint: &Endpoint) -> Vec<Error> {
        let exposure = match endpoint {
            Endpoint::Tcp { host, port } => match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(mut addresses) => {
                    self.check_exposure(endpoint, addresses.next().is_some_and(listener::is_wide))
                }
                Err(source) => Err(Error::Listen { address: endpoint.to_string(), source }),
            },
            Endpoint::Unix(_) => Ok(()),
        };
        exposure.err().into_iter().chain(self.errors_of_files(|_| true)).collect()
    }

    /// The errors of the files with certificates and tokens. Pipes and devices are left out, because they can be
    /// read once only.
    pub(crate) fn check_files(&self) -> Vec<Error> {
        self.errors_of_files(|path| std::fs::metadata(path).map_or(true, |file| file.is_file()))
    }

    fn errors_of_files(&self, can_be_read: impl Fn(&Path) -> bool) -> Vec<Error> {
        let tls = self.tls.as_ref().map(|files| tls::check(files, &can_be_read)).unwrap_or_default();
        let tokens = self.token_file.as_deref().filter(|file| can_be_read(file));
        let tokens = tokens.and_then(|file| tokens::check(file).err());
        tls.into_iter().map(Error::from).chain(tokens.map(Error::from)).collect()
    }

    /// Whether plaintext is allowed on this address.
    pub(crate) fn check_exposure(&self, endpoint: &Endpoint, wide: bool) -> Result<(), Error> {
        if wide && self.tls.is_none() && !self.insecure {
            return Err(Error::Plaintext { address: endpoint.to_string() });
        }
        Ok(())
    }
}

impl Default for Security {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_is_parsed_and_printed() {
        for text in [
            "127.0.0.1:8080",
            "localhost:0",
            "[::1]:65535",
            "my-host.example.com:1",
            "unix:/run/retool.sock",
            "unix:here.sock",
            "unix:../a b:1",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let read = |text: &str| text.parse::<Endpoint>().unwrap();
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        assert_eq!(read("[::1]:80"), tcp("::1", 80));
        assert_eq!(read("unix.example.com:80"), tcp("unix.example.com", 80));
        let unix = |path: &str| Endpoint::Unix(path.into());
        assert_eq!(read("unix:/a"), unix("/a"));
        assert_eq!(read("unix:///run/a").to_string(), "unix:/run/a");
        assert_eq!(read("unix:8080"), unix("8080"));
    }

    #[test]
    fn an_invalid_listen_address_is_an_error() {
        for (text, problem) in [
            ("localhost", "\"localhost\" has no port"),
            ("h:", "\"\" in \"h:\" is not a port, which is a number from 0 to 65535"),
            ("h:65536", "\"65536\" in \"h:65536\" is not a port, which is a number from 0 to 65535"),
            ("h:+1", "\"+1\" in \"h:+1\" is not a port, which is a number from 0 to 65535"),
            (":80", "\":80\" has no host; use 0.0.0.0:80 or [::]:80 for all interfaces"),
            ("::1:80", "the IPv6 address in \"::1:80\" needs brackets: [::1]:80"),
            ("[h]:80", "\"[h]\" is not an IPv6 address"),
            ("http://h:80", "\"http://h\" is not a host"),
            ("unix:", "unix: has no path"),
            ("unix://", "the path after unix:// must begin with a slash; use unix:/path or unix:///path"),
            (
                "unix://run/a",
                "the path after unix:// must begin with a slash; use unix:/path or unix:///path",
            ),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap_err().to_string(), problem);
        }
    }
}

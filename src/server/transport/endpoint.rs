//! Where a server listens, and who may call.

use std::path::PathBuf;

use crate::server::Error;
use crate::server::transport::tls::TlsFiles;
use crate::server::transport::{listener, tls, tokens};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP port; port 0 is any free one.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// Who may call.
#[derive(Debug, Clone, Default)]
pub struct Security {
    /// Encrypts connections.
    pub tls: Option<TlsFiles>,
    /// The file with the tokens of which a caller must show one.
    pub token_file: Option<PathBuf>,
    /// Health checks need no token.
    pub open_health: bool,
    /// Plaintext on any address.
    pub insecure: bool,
}

impl Security {
    /// Whether [`crate::server::Server::listen`] would take these settings. No port is taken.
    ///
    /// # Errors
    /// [`Error::Plaintext`], [`Error::Listen`], [`Error::Tls`], [`Error::Tokens`]
    pub async fn check(&self, endpoint: &Endpoint) -> Result<(), Error> {
        if let Endpoint::Tcp { host, port } = endpoint {
            let failed = |source| Error::Listen { address: endpoint.to_string(), source };
            let mut addresses = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(failed)?;
            self.check_exposure(endpoint, addresses.next().is_some_and(listener::is_wide))?;
        }
        self.tls.as_ref().map(tls::check).transpose()?;
        self.token_file.as_deref().map(tokens::check).transpose()?;
        Ok(())
    }

    /// Whether plaintext is fine there.
    pub(crate) fn check_exposure(&self, endpoint: &Endpoint, wide: bool) -> Result<(), Error> {
        if wide && self.tls.is_none() && !self.insecure {
            return Err(Error::Plaintext { address: endpoint.to_string() });
        }
        Ok(())
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

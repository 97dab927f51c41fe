//! Errors that prevent a server from running.

use crate::server::rate_limiter::LimiterError;
use crate::server::transport::tls::TlsError;
use crate::server::transport::tokens::TokenError;

/// The reason why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// As configured.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Any client on the network could read the organization's access (decision closed-by-default).
    #[error(
        "{address} can be reached from other machines: set --tls-cert and --tls-key, listen on 127.0.0.1 or on a unix socket, or accept plaintext with --insecure"
    )]
    Plaintext {
        /// The address as configured.
        address: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The parent requests a rate limiter that is not supported or is invalid.
    #[error(transparent)]
    Limiter(#[from] LimiterError),
    /// Serving failed.
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// The embedded protocol description is unusable for reflection.
    #[error("the embedded protocol description is invalid: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Error {
    /// Whether a setting is the cause, so that a restart would fail in the same way.
    pub(crate) fn is_a_setting(&self) -> bool {
        matches!(self, Self::Plaintext { .. } | Self::Tls(_) | Self::Tokens(_))
    }
}

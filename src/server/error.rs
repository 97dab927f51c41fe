//! Why a server cannot run.

use crate::server::rate_limiter::LimiterError;
use crate::server::transport::tls::TlsError;
use crate::server::transport::tokens::TokenError;

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another one with --listen")]
    Listen {
        /// As configured.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Anybody on the network could read the organization's access.
    #[error(
        "{address} can be reached from other machines: give --tls-cert and --tls-key, listen on 127.0.0.1 or on a unix socket, or accept plaintext with --insecure"
    )]
    Plaintext {
        /// As configured.
        address: String,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The parent wants a rate limiter that there is not.
    #[error(transparent)]
    Limiter(#[from] LimiterError),
    /// Serving broke off.
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    /// Reflection found the embedded protocol unusable.
    #[error("the embedded protocol description is unusable: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Error {
    /// Whether a setting is to blame, so that another start would end the same way.
    pub(crate) fn is_a_setting(&self) -> bool {
        matches!(self, Self::Plaintext { .. } | Self::Tls(_) | Self::Tokens(_))
    }
}

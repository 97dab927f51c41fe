//! Why a hosted connector gets no configuration.

use std::path::PathBuf;

use crate::address::AddressError;
use crate::agent::service::{CredentialsError, SetupError};

/// Why a hosted connector gets no configuration. No message has a part of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostedError {
    /// The client's id or secret cannot be right.
    #[error("{}", .0.to_string().replace("BATON_CLIENT", "BATON_LAMBDA_CLIENT"))]
    Credentials(#[source] CredentialsError),
    /// A variable does not name a host.
    #[error("{variable}: {source}; it takes host or host:port")]
    Host {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        source: AddressError,
    },
    /// The file with more certificate authorities cannot be used.
    #[error("BATON_LAMBDA_CA_CERT_PATH: {} {problem}; it takes a PEM file with certificates", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// AWS has not said who the function is.
    #[error(
        "{0} is not set, and without it the function cannot prove its AWS role; Lambda sets it by itself"
    )]
    NoRole(&'static str),
    /// The proof of the role cannot be made.
    #[error("the AWS role cannot be proved: {0}")]
    Attestation(String),
    /// No connection can ever come about.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// There is no key for this process, or it cannot sign.
    #[error("the key of this process cannot be used: {0}")]
    Key(String),
    /// The token endpoint cannot be reached.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// The token endpoint refuses this client.
    #[error(
        "ConductorOne gives this function no token: {url} answered {status}{}; check BATON_LAMBDA_CLIENT_ID, BATON_LAMBDA_CLIENT_SECRET and the role of the function",
        error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
    )]
    Refused {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The OAuth error, where it is a plain word.
        error: Option<String>,
    },
    /// The token endpoint answers with something else than a token.
    #[error("{url} answered {problem} instead of an access token")]
    NoToken {
        /// The endpoint.
        url: String,
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// The configuration service does not answer as it should.
    #[error("ConductorOne's configuration service answered {:?}: {}", .0.code(), .0.message())]
    Service(Box<tonic::Status>),
    /// The configuration service cannot be reached.
    #[error("ConductorOne's configuration service cannot be reached: {0}")]
    ServiceUnreachable(String),
    /// It takes too long.
    #[error("ConductorOne's configuration service did not answer within {0} s")]
    Silent(u64),
    /// What it sent cannot be decrypted.
    #[error("the served configuration cannot be decrypted: {0}")]
    Sealed(String),
    /// What it sent is no configuration.
    #[error("the served configuration {0}")]
    Config(&'static str),
    /// The keys that callers sign with cannot be fetched.
    #[error("lambda-auth-jwt-jwks-url: {url} {problem}")]
    Jwks {
        /// Where they should be.
        url: String,
        /// What went wrong.
        problem: String,
    },
}

impl HostedError {
    /// Whether a setting or a variable has to be changed.
    pub(crate) fn is_a_setting(&self) -> bool {
        matches!(
            self,
            Self::Credentials(_)
                | Self::Host { .. }
                | Self::Authorities { .. }
                | Self::NoRole(_)
                | Self::Setup(_)
        )
    }
}

//! Errors of a hosted connector.

use std::path::PathBuf;

use crate::address::AddressError;
use crate::agent::service::{CredentialsError, SetupError};
use crate::operator_file::shown;

/// The reason why a hosted connector gets no configuration, or no keys of callers. No message contains a part
/// of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostedError {
    /// The client's id or secret is malformed.
    #[error("{}", .0.to_string().replace("BATON_CLIENT", "BATON_LAMBDA_CLIENT"))]
    Credentials(#[source] CredentialsError),
    /// A variable is not a host.
    #[error("{variable}: {source}; set it to host or host:port")]
    Host {
        /// The variable.
        variable: &'static str,
        /// The problem with its value.
        source: AddressError,
    },
    /// The file of additional certificate authorities cannot be used.
    #[error("BATON_LAMBDA_CA_CERT_PATH: {} {problem}; set it to a PEM file with certificates", shown(path))]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The problem with the file.
        problem: String,
    },
    /// A variable of the AWS role is missing.
    #[error("{0} is not set: the function needs it to prove its AWS role, and AWS Lambda sets it")]
    NoRole(&'static str),
    /// The proof of the AWS role cannot be signed.
    #[error("cannot sign the proof of the AWS role: {0}")]
    Attestation(String),
    /// The client cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The key of this process cannot be created, or cannot sign.
    #[error("cannot use the key of this process: {0}")]
    Key(String),
    /// The token endpoint cannot be reached.
    #[error("cannot reach {url}: {problem}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// The cause.
        problem: String,
    },
    /// The token endpoint rejects this client.
    #[error(
        "ConductorOne issued no access token: {url} answered {status}{}; check BATON_LAMBDA_CLIENT_ID, BATON_LAMBDA_CLIENT_SECRET and the role of the function",
        error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
    )]
    Refused {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The OAuth error code, if it is a single word.
        error: Option<String>,
    },
    /// The response of the token endpoint is not a token.
    #[error("{url} answered {problem} instead of an access token")]
    NoToken {
        /// The endpoint.
        url: String,
        /// The problem with the response.
        problem: &'static str,
    },
    /// The configuration service returned an error.
    #[error("ConductorOne's configuration service answered {:?}: {}", .0.code(), .0.message())]
    Service(Box<tonic::Status>),
    /// The configuration service cannot be reached.
    #[error("cannot reach ConductorOne's configuration service: {0}")]
    ServiceUnreachable(String),
    /// The configuration service timed out.
    #[error("ConductorOne's configuration service did not answer within {0} s")]
    Silent(u64),
    /// The configuration cannot be decrypted.
    #[error("cannot decrypt the served configuration: {0}")]
    Sealed(String),
    /// The configuration is not a JSON object.
    #[error("the served configuration {0}")]
    Config(&'static str),
    /// The URL of the callers' keys is invalid. Its text is not repeated, because it can contain a
    /// credential.
    #[error("lambda-auth-jwt-jwks-url is not an http or https URL")]
    JwksUrl,
    /// The keys of callers cannot be fetched.
    #[error("lambda-auth-jwt-jwks-url: {url} {problem}")]
    Jwks {
        /// The URL, without credentials.
        url: String,
        /// The cause.
        problem: String,
    },
}

impl HostedError {
    /// Whether the token or the connection may have expired, so that a new one can succeed.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ServiceUnreachable(_) => true,
            Self::Service(status) => status.code() == tonic::Code::Unauthenticated,
            _ => false,
        }
    }

    /// Whether a setting or a variable is invalid.
    pub(crate) fn is_a_setting(&self) -> bool {
        matches!(
            self,
            Self::Credentials(_)
                | Self::Host { .. }
                | Self::Authorities { .. }
                | Self::NoRole(_)
                | Self::JwksUrl
                | Self::Setup(_)
        )
    }
}

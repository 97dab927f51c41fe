//! The reasons why service mode cannot start or ends on its own.

use crate::address::AddressError;
use crate::agent::service::api::ApiError;
use crate::agent::service::credentials::CredentialsError;
use crate::agent::service::dial::SetupError;
use crate::agent::sync::MissingPath;

/// The reason why service mode cannot start or ends on its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The client's id or secret is invalid.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// `BATON_C1_API_HOST` is not a host.
    #[error("BATON_C1_API_HOST: {0}; set it to host or host:port")]
    ApiHost(#[source] AddressError),
    /// Connections cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A file or folder in the settings of the sync does not exist.
    #[error(transparent)]
    Missing(#[from] MissingPath),
    /// The connector does not return its metadata.
    #[error("the connector does not answer: {0}")]
    Connector(Box<tonic::Status>),
    /// ConductorOne rejects this program, and a retry does not help.
    #[error("runner: startup Hello failed: {0}")]
    Refused(#[source] ApiError),
}

impl ServiceError {
    /// Whether a setting is the cause.
    pub(crate) fn is_a_setting(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Connector(_))
    }
}

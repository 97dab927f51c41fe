//! The reasons why service mode cannot start or ends on its own.

use std::path::PathBuf;

use crate::address::AddressError;
use crate::agent::service::api::ApiError;
use crate::agent::service::credentials::CredentialsError;
use crate::agent::service::dial::SetupError;

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
    /// The folder for temporary files does not exist.
    #[error("the specified c1z temp dir does not exist: {}; create it, or correct --c1z-temp-dir or BATON_TMPDIR", .0.display())]
    NoTempDir(PathBuf),
    /// The c1z file of the external connector does not exist.
    #[error("the specified external resource c1z file does not exist: {}; correct --external-resource-c1z", .0.display())]
    NoExternalFile(PathBuf),
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

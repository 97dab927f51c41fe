//! Why service mode cannot begin, or ends by itself.

use std::path::PathBuf;

use crate::address::AddressError;
use crate::agent::service::api::ApiError;
use crate::agent::service::credentials::CredentialsError;
use crate::agent::service::dial::SetupError;

/// Why service mode cannot begin, or ends by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    /// The client's id or secret cannot be right.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The variable that names the API does not.
    #[error("BATON_C1_API_HOST: {0}; it takes host or host:port")]
    ApiHost(#[source] AddressError),
    /// No connection can ever come about.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The folder for temporary files is not there.
    #[error("the specified c1z temp dir does not exist: {}; make it, or correct --c1z-temp-dir or BATON_TMPDIR", .0.display())]
    NoTempDir(PathBuf),
    /// The other file is not there.
    #[error("the specified external resource c1z file does not exist: {}; correct --external-resource-c1z", .0.display())]
    NoExternalFile(PathBuf),
    /// The connector does not say what it is.
    #[error("the connector does not answer: {0}")]
    Connector(Box<tonic::Status>),
    /// ConductorOne wants nothing of this program.
    #[error("runner: startup Hello failed: {0}")]
    Refused(#[source] ApiError),
}

impl ServiceError {
    /// Whether a setting has to be changed.
    pub(crate) fn is_a_setting(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::Connector(_))
    }
}

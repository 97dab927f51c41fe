//! What can go wrong between us and Retool's database.

use crate::postgres::error::{Nature, PostgresError};
use crate::retool::privileges::missing::MissingPrivileges;

/// Why Retool's database did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// The server, the driver or the pool.
    #[error(transparent)]
    Postgres(PostgresError),
    /// It is Retool's database, and tables or columns are not there that this program reads.
    #[error("Retool's tables are not as this program reads them: {}", absent.join(", "))]
    OtherVersion {
        /// What is not there, each in a few words.
        absent: Vec<String>,
    },
    /// The role lacks privileges, and these GRANTs give them.
    #[error(transparent)]
    MissingPrivileges(#[from] MissingPrivileges),
}

impl From<PostgresError> for DatabaseError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::ConnectForbidden { role, database } => {
                Self::MissingPrivileges(MissingPrivileges::to_connect(&role, &database))
            }
            other => Self::Postgres(other),
        }
    }
}

impl DatabaseError {
    /// What it says about another try.
    pub(crate) fn nature(&self) -> Nature {
        match self {
            Self::Postgres(error) => error.nature(),
            Self::MissingPrivileges(_) => Nature::SetUp,
            Self::OtherVersion { .. } => Nature::Fault,
        }
    }

    /// What happened, in one word for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.reason(),
            Self::MissingPrivileges(_) => "missing_privileges",
            Self::OtherVersion { .. } => "unknown_schema",
        }
    }

    /// Whether the role was refused something or could not see it, so that probing its privileges can name the GRANT.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_refusal())
    }

    /// The error of the server, the driver or the pool; nothing for missing privileges, tables and columns.
    pub(crate) fn postgres(&self) -> Option<&PostgresError> {
        match self {
            Self::Postgres(error) => Some(error),
            Self::MissingPrivileges(_) | Self::OtherVersion { .. } => None,
        }
    }
}

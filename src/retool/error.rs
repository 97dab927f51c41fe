//! Errors of calls to Retool's database.

use crate::postgres::error::{PostgresError, RetryClass};
use crate::retool::privileges::missing::MissingPrivileges;
use crate::retool::shadowing_object::{ShadowingObject, listed};

/// Why a call to Retool's database failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum DatabaseError {
    /// An error of the server, the driver or the pool.
    #[error(transparent)]
    Postgres(PostgresError),
    /// It is Retool's database, but tables or columns that this program reads are missing.
    #[error("Retool's tables are not the supported ones: {}", absent.join(", "))]
    OtherVersion {
        /// The missing tables and columns, each in a few words.
        absent: Vec<String>,
    },
    /// Retool's triggers would run code of other roles with the rights of our role.
    #[error("triggers of Retool's tables could run code of other roles: {}", listed(shadowing_objects))]
    ShadowingObjects {
        /// The objects of these roles, at most ten.
        shadowing_objects: Vec<ShadowingObject>,
    },
    /// The role lacks privileges; the error has the GRANTs that add them.
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
    /// How the error affects a retry.
    pub(crate) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Postgres(error) => error.retry_class(),
            Self::MissingPrivileges(_) | Self::ShadowingObjects { .. } => RetryClass::SetUp,
            Self::OtherVersion { .. } => RetryClass::Fault,
        }
    }

    /// A short code for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Postgres(error) => error.reason(),
            Self::MissingPrivileges(_) => "missing_privileges",
            Self::OtherVersion { .. } => "unknown_schema",
            Self::ShadowingObjects { .. } => "shadowing_objects",
        }
    }

    /// Whether a commit may have taken effect despite the error.
    pub(crate) fn is_uncertain_commit(&self) -> bool {
        matches!(self, Self::Postgres(PostgresError::Uncertain { .. }))
    }

    /// Whether the server refused access or hid an object, so that a probe of the privileges can name the
    /// missing GRANT.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_refusal())
    }

    /// The error of the server, the driver or the pool; `None` for the other errors.
    pub(crate) fn postgres(&self) -> Option<&PostgresError> {
        match self {
            Self::Postgres(error) => Some(error),
            Self::MissingPrivileges(_) | Self::OtherVersion { .. } | Self::ShadowingObjects { .. } => None,
        }
    }
}

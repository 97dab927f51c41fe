//! Why a one-shot change was not made.

use std::path::PathBuf;

use serde_json::Value;
use tonic::Status;

use crate::agent::c1z;
use crate::proto::JsonError;

/// Why a one-shot change was not made, or a question not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OneShotError {
    /// The file does not have what is named.
    #[error("the file {} has no {what} {id:?}: list them with `baton-retool show {what}s`, or sync again", file.display())]
    NotInFile {
        /// `entitlement`, `resource` or `grant`.
        what: &'static str,
        /// Its id.
        id: String,
        /// The file.
        file: PathBuf,
    },
    /// No such thing of this connector has an id of this form.
    #[error("{id:?} is the id of no {what} here: `baton-retool show {what}s` lists the ids of a synced file")]
    UnknownId {
        /// `entitlement` or `grant`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// The resource has no such entitlement.
    #[error("{resource} has no entitlement {id:?}; it has {known}")]
    NoEntitlement {
        /// The resource, as `type/id`.
        resource: String,
        /// The id.
        id: String,
        /// What it has.
        known: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] c1z::Error),
    /// The connector refused a call.
    #[error("{method}: {:?}: {}", status.code(), status.message())]
    Call {
        /// The call.
        method: &'static str,
        /// What it answered.
        status: Box<Status>,
    },
    /// An action ended without success.
    #[error("the action failed: {0}")]
    ActionFailed(Value),
    /// An account was not made at once.
    #[error("the account is not there yet: {0}")]
    AccountPending(String),
    /// The connector answered without what was asked for.
    #[error("{method} answered without {what}")]
    Incomplete {
        /// The call.
        method: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A template cannot be used.
    #[error("the template {}: {problem}", path.display())]
    Template {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A value that is given cannot be used. It is not repeated.
    #[error("{name}: {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// An answer cannot be printed.
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl OneShotError {
    /// Makes the error of a call that was refused.
    pub(super) fn call(method: &'static str) -> impl FnOnce(Status) -> Self {
        move |status| Self::Call { method, status: Box::new(status) }
    }

    /// The code that the connector refused a call with.
    pub(crate) fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Call { status, .. } => Some(status.code()),
            _ => None,
        }
    }
}

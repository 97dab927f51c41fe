//! The reasons why a one-shot operation failed.

use std::path::PathBuf;

use serde_json::Value;
use tonic::Status;

use crate::agent::c1z;
use crate::operator_file::shown;
use crate::private_text::PrivateText;
use crate::proto::JsonError;

/// The reason why a one-shot change or query failed.
///
/// Ids from the command line and texts of the connector can contain names of people. `Display` leaves them
/// out, so that an error is safe to log. [`reveal`](crate::private_text::reveal) includes them, for the
/// user who started the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OneShotError {
    /// The file does not contain the named object.
    #[error(
        "the file {} has no {what} {:?}: list them with `baton-retool show {what}s`, or sync again",
        shown(file),
        text(id)
    )]
    NotInFile {
        /// `entitlement`, `resource` or `grant`.
        what: &'static str,
        /// Its id.
        id: String,
        /// The file.
        file: PathBuf,
    },
    /// The id does not have the form of this connector's ids.
    #[error(
        "no {what} has the id {:?}: list the ids of a synced file with `baton-retool show {what}s`",
        text(id)
    )]
    UnknownId {
        /// `entitlement` or `grant`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// The resource has no such entitlement.
    #[error("{resource} has no entitlement {:?}; it has {known}", text(id))]
    NoEntitlement {
        /// The resource, as `type/id`.
        resource: String,
        /// The id.
        id: String,
        /// The entitlements of the resource.
        known: String,
    },
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] c1z::Error),
    /// The connector rejected a call.
    #[error("{method}: {:?}: {}", status.code(), text(status.message()))]
    Call {
        /// The RPC.
        method: &'static str,
        /// The status that the connector returned.
        status: Box<Status>,
    },
    /// An action failed.
    #[error("the action failed: {}", answer(.0))]
    ActionFailed(Value),
    /// The account was not created immediately.
    #[error("the account does not exist yet: {}", text(.0))]
    AccountPending(String),
    /// The connector's response lacks a required field.
    #[error("{method} answered without {what}")]
    Incomplete {
        /// The RPC.
        method: &'static str,
        /// The missing field.
        what: &'static str,
    },
    /// The template is invalid.
    #[error("the template {}: {problem}", shown(path))]
    Template {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A value is invalid. The error does not repeat it.
    #[error("{name}: {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The problem.
        problem: String,
    },
    /// A response cannot be printed.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// A text that can be about a person.
fn text(text: &str) -> String {
    PrivateText::from(text).unquoted().to_string()
}

/// The answer of an action, which can be about a person.
fn answer(answer: &Value) -> String {
    text(&answer.to_string())
}

impl OneShotError {
    /// Creates the error of a rejected call.
    pub(super) fn call(method: &'static str) -> impl FnOnce(Status) -> Self {
        move |status| Self::Call { method, status: Box::new(status) }
    }

    /// The code of a rejected call.
    pub(crate) fn code(&self) -> Option<tonic::Code> {
        match self {
            Self::Call { status, .. } => Some(status.code()),
            _ => None,
        }
    }
}

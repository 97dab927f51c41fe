//! Why a sync ends early.

use tonic::{Code, Status};

use crate::agent::sync::storage::StorageError;

/// Why a sync ends early. The storage then holds an unfinished sync, unless it had not begun.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connector answered a call with an error that trying again does not cure.
    #[error("{method} of {target} failed with {}: {}", code(status), status.message())]
    Call {
        /// The call.
        method: &'static str,
        /// What it was about.
        target: String,
        /// What it answered.
        status: Box<Status>,
    },
    /// The connector gives a page token again that leads where the listing has been.
    #[error(
        "{method} of {target} does not end: the connector gives a page token again that it gave before; this is a fault of the connector"
    )]
    TokenRepeats {
        /// The call.
        method: &'static str,
        /// What it was about.
        target: String,
    },
    /// An answer breaks a rule of the protocol.
    #[error(
        "{method} of {target} gave an answer that breaks the protocol: {problem}; this is a fault of the connector"
    )]
    Answer {
        /// The call.
        method: &'static str,
        /// What it was about.
        target: String,
        /// The rule that is broken.
        problem: String,
    },
    /// The entitlements contradict each other.
    #[error("the connector's entitlements contradict each other: {0}")]
    ExclusionGroup(String),
    /// Too much could not be read.
    #[error(
        "too much could not be read: {warnings} of {actions} listings were not found, the first being {first}"
    )]
    TooManyWarnings {
        /// How many listings were skipped.
        warnings: u64,
        /// How many were done.
        actions: u64,
        /// The first that was skipped.
        first: String,
    },
    /// The connector lists no resource type of this id.
    #[error("the connector has no resource type {0:?}; it has {1}")]
    UnknownResourceType(String, String),
    /// More cursors than a sync keeps track of.
    #[error("{method} of {target} asks for more than {limit} further pages at once")]
    TooManyCursors {
        /// The call.
        method: &'static str,
        /// What it was about.
        target: String,
        /// How many are allowed in one sync.
        limit: usize,
    },
    /// The storage cannot be written or read.
    #[error("{0}")]
    Storage(#[source] StorageError),
    /// The other file, whose users and groups hold grants of this connector, cannot be read.
    #[error("the external file cannot be used: {0}")]
    External(#[source] crate::agent::c1z::Error),
    /// The storage's thread broke off.
    #[error("storing what was read broke off; see the lines before")]
    StorageLost,
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A part of the sync broke off.
    #[error("the sync broke off: {0}")]
    Broken(String),
    /// The sync was asked to stop.
    #[error("the sync was stopped")]
    Stopped,
}

impl Error {
    /// The status of the call that failed; nothing when something else did.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Call { status, .. } => Some(status),
            _ => None,
        }
    }

    /// Whether the listing is skipped and the sync goes on.
    pub(crate) fn is_a_warning(&self) -> bool {
        self.status().is_some_and(|status| status.code() == Code::NotFound)
    }

    /// Whether the connector may answer the same call later. Other codes say that the call itself is wrong, or that
    /// the connector has already tried again.
    pub(crate) fn is_retryable(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded))
    }
}

fn code(status: &Status) -> String {
    format!("{:?}", status.code())
}

//! The reasons why a sync ends early.

use tonic::{Code, Status};

use crate::agent::sync::storage::StorageError;
use crate::agent::sync::subject::{Problem, Subject};
use crate::private_text::{PrivateText, reveal};

/// The reason why a sync ended early. The storage then holds an unfinished sync, if the sync had begun.
///
/// The message of a status, an id and the text of a setting can be about people. `Display` leaves them out, so that
/// an error is safe to log. [`Error::for_caller`] includes them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connector answered a call with an error that a retry does not fix.
    #[error("{method} of {target} failed with {}: {}", code(status), message(status))]
    Call {
        /// The RPC.
        method: &'static str,
        /// The subject of the call.
        target: Subject,
        /// The status that the connector returned.
        status: Box<Status>,
    },
    /// The connector returned a page token that leads back to an earlier page of the listing.
    #[error(
        "{method} of {target} does not end: the connector returned a page token that it had returned before; this is a bug in the connector"
    )]
    TokenRepeats {
        /// The RPC.
        method: &'static str,
        /// The subject of the call.
        target: Subject,
    },
    /// A response violates a rule of the protocol.
    #[error(
        "{method} of {target} returned a response that violates the protocol: {problem}; this is a bug in the connector"
    )]
    Answer {
        /// The RPC.
        method: &'static str,
        /// The subject of the call.
        target: Subject,
        /// The violated rule.
        problem: Box<Problem>,
    },
    /// The entitlements contradict each other.
    #[error("the connector's entitlements contradict each other: {}", private(.0))]
    ExclusionGroup(String),
    /// Too many listings were not found.
    #[error("too many listings were not found: {warnings} of {actions}; the first error: {first}")]
    TooManyWarnings {
        /// How many listings were skipped.
        warnings: u64,
        /// How many actions were done.
        actions: u64,
        /// The error of the first listing that was skipped.
        first: Box<Error>,
    },
    /// The connector lists no resource type with this id.
    #[error("the connector has no resource type {unknown}; it has {}", .1, unknown = PrivateText::from(.0.as_str()))]
    UnknownResourceType(String, String),
    /// The connector requested more cursors than one sync may follow.
    #[error("{method} of {target} requests too many page tokens: a sync follows at most {limit}")]
    TooManyCursors {
        /// The RPC.
        method: &'static str,
        /// The subject of the call.
        target: Subject,
        /// The limit for one sync.
        limit: usize,
    },
    /// The storage cannot be written or read.
    #[error("{0}")]
    Storage(#[source] StorageError),
    /// The external file, whose users and groups hold grants of this connector, cannot be read.
    #[error("the external file cannot be used: {0}")]
    External(#[source] crate::agent::c1z::Error),
    /// The storage's thread ended without returning the storage.
    #[error("the storage stopped unexpectedly; see the log lines above")]
    StorageLost,
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    /// A part of the sync ended unexpectedly.
    #[error("the sync cannot continue: {0}")]
    Broken(String),
    /// The sync was stopped on request.
    #[error("the sync was stopped")]
    Stopped,
}

impl Error {
    /// The status of the failed call; `None` if the error is not a failed call.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Call { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The message for the user who started the sync, with the messages of statuses.
    pub fn for_caller(&self) -> String {
        reveal(self)
    }

    /// Whether the listing is skipped and the sync continues.
    pub(crate) fn is_a_warning(&self) -> bool {
        self.status().is_some_and(|status| status.code() == Code::NotFound)
    }

    /// Whether the connector may answer the same call later. Other codes mean that the call itself is
    /// invalid, or that the connector has already retried.
    pub(crate) fn is_retryable(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded))
    }
}

fn code(status: &Status) -> String {
    format!("{:?}", status.code())
}

fn message(status: &Status) -> String {
    private(status.message())
}

/// A text that can be about a person.
fn private(text: &str) -> String {
    PrivateText::from(text).unquoted().to_string()
}

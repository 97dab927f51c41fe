//! All errors of requests, in domain terms.
//!
//! `Display` leaves out text of the caller, so that an error is safe to log. [`Error::for_caller`] includes
//! it.

mod argument;
mod kind;

use std::time::Duration;

use prost_types::Any;

use crate::connector::database_message::database_message;
use crate::connector::error::kind::{database_kind, refusal_kind, rest_kind};
use crate::connector::page_token::InvalidPageToken;
use crate::connector::rate_limit;
use crate::connector::refusal_message::refusal_message;
use crate::connector::resource_kind::ResourceKind;
use crate::connector::rest_message::rest_message;
use crate::postgres::error::RetryClass;
use crate::private_text;
use crate::retool::api::error::ApiError;
use crate::retool::change::Refusal;
use crate::retool::error::DatabaseError;
use crate::retool::transaction::ChangeError;
use crate::telemetry::logs::Unrecorded;

pub(crate) use crate::private_text::PrivateText as CallerText;
pub(crate) use argument::ArgumentProblem;
pub(crate) use kind::ErrorKind;

/// Why a request failed. The server maps each error to a gRPC status.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The resource type does not exist, or the configuration leaves it out.
    #[error("resource type {given} does not exist; the resource types are: {known}")]
    UnknownResourceType {
        /// As the caller spelled it.
        given: CallerText,
        /// The known types.
        known: String,
    },
    /// A required field is missing.
    #[error("{field} is required")]
    Missing {
        /// The field, as the protocol spells it.
        field: &'static str,
    },
    /// The id does not belong to a resource of the expected type.
    #[error(
        "{} is not an id of type {}: its ids are the letter {} and a number from 1 to 2147483647, e.g. {}/{}42",
        given, kind.type_id(), kind.letter(), kind.type_id(), kind.letter()
    )]
    MalformedId {
        /// The expected type.
        kind: ResourceKind,
        /// Type and id as the caller spelled them.
        given: CallerText,
    },
    /// Resources of the type do not have this parent.
    #[error("resources of type {} are in an org, so their parent_resource_id must be an org or absent, not {given}", kind.type_id())]
    WrongParent {
        /// The type of the resources.
        kind: ResourceKind,
        /// The parent's type as the caller spelled it.
        given: CallerText,
    },
    /// The page token does not belong to the listing.
    #[error(transparent)]
    PageToken(#[from] InvalidPageToken),
    /// The page size exceeds the protocol's limit.
    #[error("page_size must be 0 to 250, is {given}; with 0 the connector chooses")]
    PageSize {
        /// As given.
        given: u32,
    },
    /// The resource is too large to be repeated in every entitlement and grant of an answer.
    #[error("the resource in the request has {size} bytes, but a response can repeat at most {limit}")]
    ResourceTooLarge {
        /// Encoded size in bytes.
        size: usize,
        /// The largest accepted size in bytes.
        limit: usize,
    },
    /// The resource does not exist, or no longer exists, or the configuration hides it.
    #[error("{} {} does not exist, or was deleted", kind.type_id(), given.unquoted())]
    NotFound {
        /// Its type.
        kind: ResourceKind,
        /// Its id.
        given: CallerText,
    },
    /// There is no action with this name.
    #[error("action {given} does not exist; ListActionSchemas lists the actions")]
    UnknownAction {
        /// As the caller spelled it.
        given: CallerText,
    },
    /// There is no event feed with this name; this connector has none.
    #[error("event feed id {given} not found")]
    UnknownEventFeed {
        /// As the caller spelled it.
        given: CallerText,
    },
    /// A change was requested while changes are off.
    #[error("provisioning is not enabled")]
    ProvisioningDisabled,
    /// The protocol has this call, but Retool has no counterpart.
    #[error("not implemented: {what}")]
    NotImplemented {
        /// The missing counterpart, as the end of a sentence.
        what: &'static str,
    },
    /// An argument of the request is invalid.
    #[error("{field}: {problem}")]
    Argument {
        /// The argument, as the protocol or the schema spells it.
        field: &'static str,
        /// The problem and the valid values.
        problem: ArgumentProblem,
    },
    /// Retool's current state does not allow the change.
    #[error("{}", refusal_message(.0))]
    Refused(#[from] Refusal),
    /// A single user's access to a page was requested, but the groups for it are off.
    #[error(
        "single users cannot have access to pages with --managed-groups=false: add the user to a group with access"
    )]
    ManagedGroupsOff,
    /// Accounts are changed through Retool's REST API, which is not configured.
    #[error("accounts need Retool's REST API: set --retool-api-base-url and --retool-api-token")]
    NoRest,
    /// The call to Retool's REST API failed.
    #[error("{}{uncertain}", rest_message(&error.problem))]
    Rest {
        /// The failure.
        error: ApiError,
        /// The change that may have taken effect anyway, as the end of the message; may be empty.
        uncertain: &'static str,
    },
    /// Retool reports success, but the account is not in the requested state.
    #[error(
        "Retool's REST API reports success, but {}: retry, and check the account in Retool",
        match found {
            Some(true) => "the account is still enabled",
            Some(false) => "the account is still disabled",
            None => "does not report whether the account is enabled",
        }
    )]
    Unverified {
        /// Whether the account is enabled, if known.
        found: Option<bool>,
    },
    /// No run of an action has this id, or the run is no longer kept.
    #[error(
        "run {given} of an action does not exist: at most {kept} finished runs are kept, and none of them after a restart"
    )]
    UnknownRun {
        /// As the caller spelled it.
        given: CallerText,
        /// How many finished runs are kept.
        kept: usize,
    },
    /// The caller's limit of running actions is reached.
    #[error(
        "{most} actions are already running, the maximum for {whose}: retry when some of them have ended"
    )]
    TooManyRuns {
        /// The callers that share the limit.
        whose: &'static str,
        /// The limit.
        most: usize,
    },
    /// An action exceeded its timeout.
    #[error("the action took longer than {} s and was aborted; the change may have been made", limit.as_secs())]
    RunTooLong {
        /// The timeout.
        limit: Duration,
    },
    /// An action ended without a result.
    #[error("the action was interrupted; the change may have been made: retry")]
    RunBroken,
    /// The REST API returns a number for the account that belongs to another user in the database.
    #[error(
        "Retool's REST API reports an account id that another user has in the database: --retool-api-base-url and the connection string lead to different Retool instances"
    )]
    DifferentRetools,
    /// A ticket was requested while tickets are off.
    #[error("ticketing is not enabled")]
    TicketingDisabled,
    /// Tickets are on, but Retool has none.
    #[error("ticket manager not implemented: Retool has no tickets")]
    NoTickets,
    /// The change cannot be written to the audit log.
    #[error(transparent)]
    Unrecorded(Unrecorded),
    /// The database returned an error.
    #[error("{}", database_message(.0))]
    Database(#[from] DatabaseError),
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Rest { error, uncertain: "" }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::Refused(refusal),
            ChangeError::Database(error) => Self::Database(error),
        }
    }
}

impl Error {
    /// The kind of the error.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownResourceType { .. }
            | Self::NotFound { .. }
            | Self::UnknownAction { .. }
            | Self::UnknownRun { .. }
            | Self::UnknownEventFeed { .. } => ErrorKind::NotFound,
            Self::Missing { .. }
            | Self::MalformedId { .. }
            | Self::WrongParent { .. }
            | Self::PageToken(_)
            | Self::PageSize { .. }
            | Self::ResourceTooLarge { .. }
            | Self::Argument { .. } => ErrorKind::InvalidArgument,
            Self::ProvisioningDisabled | Self::ManagedGroupsOff | Self::NoRest | Self::DifferentRetools => {
                ErrorKind::FailedPrecondition
            }
            Self::Rest { error, .. } => rest_kind(&error.problem),
            Self::Unverified { .. } | Self::RunBroken => ErrorKind::Internal,
            Self::TooManyRuns { .. } => ErrorKind::ResourceExhausted,
            Self::Unrecorded(_) => ErrorKind::Unavailable,
            Self::RunTooLong { .. } => ErrorKind::DeadlineExceeded,
            Self::Refused(refusal) => refusal_kind(refusal),
            // Agents recognize this error by its text; the Go connector returns this code (decision
            // ticket-refusals).
            Self::TicketingDisabled => ErrorKind::Unknown,
            Self::NoTickets | Self::NotImplemented { .. } => ErrorKind::Unimplemented,
            Self::Database(error) => database_kind(error),
        }
    }

    /// Whether the result stays the same until the request or Retool's state changes: no failure, and no
    /// wrong configuration.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => error.retry_class() == RetryClass::Refusal,
            Self::Rest { error, .. } => error.is_refusal(),
            Self::DifferentRetools
            | Self::Unverified { .. }
            | Self::TooManyRuns { .. }
            | Self::RunTooLong { .. }
            | Self::RunBroken
            | Self::Unrecorded(_) => false,
            _ => true,
        }
    }

    /// Whether it is unknown if a change was made.
    pub(super) fn is_uncertain(&self) -> bool {
        match self {
            Self::RunTooLong { .. } | Self::Unverified { found: None } => true,
            // Requests that change nothing have no such note.
            Self::Rest { error, uncertain } => !uncertain.is_empty() && error.may_have_happened(),
            Self::Database(error) => error.is_uncertain_commit(),
            _ => false,
        }
    }

    /// The error in the result of a failed action: its kind, then its message.
    pub(crate) fn in_words(&self) -> String {
        format!("{}: {}", self.kind().name(), self.for_caller())
    }

    /// The detail of the gRPC status: the rate limit of the REST API, by which agents pace their retries.
    /// `None` if the error does not come from that API.
    pub(crate) fn detail(&self) -> Option<Any> {
        match self {
            Self::Rest { error, .. } => Some(rate_limit::annotation(&error.rate_limit)),
            _ => None,
        }
    }

    /// The message for the caller of the request. Only this text repeats what the caller sent.
    pub(crate) fn for_caller(&self) -> String {
        private_text::reveal(self)
    }

    /// A short code for logs.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::UnknownResourceType { .. } => "unknown_resource_type",
            Self::Missing { .. } => "missing_field",
            Self::MalformedId { .. } => "malformed_id",
            Self::WrongParent { .. } => "wrong_parent",
            Self::PageToken(_) => "page_token",
            Self::PageSize { .. } => "page_size",
            Self::ResourceTooLarge { .. } => "resource_too_large",
            Self::NotFound { .. } => "not_found",
            Self::UnknownAction { .. } => "unknown_action",
            Self::UnknownEventFeed { .. } => "unknown_event_feed",
            Self::ProvisioningDisabled => "provisioning_disabled",
            Self::NotImplemented { .. } => "not_implemented",
            Self::Argument { .. } => "argument",
            Self::Refused(refusal) => refusal.reason(),
            Self::ManagedGroupsOff => "managed_groups_off",
            Self::NoRest => "no_rest",
            Self::DifferentRetools => "different_retools",
            Self::Rest { error, .. } => error.reason(),
            Self::Unverified { .. } => "unverified",
            Self::UnknownRun { .. } => "unknown_run",
            Self::TooManyRuns { .. } => "too_many_runs",
            Self::RunTooLong { .. } => "run_too_long",
            Self::RunBroken => "run_broken",
            Self::TicketingDisabled => "ticketing_disabled",
            Self::NoTickets => "no_tickets",
            Self::Unrecorded(_) => "unrecorded",
            Self::Database(error) => error.reason(),
        }
    }
}

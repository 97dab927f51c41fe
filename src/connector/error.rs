//! Everything that can go wrong in answering a request, in the words of the domain.
//!
//! An error displays without what the caller sent, so that it is safe to log; [`Error::for_caller`] has it.

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
use crate::postgres::error::Nature;
use crate::private_text;
use crate::retool::api::error::ApiError;
use crate::retool::change::Refusal;
use crate::retool::error::DatabaseError;
use crate::retool::transaction::ChangeError;
use crate::telemetry::logs::Unrecorded;

pub(crate) use crate::private_text::PrivateText as CallerText;
pub(crate) use argument::ArgumentProblem;
pub(crate) use kind::ErrorKind;

/// Why a request has no answer. The server turns each into a gRPC status.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// No such resource type, or one that the configuration leaves out.
    #[error("there is no resource type {given} here; there are: {known}")]
    UnknownResourceType {
        /// As the caller spelled it.
        given: CallerText,
        /// The types that there are.
        known: String,
    },
    /// A field that the request cannot do without.
    #[error("{field} is required")]
    Missing {
        /// The field, as the protocol spells it.
        field: &'static str,
    },
    /// Not the id of a resource of the type it should have.
    #[error(
        "{} is no id of type {}: such an id is the letter {} and a number from 1 to 2147483647, e.g. {}/{}42",
        given, kind.type_id(), kind.letter(), kind.type_id(), kind.letter()
    )]
    MalformedId {
        /// The type that was expected.
        kind: ResourceKind,
        /// Type and id as the caller spelled them.
        given: CallerText,
    },
    /// A parent that resources of the type do not have.
    #[error("resources of type {} lie in an org, so their parent_resource_id is an org or absent, not {given}", kind.type_id())]
    WrongParent {
        /// The type of the resources.
        kind: ResourceKind,
        /// The parent's type as the caller spelled it.
        given: CallerText,
    },
    /// A page token that does not belong to the listing.
    #[error(transparent)]
    PageToken(#[from] InvalidPageToken),
    /// A page size beyond the protocol's limit.
    #[error("page_size must be 0 to 250, is {given}; 0 leaves the choice to the connector")]
    PageSize {
        /// As given.
        given: u32,
    },
    /// A resource too large to be repeated in every entitlement and grant of an answer.
    #[error("the resource in the request has {size} bytes, at most {limit} can be repeated in an answer")]
    ResourceTooLarge {
        /// Encoded size in bytes.
        size: usize,
        /// The largest accepted size in bytes.
        limit: usize,
    },
    /// The resource does not exist, or no longer, or the configuration hides it.
    #[error("there is no {} {} here, or no longer", kind.type_id(), given.unquoted())]
    NotFound {
        /// Its type.
        kind: ResourceKind,
        /// Its id.
        given: CallerText,
    },
    /// No action of that name.
    #[error("there is no action {given}; ListActionSchemas tells which there are")]
    UnknownAction {
        /// As the caller spelled it.
        given: CallerText,
    },
    /// No event feed of that name: this connector has none.
    #[error("event feed id {given} not found")]
    UnknownEventFeed {
        /// As the caller spelled it.
        given: CallerText,
    },
    /// A change was asked for, and changes are off.
    #[error("provisioning is not enabled")]
    ProvisioningDisabled,
    /// A call that the protocol has and Retool has nothing for.
    #[error("not implemented: {what}")]
    NotImplemented {
        /// What there is not, as the end of a sentence.
        what: &'static str,
    },
    /// An argument of the request is not as it should be.
    #[error("{field}: {problem}")]
    Argument {
        /// The argument, as the protocol or the schema spells it.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: ArgumentProblem,
    },
    /// The change may not be made as Retool is now.
    #[error("{}", refusal_message(.0))]
    Refused(#[from] Refusal),
    /// A single user's access to a page is asked for, and the groups that give it are off.
    #[error(
        "single users get no access to pages while --managed-groups=false: put the user into a group with access"
    )]
    ManagedGroupsOff,
    /// Accounts are changed through Retool's REST API, and nobody has said where that is.
    #[error("accounts need Retool's REST API: set --retool-api-base-url and --retool-api-token")]
    NoRest,
    /// Retool's REST API did not do as asked.
    #[error("{}{uncertain}", rest_message(&error.problem))]
    Rest {
        /// What it did.
        error: ApiError,
        /// What may have happened all the same, as the end of a sentence; or nothing.
        uncertain: &'static str,
    },
    /// Retool says that it did what was asked for, and the account is not as it should be.
    #[error(
        "Retool's REST API says that it succeeded, and {}: ask again, and look at the account in Retool",
        match found {
            Some(true) => "the account is still enabled",
            Some(false) => "the account is still disabled",
            None => "does not say whether the account is enabled",
        }
    )]
    Unverified {
        /// Whether the account is enabled, as far as can be told.
        found: Option<bool>,
    },
    /// No run of an action has this id, or no longer.
    #[error(
        "there is no run {given} of an action: finished runs are kept until {kept} others have finished, and not beyond a restart"
    )]
    UnknownRun {
        /// As the caller spelled it.
        given: CallerText,
        /// How many finished runs are kept.
        kept: usize,
    },
    /// So many actions are under way that no other one begins.
    #[error("{most} actions are under way already: try again when some of them have ended")]
    TooManyRuns {
        /// How many there may be.
        most: usize,
    },
    /// An action was given up.
    #[error("the action took longer than {} s and was given up; it may have been done all the same", limit.as_secs())]
    RunTooLong {
        /// How long it may take.
        limit: Duration,
    },
    /// An action ended without a result.
    #[error("the action broke off; it may have been done all the same: ask again")]
    RunBroken,
    /// The REST API knows somebody by a number that somebody else has in the database.
    #[error(
        "Retool's REST API knows the account by a number that somebody else has in the database: --retool-api-base-url and the connection string lead to different Retools"
    )]
    DifferentRetools,
    /// A ticket was asked for, and tickets are off.
    #[error("ticketing is not enabled")]
    TicketingDisabled,
    /// Tickets are on, and Retool has none.
    #[error("ticket manager not implemented: Retool has no tickets")]
    NoTickets,
    /// The record of the change cannot be written.
    #[error(transparent)]
    Unrecorded(Unrecorded),
    /// The database.
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
            // Agents recognize this error by its text; the code has always been this one.
            Self::TicketingDisabled => ErrorKind::Unknown,
            Self::NoTickets | Self::NotImplemented { .. } => ErrorKind::Unimplemented,
            Self::Database(error) => database_kind(error),
        }
    }

    /// Whether the answer would be the same until the request or Retool is another: nothing broke, and nothing
    /// is set up in the wrong way.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Database(error) => error.nature() == Nature::Refusal,
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

    /// The error in the answer of an action that failed: its kind, then its message.
    pub(crate) fn in_words(&self) -> String {
        format!("{}: {}", self.kind().name(), self.for_caller())
    }

    /// What a gRPC status carries beside code and message: the rate limit of the REST API, by which agents pace
    /// their retries. `None` when the error does not come from that API.
    pub(crate) fn detail(&self) -> Option<Any> {
        match self {
            Self::Rest { error, .. } => Some(rate_limit::annotation(&error.rate_limit)),
            _ => None,
        }
    }

    /// The message for the caller whose request it is: the only text that repeats what the caller sent.
    pub(crate) fn for_caller(&self) -> String {
        private_text::reveal(self)
    }

    /// What happened, in one word for logs.
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

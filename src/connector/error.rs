//! Everything that can go wrong in answering a request, in the words of the domain.

use std::time::Duration;

use super::ids::ResourceKind;
use super::page_token::InvalidPageToken;
use super::problem::{LEFT_OUT, Problem};
use crate::connector::database_message::database_message;
use crate::postgres::error::Nature;
use crate::retool::api::error::ApiError;
use crate::retool::change::Refusal;
use crate::retool::error::DatabaseError;
use crate::retool::transaction::ChangeError;

/// Why a request has no answer. The server room turns each into a gRPC status.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No such resource type, or one that the configuration leaves out.
    #[error("there is no resource type {given} here; there are: {known}")]
    UnknownResourceType {
        /// As the caller spelled it.
        given: String,
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
        shortened(given), kind.type_id(), kind.letter(), kind.type_id(), kind.letter()
    )]
    MalformedId {
        /// The type that was expected.
        kind: ResourceKind,
        /// Type and id as the caller spelled them.
        given: String,
    },
    /// A parent that resources of the type do not have.
    #[error("resources of type {} lie in an org, so their parent_resource_id is an org or absent, not {}", kind.type_id(), shortened(given))]
    WrongParent {
        /// The type of the resources.
        kind: ResourceKind,
        /// The parent's type as the caller spelled it.
        given: String,
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
    #[error("there is no {} {given} here, or no longer", kind.type_id())]
    NotFound {
        /// Its type.
        kind: ResourceKind,
        /// Its id.
        given: String,
    },
    /// No action of that name.
    #[error("there is no action {}; ListActionSchemas tells which there are", shortened(given))]
    UnknownAction {
        /// As the caller spelled it.
        given: String,
    },
    /// No event feed of that name: this connector has none.
    #[error("event feed id {} not found", shortened(given))]
    UnknownEventFeed {
        /// As the caller spelled it.
        given: String,
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
        problem: Problem,
    },
    /// The change may not be made as Retool is now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Accounts are changed through Retool's REST API, and nobody has said where that is (D26).
    #[error("accounts need Retool's REST API: set --retool-api-base-url and --retool-api-token")]
    NoRest,
    /// Retool's REST API did not do as asked.
    #[error("{error}{uncertain}")]
    Rest {
        /// What it did.
        error: ApiError,
        /// What may have happened all the same, as the end of a sentence; or nothing.
        uncertain: &'static str,
    },
    /// Retool says that it did what was asked for, and the account is not as it should be (D24).
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
        "there is no run {} of an action: finished runs are kept until {kept} others have finished, and not beyond a restart",
        shortened(given)
    )]
    UnknownRun {
        /// As the caller spelled it.
        given: String,
        /// How many finished runs are kept.
        kept: usize,
    },
    /// So many actions are under way that there is no room for another one.
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
    /// The database.
    #[error("{}", database_message(.0))]
    Database(#[from] DatabaseError),
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
            | Self::RunBroken => false,
            _ => true,
        }
    }

    /// The error as the log may have it: with `...` in place of what the caller sent.
    pub fn for_log(&self) -> String {
        let left_out = || LEFT_OUT.to_owned();
        let error = match self.clone() {
            Self::UnknownResourceType { known, .. } => {
                Self::UnknownResourceType { given: shortened(LEFT_OUT), known }
            }
            Self::MalformedId { kind, .. } => Self::MalformedId { kind, given: left_out() },
            Self::WrongParent { kind, .. } => Self::WrongParent { kind, given: left_out() },
            Self::NotFound { kind, .. } => Self::NotFound { kind, given: left_out() },
            Self::UnknownAction { .. } => Self::UnknownAction { given: left_out() },
            Self::UnknownEventFeed { .. } => Self::UnknownEventFeed { given: left_out() },
            Self::UnknownRun { kept, .. } => Self::UnknownRun { given: left_out(), kept },
            Self::Argument { field, problem } => Self::Argument { field, problem: problem.for_log() },
            // Named one by one, so that an error that is added is looked at here. What Retool and the
            // database say of anybody has been taken out of their errors where they were made.
            error @ (Self::Missing { .. }
            | Self::PageToken(_)
            | Self::PageSize { .. }
            | Self::ResourceTooLarge { .. }
            | Self::ProvisioningDisabled
            | Self::NotImplemented { .. }
            | Self::Refused(_)
            | Self::NoRest
            | Self::DifferentRetools
            | Self::Rest { .. }
            | Self::Unverified { .. }
            | Self::TooManyRuns { .. }
            | Self::RunTooLong { .. }
            | Self::RunBroken
            | Self::TicketingDisabled
            | Self::NoTickets
            | Self::Database(_)) => error,
        };
        error.to_string()
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
            Self::Database(error) => error.reason(),
        }
    }
}

/// What a caller sent, quoted and short enough for one line.
pub(super) fn shortened(given: &str) -> String {
    const LONGEST: usize = 80;
    match given.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &given[..end]),
        None => format!("{given:?}"),
    }
}

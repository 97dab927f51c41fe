//! Calls of the protocol that Retool has no counterpart for, and the error for each.

use crate::connector::Connector;
use crate::connector::error::Error;
use crate::proto::connector::ResourceId;

/// The event feed that an empty id means.
const DEFAULT_EVENT_FEED: &str = "baton_feed_event";

impl Connector {
    /// The error for creating a resource.
    pub(crate) fn refuse_create_resource(&self) -> Error {
        self.refuse("this connector does not create Retool resources")
    }

    /// The error for deleting a resource.
    pub(crate) fn refuse_delete_resource(&self) -> Error {
        self.refuse("this connector does not delete Retool resources")
    }

    /// The error for rotating a credential.
    pub(crate) fn refuse_rotate_credential(&self) -> Error {
        self.refuse("Retool has no credentials to rotate")
    }

    /// The error for issuing a credential. A missing recipient in the request is reported first.
    pub(crate) fn refuse_issue_credential(&self, identity: Option<&ResourceId>) -> Error {
        match (self.gate(), identity) {
            (Ok(()), None) => Error::Missing { field: "identity_id" },
            _ => self.refuse("Retool has no credentials to issue"),
        }
    }

    /// The error for an unknown event feed.
    pub(crate) fn refuse_events(&self, feed_id: &str) -> Error {
        let given = if feed_id.is_empty() { DEFAULT_EVENT_FEED } else { feed_id };
        Error::UnknownEventFeed { given: given.into() }
    }

    /// The error for calls about tickets (decision ticket-refusals).
    pub(crate) fn refuse_tickets(&self) -> Error {
        if self.ticketing { Error::NoTickets } else { Error::TicketingDisabled }
    }

    /// The error that changes are off, or else that Retool has no counterpart for the call.
    fn refuse(&self, what: &'static str) -> Error {
        self.gate().err().unwrap_or(Error::NotImplemented { what })
    }
}

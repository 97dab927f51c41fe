//! Calls of the protocol that Retool has nothing for, and why each is refused.

use crate::connector::Connector;
use crate::connector::error::Error;
use crate::proto::connector::ResourceId;

/// The event feed that an empty id names.
const DEFAULT_EVENT_FEED: &str = "baton_feed_event";

impl Connector {
    /// Why no resource is created.
    pub(crate) fn refuse_create_resource(&self) -> Error {
        self.refuse("Retool resources are not made through this connector")
    }

    /// Why no resource is deleted.
    pub(crate) fn refuse_delete_resource(&self) -> Error {
        self.refuse("Retool resources are not removed through this connector")
    }

    /// Why no credential is rotated.
    pub(crate) fn refuse_rotate_credential(&self) -> Error {
        self.refuse("Retool has no credentials that could be rotated")
    }

    /// Why no credential is issued; first of all because the request names nobody to issue it to.
    pub(crate) fn refuse_issue_credential(&self, identity: Option<&ResourceId>) -> Error {
        match (self.gate(), identity) {
            (Ok(()), None) => Error::Missing { field: "identity_id" },
            _ => self.refuse("Retool has no credentials that could be issued"),
        }
    }

    /// Why there is no event feed with this id.
    pub(crate) fn refuse_events(&self, feed_id: &str) -> Error {
        let given = if feed_id.is_empty() { DEFAULT_EVENT_FEED } else { feed_id };
        Error::UnknownEventFeed { given: given.into() }
    }

    /// Why there are no tickets.
    pub(crate) fn refuse_tickets(&self) -> Error {
        if self.ticketing { Error::NoTickets } else { Error::TicketingDisabled }
    }

    /// That changes are off, else that Retool has nothing for the call.
    fn refuse(&self, what: &'static str) -> Error {
        self.gate().err().unwrap_or(Error::NotImplemented { what })
    }
}

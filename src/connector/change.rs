//! The parts of Grant and Revoke that all resource types share.

pub(crate) mod answer;
pub(crate) mod request;
mod retry;

use std::time::Duration;

use prost_types::Any;

use crate::connector::Connector;
use crate::connector::audit::{Caller, Record};
use crate::connector::change::answer::ChangeAnswer;
use crate::connector::change::request::ChangeRequest;
use crate::connector::change::retry::until_settled;
use crate::connector::error::Error;
use crate::connector::ids::{self, EntitlementId};
use crate::connector::resource_kind::{ResourceKind, Spelled};
use crate::connector::resource_type::{NOTHING_TO_GRANT, ResourceSyncer};
use crate::proto::connector::{Entitlement, Grant, Resource};
use crate::retool::id::{GroupId, UserId};

impl Connector {
    /// Grants the entitlement to the principal. Returns the resulting grants, and annotations that show
    /// whether a change was needed. `time` is the time until the deadline of the call.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::NotImplemented`], [`Error::Missing`],
    /// [`Error::MalformedId`], [`Error::Argument`], [`Error::UnknownResourceType`],
    /// [`Error::ManagedGroupsOff`], [`Error::Refused`], [`Error::Database`]
    pub(crate) async fn grant(
        &self,
        caller: &Caller,
        entitlement: Option<&Entitlement>,
        principal: Option<&Resource>,
        time: Duration,
    ) -> Result<(Vec<Grant>, Vec<Any>), Error> {
        let entitlement_id =
            entitlement.and_then(|entitlement| EntitlementId::parse_grantable(&entitlement.id));
        let record =
            Record::begin(&self.context.changes, "grant", caller, target(entitlement_id), holder(principal));
        let granted = async {
            self.gate()?;
            let request = ChangeRequest::new(entitlement, entitlement_id, principal)?;
            let syncer = self.grantable(&request)?;
            record.announce(self.context.mode).await?;
            until_settled(time, &record, || record.attempt(syncer.grant(&self.context, &request))).await
        };
        let granted = granted.await;
        record.close(granted.as_ref().map(|answer| &answer.completed)).await;
        granted.map(|ChangeAnswer { grants, annotations, .. }| (grants, annotations))
    }

    /// Revokes the grant. The annotations show whether a change was needed. `time` is the time until the deadline
    /// of the call.
    ///
    /// # Errors
    /// The same as for [`Connector::grant`].
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        grant: Option<&Grant>,
        time: Duration,
    ) -> Result<Vec<Any>, Error> {
        let (entitlement, principal) =
            grant.map(|grant| (grant.entitlement.as_ref(), grant.principal.as_ref())).unwrap_or_default();
        let entitlement_id =
            entitlement.and_then(|entitlement| EntitlementId::parse_grantable(&entitlement.id));
        let record =
            Record::begin(&self.context.changes, "revoke", caller, target(entitlement_id), holder(principal));
        let revoked = async {
            self.gate()?;
            let grant = grant.ok_or(Error::Missing { field: "grant" })?;
            let request = ChangeRequest::new(entitlement, entitlement_id, principal)?;
            let syncer = self.grantable(&request)?;
            request.check_grant_id(&grant.id)?;
            record.announce(self.context.mode).await?;
            until_settled(time, &record, || record.attempt(syncer.revoke(&self.context, &request))).await
        };
        let revoked = revoked.await;
        record.close(revoked.as_ref().map(|answer| &answer.completed)).await;
        revoked.map(|answer| answer.annotations)
    }

    /// The syncer for the resource type of the entitlement.
    fn grantable(&self, request: &ChangeRequest<'_>) -> Result<&dyn ResourceSyncer, Error> {
        let type_id = &request.on.id.resource_type;
        if ResourceKind::from_type_id(type_id).is_none() {
            return Err(Error::NotImplemented { what: NOTHING_TO_GRANT });
        }
        self.syncer(type_id)
    }
}

/// The entitlement in the audit log; empty if it cannot be granted.
fn target(entitlement: Option<EntitlementId>) -> String {
    entitlement.map(|entitlement| entitlement.to_string()).unwrap_or_default()
}

/// The principal in the audit log; empty if it is neither a user nor a group.
fn holder(principal: Option<&Resource>) -> String {
    let Some(id) = principal.and_then(|principal| principal.id.as_ref()) else { return String::new() };
    let user = || ids::parse::<UserId>(id).map(|user| Spelled(user).to_string());
    let group = || ids::parse::<GroupId>(id).map(|group| Spelled(group).to_string());
    user().or_else(|_| group()).unwrap_or_default()
}

//! Reads single resources with their children, entitlements and grants.

use tonic::{Code, Status};

use crate::agent::sync::entitlements::{skips_entitlements, skips_grants};
use crate::agent::sync::error::Error;
use crate::agent::sync::run::{Run, Step, method};
use crate::agent::sync::state::{Action, Operation};
use crate::agent::sync::storage::Storage;
use crate::agent::sync::types::type_of;
use crate::proto::connector::{Grant, Resource, ResourceId};

impl<S: Storage> Run<S> {
    /// Fetches one resource and plans its children, entitlements and grants. Skips type-scoped listings,
    /// because they cover more than the requested resource.
    pub(crate) async fn fetch_target(&self, action: &Action) -> Result<Step, Error> {
        let id = ResourceId {
            resource_type: action.resource_type_id.clone(),
            resource: action.resource_id.clone(),
            ..Default::default()
        };
        let has_parent = !action.parent_resource_type_id.is_empty() && !action.parent_resource_id.is_empty();
        let parent = has_parent.then(|| ResourceId {
            resource_type: action.parent_resource_type_id.clone(),
            resource: action.parent_resource_id.clone(),
            ..Default::default()
        });
        let Some(resource) = self.fetch(&id, parent, action).await? else { return Ok(Step::default()) };
        let types = self.types();
        let Some(facts) = types.get(type_of(&resource)) else {
            return Err(Error::Call {
                method: method(action.operation),
                target: action.target(),
                status: Box::new(Status::not_found("its type is not synced")),
            });
        };
        let (skips_both, no_grants) = {
            let state = self.state();
            (state.should_skip_entitlements_and_grants, state.should_skip_grants)
        };
        let listing = |operation| Action {
            resource_id: action.resource_id.clone(),
            ..Action::of_type(operation, action.resource_type_id.clone())
        };
        // The last action is performed first.
        let mut children = Vec::new();
        if !(skips_both || no_grants || facts.type_scoped_grants || skips_grants(&resource, facts)) {
            children.push(listing(Operation::ListGrants));
        }
        if !(skips_both || facts.type_scoped_entitlements || skips_entitlements(&resource, facts)) {
            children.push(listing(Operation::ListEntitlements));
        }
        children.extend(self.children(&resource, action)?);
        Ok(Step { children, ..Default::default() })
    }

    /// Fetches the resources of grants that are not stored.
    pub(crate) async fn fetch_related(&self, grants: &[Grant], action: &Action) -> Result<(), Error> {
        let mut known: Vec<&ResourceId> = Vec::new();
        for grant in grants {
            let Some(on) = grant.entitlement.as_ref().and_then(|on| on.resource.as_ref()) else { continue };
            let Some(id) = &on.id else { continue };
            if known.contains(&id) {
                continue;
            }
            known.push(id);
            let wanted = id.clone();
            if self.store.read(move |storage| storage.resource(&wanted)).await?.is_none() {
                self.fetch(id, on.parent_resource_id.clone(), action).await?;
            }
        }
        Ok(())
    }

    /// Fetches and stores a resource; `None` if the connector does not find it or does not support single
    /// fetches.
    async fn fetch(
        &self,
        id: &ResourceId,
        parent: Option<ResourceId>,
        action: &Action,
    ) -> Result<Option<Resource>, Error> {
        let fetched = match self.connector.resource(id, parent, &self.active_sync_id).await {
            Ok(fetched) => fetched,
            Err(error) => match error.status().map(Status::code) {
                Some(Code::NotFound | Code::Unimplemented) => {
                    tracing::warn!(%error, "skipping a resource");
                    return Ok(None);
                }
                _ => return Err(error),
            },
        };
        let found = self.own_resources(fetched.into_iter().collect(), action)?;
        let Some(resource) = found.first().cloned() else { return Ok(None) };
        self.meter.resources(1);
        self.count_resources(&found);
        self.store.write(move |storage| storage.put_resources(&found)).await?;
        Ok(Some(resource))
    }
}

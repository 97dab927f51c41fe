//! The phase that reads grants.

use crate::agent::sync::annotation::{
    BATON_ID, GRANT_EXPANDABLE, INSERT_RESOURCE_GRANTS, asks_for_external, carries, is,
};
use crate::agent::sync::entitlements::{skips_grants, type_scoped_grants};
use crate::agent::sync::error::Error;
use crate::agent::sync::resources::{CLAIMED, NAMELESS};
use crate::agent::sync::run::{Run, Step};
use crate::agent::sync::state::Action;
use crate::agent::sync::storage::{Kind, Storage};
use crate::agent::sync::types::Types;
use crate::agent::sync::types::{has_id, type_of};
use crate::proto::connector::{Grant, GrantExpandable, InsertResourceGrants, Resource};
use crate::proto::{any, find_annotation};

/// The reason why grants are left out.
const UNSYNCED: &str = "grants on or for resources of types that are not synced";

impl<S: Storage> Run<S> {
    /// Plans one listing for each type-scoped type, and one for each stored resource of the other types.
    pub(crate) async fn plan_grants(&self, action: &Action) -> Result<Step, Error> {
        let skips = {
            let state = self.state();
            state.should_skip_grants || state.should_skip_entitlements_and_grants
        };
        self.plan_listings(
            action,
            |facts| facts.type_scoped_grants,
            |resource, facts| skips || skips_grants(resource, facts),
        )
        .await
    }

    /// Lists one page of grants.
    pub(crate) async fn list_grants(&self, action: &Action) -> Result<Step, Error> {
        let (resource, annotations) = self.subject(action, type_scoped_grants()).await?;
        let answer = self
            .connector
            .grants(resource, annotations, &action.page_token, &self.active_sync_id, || action.target())
            .await?;
        let mut grants = answer
            .list
            .into_grants()
            .map_err(|error| self.broken(action, format!("the grants cannot be read: {error}")))?;
        let inserted = if carries(&answer.annotations, INSERT_RESOURCE_GRANTS) {
            self.take_resources(&mut grants, action)?
        } else {
            Vec::new()
        };
        if self.kind == Kind::Full {
            grants = self.storable_grants(grants, action)?;
        }
        self.note(&grants);
        if self.state().should_fetch_related_resources {
            self.fetch_related(&grants, action).await?;
        }
        if !inserted.is_empty() {
            self.meter.resources(inserted.len());
            self.count_resources(&inserted);
            self.store.write(move |storage| storage.put_resources(&inserted)).await?;
        }
        self.meter.grants(grants.len());
        for same in grants.chunk_by(|left, right| granted_type(left) == granted_type(right)) {
            if let Some(first) = same.first() {
                self.count(granted_type(first), |counts| counts.grants += same.len() as u64);
            }
        }
        if !grants.is_empty() {
            self.store.write(move |storage| storage.put_grants(grants)).await?;
        }
        let children = self.spawned(action, &answer.annotations, &answer.next_page_token)?;
        Ok(Step { next: answer.next_page_token, children, ..Default::default() })
    }

    /// Returns the resources of the entitlements, the last one for each id, and marks each grant to record
    /// that its resource came with it. Grants on resources without an id are left out.
    fn take_resources(&self, grants: &mut Vec<Grant>, action: &Action) -> Result<Vec<Resource>, Error> {
        let mark = any(&InsertResourceGrants {});
        let types = self.types();
        let mut found: Vec<Resource> = Vec::new();
        let mut at = std::collections::HashMap::new();
        let resource_of = |grant: &Grant| grant.entitlement.as_ref().and_then(|on| on.resource.clone());
        let mut nameless = 0;
        let mut unsynced = 0;
        for grant in grants.iter_mut() {
            if !carries(&grant.annotations, INSERT_RESOURCE_GRANTS) {
                grant.annotations.push(mark.clone());
            }
            let Some(resource) = resource_of(grant).filter(has_id) else {
                nameless += 1;
                continue;
            };
            if carries(&resource.annotations, BATON_ID) {
                return Err(self.broken(action, CLAIMED.to_owned()));
            }
            if self.kind == Kind::Full && !self.is_synced(&types, type_of(&resource)) {
                unsynced += 1;
                continue;
            }
            let id = resource.id.clone().unwrap_or_default();
            match at.get(&(id.resource_type.clone(), id.resource.clone())) {
                Some(&index) => {
                    if let Some(there) = found.get_mut::<usize>(index) {
                        *there = resource;
                    }
                }
                None => {
                    at.insert((id.resource_type, id.resource), found.len());
                    found.push(resource);
                }
            }
        }
        if nameless > 0 {
            grants.retain(|grant| resource_of(grant).as_ref().is_some_and(has_id));
        }
        self.leave_out(NAMELESS, nameless);
        self.leave_out("resources of grants of types that are not synced", unsynced);
        Ok(found)
    }

    /// Returns the grants that a full sync stores: those whose resource and principal types are stored. Their
    /// expansion is limited to stored types as well.
    fn storable_grants(&self, grants: Vec<Grant>, action: &Action) -> Result<Vec<Grant>, Error> {
        let types = self.types();
        let listed = grants.len();
        let mut kept = Vec::with_capacity(listed);
        for mut grant in grants {
            let on =
                grant.entitlement.as_ref().and_then(|on| on.resource.as_ref()).and_then(|on| on.id.as_ref());
            let to = grant.principal.as_ref().and_then(|to| to.id.as_ref());
            if let (Some(on), Some(to)) = (on, to) {
                let external = asks_for_external(&grant.annotations);
                if !self.is_synced(&types, &on.resource_type)
                    || !(external || self.is_synced(&types, &to.resource_type))
                {
                    continue;
                }
                if !external && carries(&grant.annotations, GRANT_EXPANDABLE) {
                    self.limit_expansion(&types, &mut grant, action)?;
                }
            }
            kept.push(grant);
        }
        self.leave_out(UNSYNCED, (listed - kept.len()) as u64);
        Ok(kept)
    }

    /// Removes types that are not stored from the filter of an expansion. An empty filter would allow every
    /// type, so an expansion whose filter becomes empty is removed too.
    fn limit_expansion(&self, types: &Types, grant: &mut Grant, action: &Action) -> Result<(), Error> {
        let expandable =
            find_annotation::<GrantExpandable>(&grant.annotations).transpose().map_err(|error| {
                self.broken(action, format!("a GrantExpandable annotation cannot be read: {error}"))
            })?;
        let Some(mut expandable) = expandable else { return Ok(()) };
        let listed = expandable.resource_type_ids.len();
        expandable.resource_type_ids.retain(|id| self.is_synced(types, id));
        let kept = expandable.resource_type_ids.len();
        if kept == listed {
            return Ok(());
        }
        self.leave_out("types of expansions that are not synced", (listed - kept) as u64);
        grant.annotations.retain(|annotation| !is(annotation, GRANT_EXPANDABLE));
        if kept > 0 {
            grant.annotations.push(any(&expandable));
        } else {
            self.leave_out("expansions to types that are not synced", 1);
        }
        Ok(())
    }

    /// Records which later phases the grants require.
    fn note(&self, grants: &[Grant]) {
        let mut annotated = grants.iter().filter(|grant| !grant.annotations.is_empty()).peekable();
        if annotated.peek().is_none() {
            return;
        }
        let (mut expands, mut external) = (false, false);
        for grant in annotated {
            expands |= carries(&grant.annotations, GRANT_EXPANDABLE);
            external |= asks_for_external(&grant.annotations);
        }
        let mut state = self.state();
        state.needs_expansion |= expands && !self.options.skip_expansion;
        state.has_external_resource_grants |= external;
    }

    /// Whether references to resources of this type are stored. A reference without a type is stored, so that
    /// readers see the fault.
    pub(crate) fn is_synced(&self, types: &Types, resource_type: &str) -> bool {
        resource_type.is_empty()
            || types.get(resource_type).is_some()
            || self.external_types.contains(resource_type)
    }
}

fn granted_type(grant: &Grant) -> &str {
    grant.entitlement.as_ref().and_then(|on| on.resource.as_ref()).map_or("", type_of)
}

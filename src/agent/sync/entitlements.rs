//! The phases that read entitlements.

use std::sync::atomic::Ordering;

use prost_types::Any;

use crate::agent::sync::annotation::{
    BATON_ID, EXCLUSION_GROUP, SKIP_ENTITLEMENTS, SKIP_ENTITLEMENTS_AND_GRANTS, SKIP_GRANTS, carries, set,
};
use crate::agent::sync::error::Error;
use crate::agent::sync::resources::CLAIMED;
use crate::agent::sync::run::{Run, Step, method};
use crate::agent::sync::state::{Action, Operation};
use crate::agent::sync::storage::{Kind, Storage, StorageError};
use crate::agent::sync::tokens::Chain;
use crate::agent::sync::types::{Facts, has_id, type_of};
use crate::proto::connector::{
    Entitlement, EntitlementExclusionGroup, Resource, ResourceId, TypeScopedEntitlements, TypeScopedGrants,
};
use crate::proto::{any, find_annotation};

impl<S: Storage> Run<S> {
    /// Plans one listing for every type that the connector has, whether or not the type is synced.
    pub(crate) async fn plan_static_entitlements(&self) -> Result<Step, Error> {
        let mut step = Step::default();
        let mut chain = Chain::new("");
        let mut token = String::new();
        loop {
            let answer = self.connector.resource_types(&token, &self.active_sync_id).await?;
            let listing = |id| Action::of_type(Operation::ListStaticEntitlements, id);
            let named = answer.list.into_iter().map(|one| one.id).filter(|id| !id.is_empty());
            step.children.extend(named.map(listing));
            token = answer.next_page_token;
            if !chain.goes_on(&token) {
                let method = method(Operation::ListResourceTypes);
                return Err(Error::TokenRepeats { method, target: "the connector".into() });
            }
            if token.is_empty() {
                return Ok(step);
            }
        }
    }

    /// Lists one page of templates and stores each as an entitlement of every stored resource of the type.
    pub(crate) async fn list_static_entitlements(&self, action: &Action) -> Result<Step, Error> {
        let of = &action.resource_type_id;
        let answer = self
            .connector
            .static_entitlements(of, &action.page_token, &self.active_sync_id, || action.target())
            .await?;
        for template in answer.list {
            let group = find_annotation::<EntitlementExclusionGroup>(&template.annotations)
                .transpose()
                .map_err(|error| {
                    self.broken(
                        action,
                        format!("an EntitlementExclusionGroup annotation cannot be read: {error}"),
                    )
                })?;
            if group.is_some() {
                self.excludes.store(true, Ordering::Relaxed);
            }
            let of = of.clone();
            let made =
                self.store.read(move |storage| put_static(storage, &of, &template, group.as_ref())).await?;
            self.meter.entitlements(made);
            self.count(&action.resource_type_id, |counts| counts.entitlements += made as u64);
        }
        Ok(Step { next: answer.next_page_token, ..Default::default() })
    }

    /// Plans one listing for each type-scoped type, and one for each stored resource of the other types.
    pub(crate) async fn plan_entitlements(&self, action: &Action) -> Result<Step, Error> {
        let skips = self.state().should_skip_entitlements_and_grants;
        self.plan_listings(
            action,
            |facts| facts.type_scoped_entitlements,
            |resource, facts| skips || skips_entitlements(resource, facts),
        )
        .await
    }

    /// Lists one page of entitlements.
    pub(crate) async fn list_entitlements(&self, action: &Action) -> Result<Step, Error> {
        let (resource, annotations) = self.subject(action, any(&TypeScopedEntitlements {})).await?;
        let answer = self
            .connector
            .entitlements(resource, annotations, &action.page_token, &self.active_sync_id, || action.target())
            .await?;
        let found = self.storable_entitlements(answer.list, action)?;
        self.meter.entitlements(found.len());
        let of = |entitlement: &Entitlement| {
            entitlement.resource.as_ref().map(type_of).unwrap_or_default().to_owned()
        };
        for same in found.chunk_by(|left, right| of(left) == of(right)) {
            if let Some(first) = same.first() {
                self.count(&of(first), |counts| counts.entitlements += same.len() as u64);
            }
        }
        if found.iter().any(|entitlement| carries(&entitlement.annotations, EXCLUSION_GROUP)) {
            self.excludes.store(true, Ordering::Relaxed);
        }
        if !found.is_empty() {
            self.store.write(move |storage| storage.put_entitlements(&found)).await?;
        }
        let children = self.spawned(action, &answer.annotations, &answer.next_page_token)?;
        Ok(Step { next: answer.next_page_token, children, ..Default::default() })
    }

    /// Returns the entitlements that can be stored: those with an id and a resource that has an id, and, in a
    /// full sync, only those on resources of synced types.
    fn storable_entitlements(
        &self,
        mut entitlements: Vec<Entitlement>,
        action: &Action,
    ) -> Result<Vec<Entitlement>, Error> {
        if self.kind == Kind::Full {
            let types = self.types();
            let listed = entitlements.len();
            entitlements.retain(|entitlement| {
                let id = entitlement.resource.as_ref().and_then(|resource| resource.id.as_ref());
                id.is_none_or(|id| self.is_synced(&types, &id.resource_type))
            });
            self.leave_out(
                "entitlements on resources of types that are not synced",
                (listed - entitlements.len()) as u64,
            );
        }
        let claimed = |entitlement: &Entitlement| {
            entitlement.resource.as_ref().is_some_and(|resource| carries(&resource.annotations, BATON_ID))
        };
        let listed = entitlements.len();
        entitlements.retain(|entitlement| !entitlement.id.is_empty());
        if entitlements.iter().any(claimed) {
            return Err(self.broken(action, CLAIMED.to_owned()));
        }
        entitlements.retain(|entitlement| entitlement.resource.as_ref().is_some_and(has_id));
        self.leave_out("entitlements without an id or a resource", (listed - entitlements.len()) as u64);
        Ok(entitlements)
    }

    /// Returns the resource and the annotations of a listing request: the stored resource, or, for a whole
    /// type, a resource that holds only the type's id, with the marker.
    pub(crate) async fn subject(&self, action: &Action, marker: Any) -> Result<(Resource, Vec<Any>), Error> {
        let of = action.resource_type_id.clone();
        if action.type_scoped {
            let id = ResourceId { resource_type: of.clone(), resource: of, ..Default::default() };
            return Ok((Resource { id: Some(id), ..Default::default() }, vec![marker]));
        }
        let id = ResourceId { resource_type: of, resource: action.resource_id.clone(), ..Default::default() };
        let stored = self.store.read(move |storage| storage.resource(&id)).await?;
        let resource = stored.ok_or_else(|| Error::Call {
            method: method(action.operation),
            target: action.target(),
            status: Box::new(tonic::Status::not_found("the resource is not stored")),
        })?;
        Ok((resource, Vec::new()))
    }

    /// Plans listings for whole types, once, and for one page of the stored resources of the other types.
    pub(crate) async fn plan_listings(
        &self,
        action: &Action,
        is_type_scoped: impl Fn(&Facts) -> bool,
        skips: impl Fn(&Resource, &Facts) -> bool,
    ) -> Result<Step, Error> {
        let types = self.types();
        let mut step = Step { planned_type_scoped: false, ..Default::default() };
        if !action.type_scoped_planned {
            let scoped = types.ids().iter().filter(|id| types.get(id).is_some_and(&is_type_scoped));
            step.children.extend(
                scoped
                    .map(|id| Action { type_scoped: true, ..Action::of_type(action.operation, id.clone()) }),
            );
            step.planned_type_scoped = true;
        }
        let cursor = action.page_token.clone();
        let page = self.store.read(move |storage| storage.resources(None, &cursor)).await?;
        let unknown = Facts::default();
        for resource in &page.rows {
            let facts = types.get(type_of(resource)).unwrap_or(&unknown);
            let Some(id) = &resource.id else { continue };
            if !skips(resource, facts) && !is_type_scoped(facts) {
                step.children.push(Action {
                    resource_id: id.resource.clone(),
                    ..Action::of_type(action.operation, id.resource_type.clone())
                });
            }
        }
        step.next = page.next;
        Ok(step)
    }
}

/// Whether a resource's entitlements are not listed.
pub(crate) fn skips_entitlements(resource: &Resource, facts: &Facts) -> bool {
    facts.skips_entitlements_and_grants
        || facts.skips_entitlements
        || carries(&resource.annotations, SKIP_ENTITLEMENTS_AND_GRANTS)
        || carries(&resource.annotations, SKIP_ENTITLEMENTS)
}

/// Whether a resource's grants are not listed. Of the type's annotations, only SkipEntitlementsAndGrants
/// matters.
pub(crate) fn skips_grants(resource: &Resource, facts: &Facts) -> bool {
    facts.skips_entitlements_and_grants
        || carries(&resource.annotations, SKIP_ENTITLEMENTS_AND_GRANTS)
        || carries(&resource.annotations, SKIP_GRANTS)
}

/// Stores the entitlement of a template on every resource of the type.
fn put_static<S: Storage>(
    storage: &mut S,
    resource_type: &str,
    template: &Entitlement,
    group: Option<&EntitlementExclusionGroup>,
) -> Result<usize, StorageError> {
    let mut made = 0;
    let mut cursor = String::new();
    loop {
        let page = storage.resources(Some(resource_type), &cursor)?;
        let entitlements: Vec<Entitlement> =
            page.rows.into_iter().map(|resource| static_entitlement(template, group, resource)).collect();
        made += entitlements.len();
        if !entitlements.is_empty() {
            storage.put_entitlements(&entitlements)?;
        }
        if page.next.is_empty() {
            return Ok(made);
        }
        cursor = page.next;
    }
}

fn static_entitlement(
    template: &Entitlement,
    group: Option<&EntitlementExclusionGroup>,
    resource: Resource,
) -> Entitlement {
    let or = |said: &String, instead: &String| if said.is_empty() { instead.clone() } else { said.clone() };
    let id = resource.id.clone().unwrap_or_default();
    let mut annotations = template.annotations.clone();
    if let Some(group) = group.filter(|group| group.scope_to_resource) {
        let exclusion_group_id = format!("{}-{}", group.exclusion_group_id, id.resource);
        set(&mut annotations, &EntitlementExclusionGroup { exclusion_group_id, ..group.clone() });
    }
    Entitlement {
        id: format!("{}:{}:{}", id.resource_type, id.resource, template.slug),
        display_name: or(&template.display_name, &resource.display_name),
        description: or(&template.description, &resource.description),
        grantable_to: template.grantable_to.clone(),
        annotations,
        purpose: template.purpose,
        slug: template.slug.clone(),
        resource: Some(resource),
    }
}

/// The marker of a listing of grants for a whole type.
pub(crate) fn type_scoped_grants() -> Any {
    any(&TypeScopedGrants {})
}

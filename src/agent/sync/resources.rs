//! The phases that read resource types and resources.

use crate::agent::sync::annotation::{BATON_ID, carries};
use crate::agent::sync::error::Error;
use crate::agent::sync::run::{Run, Step, locked, method};
use crate::agent::sync::state::{Action, Operation};
use crate::agent::sync::storage::Storage;
use crate::agent::sync::subject::{Problem, Subject};
use crate::agent::sync::types::{has_id, type_of};
use crate::proto::connector::{ChildResourceType, Resource, ResourceId};
use crate::proto::unpack;

/// Maximum number of types that an error names.
const SOME_TYPES: usize = 20;

impl<S: Storage> Run<S> {
    /// Lists one page of resource types and stores the selected ones.
    pub(crate) async fn list_resource_types(&self, action: &Action) -> Result<Step, Error> {
        let answer = self.connector.resource_types(&action.page_token, &self.active_sync_id).await?;
        let mut found = answer.list;
        let listed = found.len();
        found.retain(|resource_type| !resource_type.id.is_empty());
        self.leave_out("resource types without an id", (listed - found.len()) as u64);
        let wanted = &self.options.resource_types;
        if !wanted.is_empty() {
            let mut listed_types = locked(&self.listed_types);
            let room = SOME_TYPES.saturating_sub(listed_types.len());
            listed_types.extend(found.iter().take(room).map(|resource_type| resource_type.id.clone()));
            drop(listed_types);
            found.retain(|resource_type| wanted.contains(&resource_type.id));
        }
        self.add_types(&found);
        self.store.write(move |storage| storage.put_resource_types(&found)).await?;
        if answer.next_page_token.is_empty() {
            let types = self.types();
            if let Some(unknown) = wanted.iter().find(|&wanted| types.get(wanted).is_none()) {
                let listed = locked(&self.listed_types).join(", ");
                return Err(Error::UnknownResourceType(unknown.clone(), listed));
            }
        }
        Ok(Step { next: answer.next_page_token, ..Default::default() })
    }

    /// Plans one listing for each stored type.
    pub(crate) fn plan_resources(&self, action: &Action) -> Result<Step, Error> {
        let listing = |id: &String| Action {
            parent_resource_type_id: action.parent_resource_type_id.clone(),
            parent_resource_id: action.parent_resource_id.clone(),
            ..Action::of_type(Operation::ListResources, id.clone())
        };
        Ok(Step { children: self.types().ids().iter().map(listing).collect(), ..Default::default() })
    }

    /// Lists one page of resources and plans listings for the children that they announce.
    pub(crate) async fn list_resources(&self, action: &Action) -> Result<Step, Error> {
        let has_parent = !action.parent_resource_type_id.is_empty() && !action.parent_resource_id.is_empty();
        let parent = has_parent.then(|| ResourceId {
            resource_type: action.parent_resource_type_id.clone(),
            resource: action.parent_resource_id.clone(),
            ..Default::default()
        });
        let answer = self
            .connector
            .resources(&action.resource_type_id, parent, &action.page_token, &self.active_sync_id, || {
                action.target()
            })
            .await?;
        let found = self.own_resources(answer.list, action)?;
        let types = self.types();
        let mut children = Vec::new();
        for resource in &found {
            let id = resource.id.clone().unwrap_or_default();
            let Some(facts) = types.get(&id.resource_type) else {
                // Earlier pages of the listing stay, as for any other skipped listing.
                return Err(Error::Call {
                    method: method(action.operation),
                    target: action.target(),
                    status: Box::new(tonic::Status::not_found(format!(
                        "it contains a resource of the type {:?}, which is not synced",
                        id.resource_type
                    ))),
                });
            };
            if let Some(missing) = facts.missing_trait(resource) {
                let about = Subject::resource(&id.resource_type, &id.resource);
                let problem = Problem::of(about, format!("lacks the annotation {missing} of its type"));
                return Err(self.broken(action, problem));
            }
            children.extend(self.children(resource, action)?);
        }
        self.meter.resources(found.len());
        self.count_resources(&found);
        if !found.is_empty() {
            self.store.write(move |storage| storage.put_resources(&found)).await?;
        }
        Ok(Step { next: answer.next_page_token, children, ..Default::default() })
    }

    /// Plans listings for the children that a resource announces, unless an earlier resource announced them.
    pub(crate) fn children(&self, resource: &Resource, action: &Action) -> Result<Vec<Action>, Error> {
        let Some(id) = &resource.id else { return Ok(Vec::new()) };
        let mut children = Vec::new();
        for child in resource.annotations.iter().filter_map(unpack::<ChildResourceType>) {
            let child = child.map_err(|error| {
                self.broken(action, format!("a ChildResourceType annotation cannot be read: {error}"))
            })?;
            let wanted = &self.options.resource_types;
            if !wanted.is_empty() && !wanted.contains(&child.resource_type_id) {
                continue;
            }
            let parts = [child.resource_type_id.as_str(), id.resource_type.as_str(), id.resource.as_str()];
            if locked(&self.scheduled_children).is_new(parts) {
                children.push(Action {
                    parent_resource_type_id: id.resource_type.clone(),
                    parent_resource_id: id.resource.clone(),
                    ..Action::of_type(Operation::ListResources, child.resource_type_id)
                });
            }
        }
        Ok(children)
    }

    /// Returns the resources that can be stored. Resources without an id are left out.
    ///
    /// # Errors
    /// [`Error::Answer`] if a resource has an annotation that is reserved for agents
    pub(crate) fn own_resources(
        &self,
        mut resources: Vec<Resource>,
        action: &Action,
    ) -> Result<Vec<Resource>, Error> {
        if resources.iter().any(|resource| carries(&resource.annotations, BATON_ID)) {
            return Err(self.broken(action, CLAIMED.to_owned()));
        }
        let listed = resources.len();
        resources.retain(has_id);
        self.leave_out(NAMELESS, (listed - resources.len()) as u64);
        Ok(resources)
    }

    pub(crate) fn count_resources(&self, resources: &[Resource]) {
        for same in resources.chunk_by(|left, right| type_of(left) == type_of(right)) {
            if let Some(first) = same.first() {
                self.count(type_of(first), |counts| counts.resources += same.len() as u64);
            }
        }
    }

    pub(crate) fn broken(&self, action: &Action, problem: impl Into<Problem>) -> Error {
        Error::Answer {
            method: method(action.operation),
            target: action.target(),
            problem: Box::new(problem.into()),
        }
    }
}

/// The reason why resources are left out.
pub(crate) const NAMELESS: &str = "resources without a type or an id";

/// The problem of a response with a reserved annotation.
pub(crate) const CLAIMED: &str = "a resource has the annotation BatonID, which is reserved for agents";

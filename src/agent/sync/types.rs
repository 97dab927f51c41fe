//! The properties of the resource types that control a sync.

use std::collections::BTreeMap;

use crate::agent::sync::annotation::{
    SKIP_ENTITLEMENTS, SKIP_ENTITLEMENTS_AND_GRANTS, TYPE_SCOPED_ENTITLEMENTS, TYPE_SCOPED_GRANTS, carries,
};
use crate::proto::connector::resource_type::Trait;
use crate::proto::connector::{Resource, ResourceType};

/// The stored resource types.
#[derive(Debug, Clone, Default)]
pub(crate) struct Types {
    by_id: BTreeMap<String, Facts>,
    order: Vec<String>,
}

/// The properties of a resource type that control how its resources are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The full names of the annotations that its resources must have.
    pub(crate) traits: Vec<&'static str>,
    /// Neither entitlements nor grants are listed.
    pub(crate) skips_entitlements_and_grants: bool,
    /// No entitlements are listed.
    pub(crate) skips_entitlements: bool,
    /// Entitlements are listed for the whole type.
    pub(crate) type_scoped_entitlements: bool,
    /// Grants are listed for the whole type.
    pub(crate) type_scoped_grants: bool,
}

impl Types {
    /// Adds or replaces types.
    pub(crate) fn add(&mut self, resource_types: &[ResourceType]) {
        for resource_type in resource_types {
            if self.by_id.insert(resource_type.id.clone(), Facts::of(resource_type)).is_none() {
                self.order.push(resource_type.id.clone());
            }
        }
    }

    /// The properties of a type; `None` if the type is not stored.
    pub(crate) fn get(&self, id: &str) -> Option<&Facts> {
        self.by_id.get(id)
    }

    /// The ids in the order in which the types were added.
    pub(crate) fn ids(&self) -> &[String] {
        &self.order
    }
}

impl Facts {
    fn of(resource_type: &ResourceType) -> Self {
        let says = |name| carries(&resource_type.annotations, name);
        Self {
            traits: resource_type.traits().filter_map(annotation_of).collect(),
            skips_entitlements_and_grants: says(SKIP_ENTITLEMENTS_AND_GRANTS),
            skips_entitlements: says(SKIP_ENTITLEMENTS),
            type_scoped_entitlements: says(TYPE_SCOPED_ENTITLEMENTS),
            type_scoped_grants: says(TYPE_SCOPED_GRANTS),
        }
    }

    /// The first trait annotation of the type that a resource lacks.
    pub(crate) fn missing_trait(&self, resource: &Resource) -> Option<&'static str> {
        self.traits.iter().find(|name| !carries(&resource.annotations, name)).copied()
    }
}

/// The annotation of a resource with this trait. `None` for traits that require no annotation.
pub(crate) fn annotation_of(kind: Trait) -> Option<&'static str> {
    match kind {
        Trait::User => Some("c1.connector.v2.UserTrait"),
        Trait::Group => Some("c1.connector.v2.GroupTrait"),
        Trait::Role => Some("c1.connector.v2.RoleTrait"),
        Trait::App => Some("c1.connector.v2.AppTrait"),
        Trait::Secret => Some("c1.connector.v2.SecretTrait"),
        _ => None,
    }
}

/// Whether a resource id has both a type and an id.
pub(crate) fn has_id(resource: &Resource) -> bool {
    resource.id.as_ref().is_some_and(|id| !id.resource_type.is_empty() && !id.resource.is_empty())
}

/// The type of a resource; empty if it has no id.
pub(crate) fn type_of(resource: &Resource) -> &str {
    resource.id.as_ref().map_or("", |id| &id.resource_type)
}

//! Small resource types, resources, entitlements and grants for scripted connectors, and syncs of them.

use baton_retool::agent::sync::{Error, Options, Outcome, Syncer};
use baton_retool::proto::any;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{
    ChildResourceType, Entitlement, Grant, GroupTrait, Resource, ResourceId, ResourceType, UserTrait,
};
use prost::Name;

use super::memory::Memory;
use super::scripted::Script;

/// A resource type without traits.
pub(crate) fn plain(id: &str) -> ResourceType {
    ResourceType { id: id.to_owned(), display_name: id.to_owned(), ..Default::default() }
}

/// A resource type with a trait.
pub(crate) fn with_trait(id: &str, kind: Trait) -> ResourceType {
    ResourceType { traits: vec![kind.into()], ..plain(id) }
}

/// A resource type with an annotation.
pub(crate) fn marked<M: Name>(id: &str, annotation: &M) -> ResourceType {
    ResourceType { annotations: vec![any(annotation)], ..plain(id) }
}

pub(crate) fn id(resource_type: &str, resource: &str) -> ResourceId {
    ResourceId {
        resource_type: resource_type.to_owned(),
        resource: resource.to_owned(),
        ..Default::default()
    }
}

/// A resource without annotations, with a name and a description.
pub(crate) fn resource(resource_type: &str, resource: &str) -> Resource {
    Resource {
        id: Some(id(resource_type, resource)),
        display_name: format!("{resource} by name"),
        description: format!("{resource} described"),
        ..Default::default()
    }
}

/// A resource with an annotation.
pub(crate) fn annotated<M: Name>(resource: Resource, annotation: &M) -> Resource {
    let mut resource = resource;
    resource.annotations.push(any(annotation));
    resource
}

pub(crate) fn user(name: &str) -> Resource {
    annotated(resource("user", name), &UserTrait::default())
}

pub(crate) fn group(name: &str) -> Resource {
    annotated(resource("group", name), &GroupTrait::default())
}

/// A resource with children of a type.
pub(crate) fn parent_of(child: &str, resource: Resource) -> Resource {
    annotated(resource, &ChildResourceType { resource_type_id: child.to_owned() })
}

/// The entitlement `type:resource:slug`.
pub(crate) fn entitlement(on: &Resource, slug: &str) -> Entitlement {
    let id = on.id.clone().unwrap_or_default();
    Entitlement {
        id: format!("{}:{}:{slug}", id.resource_type, id.resource),
        slug: slug.to_owned(),
        resource: Some(on.clone()),
        ..Default::default()
    }
}

/// The grant `entitlement:type:resource`.
pub(crate) fn grant(entitlement: &Entitlement, to: &Resource) -> Grant {
    let principal = to.id.clone().unwrap_or_default();
    Grant {
        id: format!("{}:{}:{}", entitlement.id, principal.resource_type, principal.resource),
        entitlement: Some(entitlement.clone()),
        principal: Some(Resource { id: Some(principal), ..Default::default() }),
        ..Default::default()
    }
}

/// Runs a full sync.
pub(crate) async fn sync(script: &Script) -> (Result<Outcome, Error>, Memory) {
    sync_with(script, Options::default(), Memory::default()).await
}

/// Runs a sync with these options and this storage.
pub(crate) async fn sync_with(
    script: &Script,
    options: Options,
    memory: Memory,
) -> (Result<Outcome, Error>, Memory) {
    let (outcome, memory) = Syncer::new(script.channel().await, options).run(memory).await;
    (outcome, memory.expect("the storage comes back"))
}

/// Two groups with two users: `g1` has `u1`, `g2` has `u1` and `u2`.
pub(crate) fn small() -> Script {
    let script = Script::new();
    script.types(vec![with_trait("user", Trait::User), with_trait("group", Trait::Group)]);
    script.resources("user", vec![user("u1"), user("u2")]);
    script.resources("group", vec![group("g1"), group("g2")]);
    for (name, members) in [("g1", vec!["u1"]), ("g2", vec!["u1", "u2"])] {
        let member = entitlement(&group(name), "member");
        script.entitlements(&format!("group/{name}"), vec![member.clone()]);
        let grants = members.into_iter().map(|one| grant(&member, &user(one))).collect();
        script.grants(&format!("group/{name}"), grants);
    }
    script
}

//! Reads everything that a connector has, in the order of a full sync, and counts it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use prost::Message;
use prost_types::Any;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::proto::connector::connector_service_client::ConnectorServiceClient;
use crate::proto::connector::entitlements_service_client::EntitlementsServiceClient;
use crate::proto::connector::grants_service_client::GrantsServiceClient;
use crate::proto::connector::resource_types_service_client::ResourceTypesServiceClient;
use crate::proto::connector::resources_service_client::ResourcesServiceClient;
use crate::proto::connector::{
    ChildResourceType, ConnectorServiceCleanupRequest, ConnectorServiceValidateRequest, Entitlement,
    EntitlementsServiceListEntitlementsRequest, EntitlementsServiceListStaticEntitlementsRequest, Grant,
    GrantsServiceListGrantsRequest, Resource, ResourceId, ResourceType,
    ResourceTypesServiceListResourceTypesRequest, ResourcesServiceListResourcesRequest,
    SkipEntitlementsAndGrants,
};
use crate::proto::{find_annotation, unpack};

/// Largest answer that is accepted, as agents do.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// What a walk met.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    /// The resource types in the connector's order, with their counts.
    pub types: Vec<(ResourceType, Counts)>,
    /// How many calls were made.
    pub calls: u64,
    /// How long it took, from before Validate to after Cleanup.
    pub elapsed: Duration,
    /// How long Validate took.
    pub validate: Duration,
    /// The largest answer in bytes.
    pub largest_answer: usize,
}

/// How much there is of one resource type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Resources of the type.
    pub resources: u64,
    /// Entitlements on them.
    pub entitlements: u64,
    /// Grants of those.
    pub grants: u64,
}

/// What a walk does with what it meets, besides counting it.
pub trait Visitor {
    /// Whether [`Visitor::grant`] wants to see grants. Decoding them costs more than fetching them.
    const SEES_GRANTS: bool;

    /// A resource was listed.
    fn resource(&mut self, _resource: &Resource) {}
    /// An entitlement was listed.
    fn entitlement(&mut self, _entitlement: &Entitlement) {}
    /// A grant was listed.
    fn grant(&mut self, _grant: &Grant) {}
    /// Another answer has come; so much has been met so far.
    fn progress(&mut self, _phase: &'static str, _met: Counts) {}
}

/// Only counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountOnly;

impl Visitor for CountOnly {
    const SEES_GRANTS: bool = false;
}

/// Reads everything once.
///
/// # Errors
/// The status of the first call that failed, or Internal when a connector gives a page token twice.
pub async fn walk<V: Visitor>(channel: Channel, visitor: &mut V) -> Result<Walk, Status> {
    let mut walker = Walker {
        connector: ConnectorServiceClient::new(channel.clone()),
        types: ResourceTypesServiceClient::new(channel.clone()),
        resources: ResourcesServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
        entitlements: EntitlementsServiceClient::new(channel.clone())
            .max_decoding_message_size(LARGEST_ANSWER),
        grants: GrantsServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER),
        walk: Walk::default(),
        met: Counts::default(),
    };
    let started = Instant::now();
    walker.connector.validate(ConnectorServiceValidateRequest::default()).await?;
    walker.walk.calls += 1;
    walker.walk.validate = started.elapsed();
    let types = walker.resource_types().await?;
    let resources = walker.all_resources(&types, visitor).await?;
    // Agents ask for the types again before the static entitlements.
    for resource_type in walker.resource_types().await? {
        walker.static_entitlements(&resource_type).await?;
    }
    for (index, resource) in &resources {
        walker.all_entitlements(*index, resource, visitor).await?;
    }
    for (index, resource) in &resources {
        walker.all_grants(*index, resource, visitor).await?;
    }
    walker.connector.cleanup(ConnectorServiceCleanupRequest::default()).await?;
    walker.walk.calls += 1;
    walker.walk.elapsed = started.elapsed();
    Ok(walker.walk)
}

struct Walker {
    connector: ConnectorServiceClient<Channel>,
    types: ResourceTypesServiceClient<Channel>,
    resources: ResourcesServiceClient<Channel>,
    entitlements: EntitlementsServiceClient<Channel>,
    grants: GrantsServiceClient<Channel>,
    walk: Walk,
    met: Counts,
}

impl Walker {
    async fn resource_types(&mut self) -> Result<Vec<ResourceType>, Status> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let request = ResourceTypesServiceListResourceTypesRequest {
                page_token: token.clone(),
                ..Default::default()
            };
            let answer = self.types.list_resource_types(request).await;
            let answer = self.answered(answer)?;
            found.extend(answer.list);
            if !goes_on(&mut token, answer.next_page_token)? {
                break;
            }
        }
        if self.walk.types.is_empty() {
            self.walk.types =
                found.iter().map(|resource_type| (resource_type.clone(), Counts::default())).collect();
        }
        Ok(found)
    }

    /// Every resource that has entitlements or grants, with the index of its type. Types are listed
    /// without a parent first, then below each resource that names them as children.
    async fn all_resources<V: Visitor>(
        &mut self,
        types: &[ResourceType],
        visitor: &mut V,
    ) -> Result<Vec<(usize, Resource)>, Status> {
        let index: BTreeMap<String, usize> =
            types.iter().enumerate().map(|(index, one)| (one.id.clone(), index)).collect();
        let mut to_list: Vec<(String, Option<ResourceId>)> =
            types.iter().map(|resource_type| (resource_type.id.clone(), None)).collect();
        let mut kept = Vec::new();
        while let Some((type_id, parent)) = to_list.pop() {
            let Some(&at) = index.get(&type_id) else { continue };
            let skipped = types.get(at).is_some_and(|one| skips(&one.annotations));
            let mut token = String::new();
            loop {
                let request = ResourcesServiceListResourcesRequest {
                    resource_type_id: type_id.clone(),
                    parent_resource_id: parent.clone(),
                    page_token: token.clone(),
                    ..Default::default()
                };
                let answer = self.resources.list_resources(request).await;
                let answer = self.answered(answer)?;
                self.count(at, |counts| counts.resources += answer.list.len() as u64);
                visitor.progress("resources", self.met);
                for resource in answer.list {
                    visitor.resource(&resource);
                    for child in resource.annotations.iter().filter_map(unpack::<ChildResourceType>) {
                        let child = child.map_err(|error| Status::internal(error.to_string()))?;
                        to_list.push((child.resource_type_id, resource.id.clone()));
                    }
                    if !skipped && !skips(&resource.annotations) {
                        kept.push((at, resource));
                    }
                }
                if !goes_on(&mut token, answer.next_page_token)? {
                    break;
                }
            }
        }
        Ok(kept)
    }

    async fn static_entitlements(&mut self, resource_type: &ResourceType) -> Result<(), Status> {
        let mut token = String::new();
        loop {
            let request = EntitlementsServiceListStaticEntitlementsRequest {
                resource_type_id: resource_type.id.clone(),
                page_token: token.clone(),
                ..Default::default()
            };
            let answer = self.entitlements.list_static_entitlements(request).await;
            let answer = self.answered(answer)?;
            if !goes_on(&mut token, answer.next_page_token)? {
                return Ok(());
            }
        }
    }

    async fn all_entitlements<V: Visitor>(
        &mut self,
        at: usize,
        resource: &Resource,
        visitor: &mut V,
    ) -> Result<(), Status> {
        let mut token = String::new();
        loop {
            let request = EntitlementsServiceListEntitlementsRequest {
                resource: Some(resource.clone()),
                page_token: token.clone(),
                ..Default::default()
            };
            let answer = self.entitlements.list_entitlements(request).await;
            let answer = self.answered(answer)?;
            self.count(at, |counts| counts.entitlements += answer.list.len() as u64);
            visitor.progress("entitlements", self.met);
            for entitlement in &answer.list {
                visitor.entitlement(entitlement);
            }
            if !goes_on(&mut token, answer.next_page_token)? {
                return Ok(());
            }
        }
    }

    async fn all_grants<V: Visitor>(
        &mut self,
        at: usize,
        resource: &Resource,
        visitor: &mut V,
    ) -> Result<(), Status> {
        let mut token = String::new();
        loop {
            let request = GrantsServiceListGrantsRequest {
                resource: Some(resource.clone()),
                page_token: token.clone(),
                ..Default::default()
            };
            let answer = self.grants.list_grants(request).await;
            let answer = self.answered(answer)?;
            self.count(at, |counts| counts.grants += answer.list.len() as u64);
            visitor.progress("grants", self.met);
            if V::SEES_GRANTS {
                let grants =
                    answer.list.into_grants().map_err(|error| Status::internal(error.to_string()))?;
                for grant in &grants {
                    visitor.grant(grant);
                }
            }
            if !goes_on(&mut token, answer.next_page_token)? {
                return Ok(());
            }
        }
    }

    fn answered<M: Message>(&mut self, answer: Result<Response<M>, Status>) -> Result<M, Status> {
        self.walk.calls += 1;
        let answer = answer?.into_inner();
        self.walk.largest_answer = self.walk.largest_answer.max(answer.encoded_len());
        Ok(answer)
    }

    fn count(&mut self, at: usize, add: impl Fn(&mut Counts)) {
        add(&mut self.met);
        if let Some((_, counts)) = self.walk.types.get_mut(at) {
            add(counts);
        }
    }
}

/// Takes the next token; false when there is none.
fn goes_on(token: &mut String, next: String) -> Result<bool, Status> {
    if !next.is_empty() && *token == next {
        return Err(Status::internal("the connector answered with the page token that it was asked with"));
    }
    *token = next;
    Ok(!token.is_empty())
}

fn skips(annotations: &[Any]) -> bool {
    find_annotation::<SkipEntitlementsAndGrants>(annotations).is_some()
}

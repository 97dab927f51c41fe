//! The calls that a sync makes to a connector.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prost::Message;
use prost_types::Any;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::agent::sync::error::Error;
use crate::agent::sync::subject::Subject;
use crate::proto::connector::connector_service_client::ConnectorServiceClient;
use crate::proto::connector::entitlements_service_client::EntitlementsServiceClient;
use crate::proto::connector::grants_service_client::GrantsServiceClient;
use crate::proto::connector::resource_getter_service_client::ResourceGetterServiceClient;
use crate::proto::connector::resource_types_service_client::ResourceTypesServiceClient;
use crate::proto::connector::resources_service_client::ResourcesServiceClient;
use crate::proto::connector::{
    ConnectorServiceCleanupRequest, ConnectorServiceValidateRequest,
    EntitlementsServiceListEntitlementsRequest, EntitlementsServiceListEntitlementsResponse,
    EntitlementsServiceListStaticEntitlementsRequest, EntitlementsServiceListStaticEntitlementsResponse,
    GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse, Resource,
    ResourceGetterServiceGetResourceRequest, ResourceId, ResourceTypesServiceListResourceTypesRequest,
    ResourceTypesServiceListResourceTypesResponse, ResourcesServiceListResourcesRequest,
    ResourcesServiceListResourcesResponse,
};

/// Largest accepted response, in bytes.
pub(crate) const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// A connector to read from, with counters of the cost of reading.
#[derive(Debug)]
pub(crate) struct Connector {
    connector: ConnectorServiceClient<Channel>,
    types: ResourceTypesServiceClient<Channel>,
    resources: ResourcesServiceClient<Channel>,
    getter: ResourceGetterServiceClient<Channel>,
    entitlements: EntitlementsServiceClient<Channel>,
    grants: GrantsServiceClient<Channel>,
    calls: AtomicU64,
    largest_answer: Option<AtomicUsize>,
}

impl Connector {
    /// Creates a client for the connector at the other end of a channel. Measuring computes the size of every
    /// response.
    pub(crate) fn new(channel: Channel, measures: bool) -> Self {
        Self {
            connector: ConnectorServiceClient::new(channel.clone()),
            types: ResourceTypesServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            resources: ResourcesServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST_ANSWER),
            getter: ResourceGetterServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            entitlements: EntitlementsServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST_ANSWER),
            grants: GrantsServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER),
            calls: AtomicU64::new(0),
            largest_answer: measures.then(AtomicUsize::default),
        }
    }

    /// The number of calls made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The size of the largest response in bytes; 0 if responses are not measured.
    pub(crate) fn largest_answer(&self) -> usize {
        self.largest_answer.as_ref().map_or(0, |largest| largest.load(Ordering::Relaxed))
    }

    /// Calls Validate and returns the SDK version that the connector reports.
    pub(crate) async fn validate(&self) -> Result<String, Error> {
        let answer = self.connector.clone().validate(ConnectorServiceValidateRequest::default()).await;
        Ok(self.answered(answer, "Validate", || "the connector".into())?.sdk_version)
    }

    /// Calls Cleanup, so that the connector can discard its state of the sync.
    pub(crate) async fn cleanup(&self, active_sync_id: &str) -> Result<(), Error> {
        let request = ConnectorServiceCleanupRequest {
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.connector.clone().cleanup(request).await;
        self.answered(answer, "Cleanup", || "the connector".into()).map(drop)
    }

    /// Lists one page of resource types.
    pub(crate) async fn resource_types(
        &self,
        page_token: &str,
        active_sync_id: &str,
    ) -> Result<ResourceTypesServiceListResourceTypesResponse, Error> {
        let request = ResourceTypesServiceListResourceTypesRequest {
            page_token: page_token.to_owned(),
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.types.clone().list_resource_types(request).await;
        self.answered(answer, "ListResourceTypes", || "the connector".into())
    }

    /// Lists one page of resources of a type, below a parent or at the root.
    pub(crate) async fn resources(
        &self,
        resource_type_id: &str,
        parent: Option<ResourceId>,
        page_token: &str,
        active_sync_id: &str,
        target: impl FnOnce() -> Subject,
    ) -> Result<ResourcesServiceListResourcesResponse, Error> {
        let request = ResourcesServiceListResourcesRequest {
            resource_type_id: resource_type_id.to_owned(),
            parent_resource_id: parent,
            page_token: page_token.to_owned(),
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.resources.clone().list_resources(request).await;
        self.answered(answer, "ListResources", target)
    }

    /// Fetches one resource; `None` if the response has none.
    pub(crate) async fn resource(
        &self,
        id: &ResourceId,
        parent: Option<ResourceId>,
        active_sync_id: &str,
    ) -> Result<Option<Resource>, Error> {
        let request = ResourceGetterServiceGetResourceRequest {
            resource_id: Some(id.clone()),
            parent_resource_id: parent,
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.getter.clone().get_resource(request).await;
        let target = || Subject::resource(&id.resource_type, &id.resource);
        Ok(self.answered(answer, "GetResource", target)?.resource)
    }

    /// Lists one page of entitlement templates of a type.
    pub(crate) async fn static_entitlements(
        &self,
        resource_type_id: &str,
        page_token: &str,
        active_sync_id: &str,
        target: impl FnOnce() -> Subject,
    ) -> Result<EntitlementsServiceListStaticEntitlementsResponse, Error> {
        let request = EntitlementsServiceListStaticEntitlementsRequest {
            resource_type_id: resource_type_id.to_owned(),
            page_token: page_token.to_owned(),
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.entitlements.clone().list_static_entitlements(request).await;
        self.answered(answer, "ListStaticEntitlements", target)
    }

    /// Lists one page of entitlements.
    pub(crate) async fn entitlements(
        &self,
        resource: Resource,
        annotations: Vec<Any>,
        page_token: &str,
        active_sync_id: &str,
        target: impl FnOnce() -> Subject,
    ) -> Result<EntitlementsServiceListEntitlementsResponse, Error> {
        let request = EntitlementsServiceListEntitlementsRequest {
            resource: Some(resource),
            annotations,
            page_token: page_token.to_owned(),
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.entitlements.clone().list_entitlements(request).await;
        self.answered(answer, "ListEntitlements", target)
    }

    /// Lists one page of grants.
    pub(crate) async fn grants(
        &self,
        resource: Resource,
        annotations: Vec<Any>,
        page_token: &str,
        active_sync_id: &str,
        target: impl FnOnce() -> Subject,
    ) -> Result<GrantsServiceListGrantsResponse, Error> {
        let request = GrantsServiceListGrantsRequest {
            resource: Some(resource),
            annotations,
            page_token: page_token.to_owned(),
            active_sync_id: active_sync_id.to_owned(),
            ..Default::default()
        };
        let answer = self.grants.clone().list_grants(request).await;
        self.answered(answer, "ListGrants", target)
    }

    fn answered<M: Message>(
        &self,
        answer: Result<Response<M>, Status>,
        method: &'static str,
        target: impl FnOnce() -> Subject,
    ) -> Result<M, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let answer = answer
            .map_err(|status| Error::Call { method, target: target(), status: Box::new(status) })?
            .into_inner();
        if let Some(largest) = &self.largest_answer {
            largest.fetch_max(answer.encoded_len(), Ordering::Relaxed);
        }
        Ok(answer)
    }
}

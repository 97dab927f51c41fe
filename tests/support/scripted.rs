//! A connector that answers according to a script and records every call. It covers behavior that this
//! program's own connector never shows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use baton_retool::proto::connector::connector_service_server::{ConnectorService, ConnectorServiceServer};
use baton_retool::proto::connector::entitlements_service_server::{
    EntitlementsService, EntitlementsServiceServer,
};
use baton_retool::proto::connector::grants_service_server::{GrantsService, GrantsServiceServer};
use baton_retool::proto::connector::resource_getter_service_server::{
    ResourceGetterService, ResourceGetterServiceServer,
};
use baton_retool::proto::connector::resource_types_service_server::{
    ResourceTypesService, ResourceTypesServiceServer,
};
use baton_retool::proto::connector::resources_service_server::{ResourcesService, ResourcesServiceServer};
use baton_retool::proto::connector::{
    ConnectorServiceCleanupRequest, ConnectorServiceCleanupResponse, ConnectorServiceGetMetadataRequest,
    ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest, ConnectorServiceValidateResponse,
    Entitlement, EntitlementsServiceListEntitlementsRequest, EntitlementsServiceListEntitlementsResponse,
    EntitlementsServiceListStaticEntitlementsRequest, EntitlementsServiceListStaticEntitlementsResponse,
    Grant, GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse, Resource,
    ResourceGetterServiceGetResourceRequest, ResourceGetterServiceGetResourceResponse, ResourceId,
    ResourceType, ResourceTypesServiceListResourceTypesRequest,
    ResourceTypesServiceListResourceTypesResponse, ResourcesServiceListResourcesRequest,
    ResourcesServiceListResourcesResponse,
};
use baton_retool::proto::grants::GrantList;
use hyper_util::rt::TokioIo;
use prost_types::Any;
use tokio::sync::Barrier;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

/// The buffer of a connection in bytes, per direction.
const BUFFER: usize = 1 << 20;

/// A call that was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The name of the method.
    pub(crate) method: &'static str,
    /// The target: `type`, `type<parent type/parent id`, or `type/id`.
    pub(crate) target: String,
    /// The page token in the request.
    pub(crate) token: String,
    /// The sync id in the request.
    pub(crate) sync_id: String,
    /// The resource in the request.
    pub(crate) resource: Option<Resource>,
    /// The annotations in the request.
    pub(crate) annotations: Vec<Any>,
    /// The page size in the request.
    pub(crate) page_size: u32,
}

/// A page of an answer.
#[derive(Clone)]
pub(crate) enum Page {
    Types(Vec<ResourceType>),
    Resources(Vec<Resource>),
    Entitlements(Vec<Entitlement>, Vec<Any>),
    Grants(Vec<Grant>, Vec<Any>),
    Resource(Box<Resource>),
}

/// The answers and the received calls.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Inner>>);

/// Runs once.
type Once = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    sdk_version: String,
    pages: HashMap<(&'static str, String, String), (Page, String)>,
    failures: HashMap<(&'static str, String, String), VecDeque<Status>>,
    /// Calls of this method wait until this number is in progress.
    barrier: Option<(&'static str, Arc<Barrier>)>,
    /// What to do once before an answer to a call.
    before: HashMap<(&'static str, String, String), Once>,
}

impl Script {
    /// An empty connector with a current version.
    pub(crate) fn new() -> Self {
        let script = Self::default();
        script.sdk_version("v0.25.0");
        script
    }

    pub(crate) fn sdk_version(&self, version: &str) {
        self.0.lock().unwrap().sdk_version = version.to_owned();
    }

    /// Answers the call with this page and next token.
    pub(crate) fn page(&self, method: &'static str, target: &str, token: &str, page: Page, next: &str) {
        let key = (method, target.to_owned(), token.to_owned());
        self.0.lock().unwrap().pages.insert(key, (page, next.to_owned()));
    }

    /// Answers ListResourceTypes with these types on one page.
    pub(crate) fn types(&self, types: Vec<ResourceType>) {
        self.page("ListResourceTypes", "", "", Page::Types(types), "");
    }

    /// Answers ListResources with these resources on one page.
    pub(crate) fn resources(&self, target: &str, resources: Vec<Resource>) {
        self.page("ListResources", target, "", Page::Resources(resources), "");
    }

    /// Answers ListEntitlements with these entitlements on one page.
    pub(crate) fn entitlements(&self, target: &str, entitlements: Vec<Entitlement>) {
        self.page("ListEntitlements", target, "", Page::Entitlements(entitlements, Vec::new()), "");
    }

    /// Answers ListGrants with these grants on one page.
    pub(crate) fn grants(&self, target: &str, grants: Vec<Grant>) {
        self.page("ListGrants", target, "", Page::Grants(grants, Vec::new()), "");
    }

    /// Answers GetResource with this resource.
    pub(crate) fn resource(&self, target: &str, resource: Resource) {
        self.page("GetResource", target, "", Page::Resource(Box::new(resource)), "");
    }

    /// Answers the next calls with these errors, one each, and then as usual.
    pub(crate) fn fail(&self, method: &'static str, target: &str, token: &str, errors: Vec<Status>) {
        let key = (method, target.to_owned(), token.to_owned());
        self.0.lock().unwrap().failures.entry(key).or_default().extend(errors);
    }

    /// Makes calls of this method wait until this number is in progress.
    pub(crate) fn only_together(&self, method: &'static str, count: usize) {
        self.0.lock().unwrap().barrier = Some((method, Arc::new(Barrier::new(count))));
    }

    /// Runs a function once, before this call is answered.
    pub(crate) fn before(
        &self,
        method: &'static str,
        target: &str,
        token: &str,
        act: impl FnOnce() + Send + 'static,
    ) {
        let key = (method, target.to_owned(), token.to_owned());
        self.0.lock().unwrap().before.insert(key, Box::new(act));
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().calls.clone()
    }

    /// All calls so far as `method target token`, without empty parts.
    pub(crate) fn said(&self) -> Vec<String> {
        let said = |call: Call| [call.method, &call.target, &call.token].join(" ").trim_end().to_owned();
        self.calls().into_iter().map(said).collect()
    }

    /// How many calls of this method there were.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.calls().iter().filter(|call| call.method == method).count()
    }

    /// Forgets the calls so far.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().calls.clear();
    }

    /// A connection to the connector within this process.
    pub(crate) async fn channel(&self) -> Channel {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let router = Server::builder()
            .add_service(ConnectorServiceServer::new(self.clone()))
            .add_service(ResourceTypesServiceServer::new(self.clone()))
            .add_service(ResourcesServiceServer::new(self.clone()))
            .add_service(ResourceGetterServiceServer::new(self.clone()))
            .add_service(EntitlementsServiceServer::new(self.clone()))
            .add_service(GrantsServiceServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(theirs))));
        let mut ours = Some(TokioIo::new(ours));
        let connect = move |_| {
            let ours = ours.take().ok_or_else(|| std::io::Error::other("there is one connection only"));
            async move { ours }
        };
        Endpoint::from_static("http://scripted")
            .connect_with_connector(tower::service_fn(connect))
            .await
            .unwrap()
    }

    /// Records a call and returns its answer.
    async fn called(&self, call: Call) -> Result<Option<(Page, String)>, Status> {
        let key = (call.method, call.target.clone(), call.token.clone());
        let method = call.method;
        let (barrier, before, answer) = {
            let mut inner = self.0.lock().unwrap();
            inner.calls.push(call);
            let barrier = inner.barrier.as_ref().filter(|(of, _)| *of == method);
            let barrier = barrier.map(|(_, barrier)| Arc::clone(barrier));
            let before = inner.before.remove(&key);
            let failure = inner.failures.get_mut(&key).and_then(VecDeque::pop_front);
            let answer = match failure {
                Some(status) => Err(status),
                None => Ok(inner.pages.get(&key).cloned()),
            };
            (barrier, before, answer)
        };
        if let Some(barrier) = barrier {
            barrier.wait().await;
        }
        if let Some(act) = before {
            act();
        }
        answer
    }
}

/// Formats an id as `type/id`.
pub(crate) fn name(id: Option<&ResourceId>) -> String {
    id.map(|id| format!("{}/{}", id.resource_type, id.resource)).unwrap_or_default()
}

fn named(resource: Option<&Resource>) -> String {
    name(resource.and_then(|resource| resource.id.as_ref()))
}

#[tonic::async_trait]
impl ConnectorService for Script {
    async fn get_metadata(
        &self,
        _: Request<ConnectorServiceGetMetadataRequest>,
    ) -> Result<Response<ConnectorServiceGetMetadataResponse>, Status> {
        Err(Status::unimplemented("no sync calls it"))
    }

    async fn validate(
        &self,
        _: Request<ConnectorServiceValidateRequest>,
    ) -> Result<Response<ConnectorServiceValidateResponse>, Status> {
        self.called(call("Validate", String::new(), "", "")).await?;
        let sdk_version = self.0.lock().unwrap().sdk_version.clone();
        Ok(Response::new(ConnectorServiceValidateResponse { sdk_version, ..Default::default() }))
    }

    async fn cleanup(
        &self,
        request: Request<ConnectorServiceCleanupRequest>,
    ) -> Result<Response<ConnectorServiceCleanupResponse>, Status> {
        let request = request.into_inner();
        self.called(call("Cleanup", String::new(), "", &request.active_sync_id)).await?;
        Ok(Response::new(ConnectorServiceCleanupResponse::default()))
    }
}

#[tonic::async_trait]
impl ResourceTypesService for Script {
    async fn list_resource_types(
        &self,
        request: Request<ResourceTypesServiceListResourceTypesRequest>,
    ) -> Result<Response<ResourceTypesServiceListResourceTypesResponse>, Status> {
        let request = request.into_inner();
        let call = Call {
            page_size: request.page_size,
            ..call("ListResourceTypes", String::new(), &request.page_token, &request.active_sync_id)
        };
        let (list, next_page_token) = match self.called(call).await? {
            Some((Page::Types(list), next)) => (list, next),
            _ => Default::default(),
        };
        Ok(Response::new(ResourceTypesServiceListResourceTypesResponse {
            list,
            next_page_token,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl ResourcesService for Script {
    async fn list_resources(
        &self,
        request: Request<ResourcesServiceListResourcesRequest>,
    ) -> Result<Response<ResourcesServiceListResourcesResponse>, Status> {
        let request = request.into_inner();
        let below = request.parent_resource_id.as_ref().map(|parent| format!("<{}", name(Some(parent))));
        let target = format!("{}{}", request.resource_type_id, below.unwrap_or_default());
        let call = Call {
            page_size: request.page_size,
            ..call("ListResources", target, &request.page_token, &request.active_sync_id)
        };
        let (list, next_page_token) = match self.called(call).await? {
            Some((Page::Resources(list), next)) => (list, next),
            _ => Default::default(),
        };
        Ok(Response::new(ResourcesServiceListResourcesResponse {
            list,
            next_page_token,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl ResourceGetterService for Script {
    async fn get_resource(
        &self,
        request: Request<ResourceGetterServiceGetResourceRequest>,
    ) -> Result<Response<ResourceGetterServiceGetResourceResponse>, Status> {
        let request = request.into_inner();
        let below = request.parent_resource_id.as_ref().map(|parent| format!("<{}", name(Some(parent))));
        let target = format!("{}{}", name(request.resource_id.as_ref()), below.unwrap_or_default());
        match self.called(call("GetResource", target, "", &request.active_sync_id)).await? {
            Some((Page::Resource(resource), _)) => {
                Ok(Response::new(ResourceGetterServiceGetResourceResponse {
                    resource: Some(*resource),
                    ..Default::default()
                }))
            }
            _ => Err(Status::not_found("it is not in the script")),
        }
    }
}

#[tonic::async_trait]
impl EntitlementsService for Script {
    async fn list_entitlements(
        &self,
        request: Request<EntitlementsServiceListEntitlementsRequest>,
    ) -> Result<Response<EntitlementsServiceListEntitlementsResponse>, Status> {
        let request = request.into_inner();
        let target = named(request.resource.as_ref());
        let call = Call {
            resource: request.resource,
            annotations: request.annotations,
            page_size: request.page_size,
            ..call("ListEntitlements", target, &request.page_token, &request.active_sync_id)
        };
        let (list, annotations, next_page_token) = match self.called(call).await? {
            Some((Page::Entitlements(list, annotations), next)) => (list, annotations, next),
            _ => Default::default(),
        };
        Ok(Response::new(EntitlementsServiceListEntitlementsResponse { list, next_page_token, annotations }))
    }

    async fn list_static_entitlements(
        &self,
        request: Request<EntitlementsServiceListStaticEntitlementsRequest>,
    ) -> Result<Response<EntitlementsServiceListStaticEntitlementsResponse>, Status> {
        let request = request.into_inner();
        let call = Call {
            page_size: request.page_size,
            ..call(
                "ListStaticEntitlements",
                request.resource_type_id,
                &request.page_token,
                &request.active_sync_id,
            )
        };
        let (list, annotations, next_page_token) = match self.called(call).await? {
            Some((Page::Entitlements(list, annotations), next)) => (list, annotations, next),
            _ => Default::default(),
        };
        Ok(Response::new(EntitlementsServiceListStaticEntitlementsResponse {
            list,
            next_page_token,
            annotations,
        }))
    }
}

#[tonic::async_trait]
impl GrantsService for Script {
    async fn list_grants(
        &self,
        request: Request<GrantsServiceListGrantsRequest>,
    ) -> Result<Response<GrantsServiceListGrantsResponse>, Status> {
        let request = request.into_inner();
        let target = named(request.resource.as_ref());
        let call = Call {
            resource: request.resource,
            annotations: request.annotations,
            page_size: request.page_size,
            ..call("ListGrants", target, &request.page_token, &request.active_sync_id)
        };
        let (list, annotations, next_page_token) = match self.called(call).await? {
            Some((Page::Grants(list, annotations), next)) => (list, annotations, next),
            _ => Default::default(),
        };
        Ok(Response::new(GrantsServiceListGrantsResponse {
            list: GrantList::from(list),
            next_page_token,
            annotations,
        }))
    }
}

fn call(method: &'static str, target: String, token: &str, sync_id: &str) -> Call {
    Call {
        method,
        target,
        token: token.to_owned(),
        sync_id: sync_id.to_owned(),
        resource: None,
        annotations: Vec::new(),
        page_size: 0,
    }
}

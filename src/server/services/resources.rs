//! `ResourceTypesService`, `ResourcesService` and `ResourceGetterService`: list resource types and resources.

use tonic::{Request, Response, Status};

use crate::proto::connector::resource_getter_service_server::ResourceGetterService;
use crate::proto::connector::resource_types_service_server::ResourceTypesService;
use crate::proto::connector::resources_service_server::ResourcesService;
use crate::proto::connector::{
    ResourceGetterServiceGetResourceRequest, ResourceGetterServiceGetResourceResponse,
    ResourceTypesServiceListResourceTypesRequest, ResourceTypesServiceListResourceTypesResponse,
    ResourcesServiceListResourcesRequest, ResourcesServiceListResourcesResponse,
};
use crate::server::services::Services;
use crate::server::transport::access_log::Notes;

#[tonic::async_trait]
impl ResourceTypesService for Services {
    async fn list_resource_types(
        &self,
        request: Request<ResourceTypesServiceListResourceTypesRequest>,
    ) -> Result<Response<ResourceTypesServiceListResourceTypesResponse>, Status> {
        let notes = Notes::of(&request, |asked| &asked.active_sync_id);
        let request = request.into_inner();
        let page =
            self.connector.resource_types(self.page_request(request.page_size, &request.page_token)?)?;
        notes.listed(page.items.len());
        Ok(Response::new(ResourceTypesServiceListResourceTypesResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl ResourcesService for Services {
    async fn list_resources(
        &self,
        request: Request<ResourcesServiceListResourcesRequest>,
    ) -> Result<Response<ResourcesServiceListResourcesResponse>, Status> {
        let notes = Notes::of(&request, |asked| &asked.active_sync_id);
        let request = request.into_inner();
        let page = self
            .connector
            .resources(
                &request.resource_type_id,
                request.parent_resource_id.as_ref(),
                &request.active_sync_id,
                self.page_request(request.page_size, &request.page_token)?,
            )
            .await?;
        notes.listed(page.items.len());
        Ok(Response::new(ResourcesServiceListResourcesResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl ResourceGetterService for Services {
    async fn get_resource(
        &self,
        request: Request<ResourceGetterServiceGetResourceRequest>,
    ) -> Result<Response<ResourceGetterServiceGetResourceResponse>, Status> {
        let request = request.into_inner();
        let resource = self
            .connector
            .resource(request.resource_id.as_ref(), request.parent_resource_id.as_ref())
            .await?;
        Ok(Response::new(ResourceGetterServiceGetResourceResponse {
            resource: Some(resource),
            ..Default::default()
        }))
    }
}

//! `GrantsService` and `GrantManagerService`: who has what, and changing it.

use tonic::{Request, Response, Status};

use super::access_log::Notes;
use super::{Service, page_request};
use crate::proto::connector::grant_manager_service_server::GrantManagerService;
use crate::proto::connector::grants_service_server::GrantsService;
use crate::proto::connector::{
    GrantManagerServiceGrantRequest, GrantManagerServiceGrantResponse, GrantManagerServiceRevokeRequest,
    GrantManagerServiceRevokeResponse, GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse,
};

#[tonic::async_trait]
impl GrantsService for Service {
    async fn list_grants(
        &self,
        request: Request<GrantsServiceListGrantsRequest>,
    ) -> Result<Response<GrantsServiceListGrantsResponse>, Status> {
        let notes = Notes::of(&request);
        let request = request.into_inner();
        let page = self
            .connector
            .grants(request.resource.as_ref(), page_request(request.page_size, &request.page_token)?)
            .await?;
        notes.listed(page.items.len(), request.active_sync_id);
        Ok(Response::new(GrantsServiceListGrantsResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            annotations: Vec::new(),
        }))
    }
}

#[tonic::async_trait]
impl GrantManagerService for Service {
    async fn grant(
        &self,
        _: Request<GrantManagerServiceGrantRequest>,
    ) -> Result<Response<GrantManagerServiceGrantResponse>, Status> {
        Err(self.connector.refuse("XTODO").into())
    }

    async fn revoke(
        &self,
        _: Request<GrantManagerServiceRevokeRequest>,
    ) -> Result<Response<GrantManagerServiceRevokeResponse>, Status> {
        Err(self.connector.refuse("XTODO").into())
    }
}

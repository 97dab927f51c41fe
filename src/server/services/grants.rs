//! `GrantsService` and `GrantManagerService`: list, create and revoke grants.

use tonic::{Request, Response, Status};

use crate::proto::connector::grant_manager_service_server::GrantManagerService;
use crate::proto::connector::grants_service_server::GrantsService;
use crate::proto::connector::{
    GrantManagerServiceGrantRequest, GrantManagerServiceGrantResponse, GrantManagerServiceRevokeRequest,
    GrantManagerServiceRevokeResponse, GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse,
};
use crate::server::services::Services;
use crate::server::services::caller::caller;
use crate::server::transport::access_log::Notes;

#[tonic::async_trait]
impl GrantsService for Services {
    async fn list_grants(
        &self,
        request: Request<GrantsServiceListGrantsRequest>,
    ) -> Result<Response<GrantsServiceListGrantsResponse>, Status> {
        let notes = Notes::of(&request, |asked| &asked.active_sync_id);
        let request = request.into_inner();
        let page = self
            .connector
            .grants(
                request.resource.as_ref(),
                &request.active_sync_id,
                self.page_request(request.page_size, &request.page_token)?,
            )
            .await?;
        notes.listed(page.items.len());
        Ok(Response::new(GrantsServiceListGrantsResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            annotations: Vec::new(),
        }))
    }
}

#[tonic::async_trait]
impl GrantManagerService for Services {
    async fn grant(
        &self,
        request: Request<GrantManagerServiceGrantRequest>,
    ) -> Result<Response<GrantManagerServiceGrantResponse>, Status> {
        let caller = caller(&request, &request.get_ref().annotations);
        let time = self.time(&request);
        let request = request.into_inner();
        let (entitlement, principal) = (request.entitlement.as_ref(), request.principal.as_ref());
        let (grants, annotations) = self.connector.grant(&caller, entitlement, principal, time).await?;
        Ok(Response::new(GrantManagerServiceGrantResponse { annotations, grants }))
    }

    async fn revoke(
        &self,
        request: Request<GrantManagerServiceRevokeRequest>,
    ) -> Result<Response<GrantManagerServiceRevokeResponse>, Status> {
        let caller = caller(&request, &request.get_ref().annotations);
        let time = self.time(&request);
        let annotations = self.connector.revoke(&caller, request.get_ref().grant.as_ref(), time).await?;
        Ok(Response::new(GrantManagerServiceRevokeResponse { annotations }))
    }
}

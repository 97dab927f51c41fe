//! `EntitlementsService`: the entitlements that can be granted.

use tonic::{Request, Response, Status};

use crate::proto::connector::entitlements_service_server::EntitlementsService;
use crate::proto::connector::{
    EntitlementsServiceListEntitlementsRequest, EntitlementsServiceListEntitlementsResponse,
    EntitlementsServiceListStaticEntitlementsRequest, EntitlementsServiceListStaticEntitlementsResponse,
};
use crate::server::services::Services;
use crate::server::transport::access_log::Notes;

#[tonic::async_trait]
impl EntitlementsService for Services {
    async fn list_entitlements(
        &self,
        request: Request<EntitlementsServiceListEntitlementsRequest>,
    ) -> Result<Response<EntitlementsServiceListEntitlementsResponse>, Status> {
        let notes = Notes::of(&request, |asked| &asked.active_sync_id);
        let request = request.into_inner();
        let page = self.connector.entitlements(
            request.resource.as_ref(),
            self.page_request(request.page_size, &request.page_token)?,
        )?;
        notes.listed(page.items.len());
        Ok(Response::new(EntitlementsServiceListEntitlementsResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            ..Default::default()
        }))
    }

    async fn list_static_entitlements(
        &self,
        request: Request<EntitlementsServiceListStaticEntitlementsRequest>,
    ) -> Result<Response<EntitlementsServiceListStaticEntitlementsResponse>, Status> {
        let notes = Notes::of(&request, |asked| &asked.active_sync_id);
        let request = request.into_inner();
        let page = self.connector.static_entitlements(
            &request.resource_type_id,
            self.page_request(request.page_size, &request.page_token)?,
        )?;
        notes.listed(page.items.len());
        Ok(Response::new(EntitlementsServiceListStaticEntitlementsResponse {
            list: page.items,
            next_page_token: page.next_page_token,
            ..Default::default()
        }))
    }
}

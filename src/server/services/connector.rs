//! `ConnectorService`: what the connector is, and whether it works.

use tonic::{Request, Response, Status};

use crate::proto::connector::connector_service_server::ConnectorService;
use crate::proto::connector::{
    ConnectorServiceCleanupRequest, ConnectorServiceCleanupResponse, ConnectorServiceGetMetadataRequest,
    ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest, ConnectorServiceValidateResponse,
};
use crate::server::services::Services;

/// The protocol level, as agents parse it. A pre-release suffix would keep them from
/// sending the sync id.
const SDK_VERSION: &str = "v0.25.0";

#[tonic::async_trait]
impl ConnectorService for Services {
    async fn get_metadata(
        &self,
        _: Request<ConnectorServiceGetMetadataRequest>,
    ) -> Result<Response<ConnectorServiceGetMetadataResponse>, Status> {
        Ok(Response::new(ConnectorServiceGetMetadataResponse { metadata: Some(self.connector.metadata()) }))
    }

    async fn validate(
        &self,
        _: Request<ConnectorServiceValidateRequest>,
    ) -> Result<Response<ConnectorServiceValidateResponse>, Status> {
        let annotations = self.connector.validate().await?;
        Ok(Response::new(ConnectorServiceValidateResponse {
            sdk_version: SDK_VERSION.to_owned(),
            annotations,
        }))
    }

    async fn cleanup(
        &self,
        request: Request<ConnectorServiceCleanupRequest>,
    ) -> Result<Response<ConnectorServiceCleanupResponse>, Status> {
        self.connector.cleanup(&request.get_ref().active_sync_id);
        Ok(Response::new(ConnectorServiceCleanupResponse::default()))
    }
}

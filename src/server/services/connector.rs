//! `ConnectorService`: the metadata of the connector, and the check that it works.

use tonic::{Request, Response, Status};

use crate::proto::PROTOCOL_LEVEL;
use crate::proto::connector::connector_service_server::ConnectorService;
use crate::proto::connector::{
    ConnectorServiceCleanupRequest, ConnectorServiceCleanupResponse, ConnectorServiceGetMetadataRequest,
    ConnectorServiceGetMetadataResponse, ConnectorServiceValidateRequest, ConnectorServiceValidateResponse,
};
use crate::server::services::Services;

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
            sdk_version: PROTOCOL_LEVEL.to_owned(),
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

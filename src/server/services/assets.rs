//! `AssetService`: icons and pictures of Retool are not served.

use tonic::{Request, Response, Status};

use crate::proto::connector::asset_service_server::AssetService;
use crate::proto::connector::{AssetServiceGetAssetRequest, AssetServiceGetAssetResponse};
use crate::server::services::Services;

#[tonic::async_trait]
impl AssetService for Services {
    type GetAssetStream = tokio_stream::Empty<Result<AssetServiceGetAssetResponse, Status>>;

    /// An empty stream, as in the Go connector.
    async fn get_asset(
        &self,
        _: Request<AssetServiceGetAssetRequest>,
    ) -> Result<Response<Self::GetAssetStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

//! `EventService`: this connector has no event feeds.

use tonic::{Request, Response, Status};

use crate::proto::connector::event_service_server::EventService;
use crate::proto::connector::{
    ListEventFeedsRequest, ListEventFeedsResponse, ListEventsRequest, ListEventsResponse,
};
use crate::server::services::Services;

#[tonic::async_trait]
impl EventService for Services {
    async fn list_event_feeds(
        &self,
        _: Request<ListEventFeedsRequest>,
    ) -> Result<Response<ListEventFeedsResponse>, Status> {
        Ok(Response::new(ListEventFeedsResponse::default()))
    }

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(self.connector.refuse_events(&request.get_ref().event_feed_id).into())
    }
}

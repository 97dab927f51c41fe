//! `EventService`: this connector has no event feeds.

use tonic::{Request, Response, Status};

use super::Service;
use crate::proto::connector::event_service_server::EventService;
use crate::proto::connector::{
    ListEventFeedsRequest, ListEventFeedsResponse, ListEventsRequest, ListEventsResponse,
};

#[tonic::async_trait]
impl EventService for Service {
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

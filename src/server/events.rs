//! `EventService`: this connector has no event feeds.

use tonic::{Request, Response, Status};

use super::Service;
use crate::connector::error::Error;
use crate::proto::connector::event_service_server::EventService;
use crate::proto::connector::{
    ListEventFeedsRequest, ListEventFeedsResponse, ListEventsRequest, ListEventsResponse,
};

/// What an empty feed id means (spec 2.3).
const DEFAULT_FEED: &str = "baton_feed_event";

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
        let asked = &request.get_ref().event_feed_id;
        let given = if asked.is_empty() { DEFAULT_FEED } else { asked }.into();
        Err(Error::UnknownEventFeed { given }.into())
    }
}

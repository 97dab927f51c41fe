//! Event feeds. A failed call is not reported: ConductorOne retries on its own.

use tonic::transport::Channel;

use crate::agent::service::outcome::Outcome;
use crate::proto::connector::event_service_client::EventServiceClient;
use crate::proto::connector::{
    ListEventFeedsRequest, ListEventFeedsResponse, ListEventsRequest, ListEventsResponse,
};
use crate::proto::connectorapi::task::{ListEventFeedsTask, ListEventsTask};

pub(super) async fn list_feeds(connector: &Channel, _: ListEventFeedsTask) -> Outcome {
    let request = ListEventFeedsRequest::default();
    match EventServiceClient::new(connector.clone()).list_event_feeds(request).await {
        Ok(answer) => {
            let list = answer.into_inner().list;
            Outcome::answered(&ListEventFeedsResponse { list, ..Default::default() }, Vec::new())
        }
        Err(status) => Outcome::unreported(&status),
    }
}

pub(super) async fn list(connector: &Channel, task: ListEventsTask) -> Outcome {
    let ListEventsTask { cursor, start_at, event_feed_id, page_size, .. } = task;
    let request = ListEventsRequest { cursor, start_at, page_size, event_feed_id, annotations: Vec::new() };
    match EventServiceClient::new(connector.clone()).list_events(request).await {
        Ok(answer) => {
            let ListEventsResponse { events, cursor, has_more, .. } = answer.into_inner();
            let answer = ListEventsResponse { events, cursor, has_more, annotations: Vec::new() };
            Outcome::answered(&answer, Vec::new())
        }
        Err(status) => Outcome::unreported(&status),
    }
}

//! The events of a feed.

use prost_types::Timestamp;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tonic::transport::Channel;

use crate::agent::one_shot::answer::{Answer, Outcome};
use crate::agent::one_shot::error::OneShotError;
use crate::proto::connector::event_service_client::EventServiceClient;
use crate::proto::connector::{ListEventsRequest, ListEventsResponse};
use crate::proto::timestamp;

/// How many events are requested at a time.
const PAGE: u32 = 100;
/// Maximum number of events to print; the result contains the cursor at which to continue.
const MAX_EVENTS: usize = 100_000;

/// Lists the events since `start_at`, or of the last day if it is missing.
pub(super) async fn list(
    connector: &Channel,
    event_feed_id: String,
    start_at: Option<&str>,
    cursor: String,
) -> Result<Answer, OneShotError> {
    let mut client = EventServiceClient::new(connector.clone());
    let mut request = ListEventsRequest {
        cursor,
        start_at: Some(start(start_at)?),
        page_size: PAGE,
        event_feed_id,
        annotations: Vec::new(),
    };
    let mut all = ListEventsResponse::default();
    loop {
        let answer = client.list_events(request.clone()).await;
        let page = answer.map_err(OneShotError::call("ListEvents"))?.into_inner();
        all.events.extend(page.events);
        let stuck = page.cursor == request.cursor;
        (all.cursor, all.has_more) = (page.cursor.clone(), page.has_more);
        if !page.has_more || stuck || all.events.len() >= MAX_EVENTS {
            break;
        }
        request.cursor = page.cursor;
    }
    Answer::new("event_feed", Outcome::Read, Vec::new(), &all)
}

fn start(given: Option<&str>) -> Result<Timestamp, OneShotError> {
    let at = match given {
        Some(text) => OffsetDateTime::parse(text, &Rfc3339).map_err(|error| OneShotError::Value {
            name: "event-feed-start-at",
            problem: error.to_string(),
        })?,
        None => OffsetDateTime::now_utc() - Duration::DAY,
    };
    Ok(timestamp(at))
}

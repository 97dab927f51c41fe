//! The fields that actions and event feeds forward to the connector, and what their reports contain.

use super::{TIME, exchanged, note};
use crate::agent::service::outcome::Outcome;
use crate::agent::service::tasks::{actions, events};
use crate::proto::connector::{
    Event, EventFeedMetadata, GetActionSchemaRequest, GetActionSchemaResponse, GetActionStatusRequest,
    GetActionStatusResponse, InvokeActionRequest, InvokeActionResponse, ListActionSchemasRequest,
    ListActionSchemasResponse, ListEventFeedsRequest, ListEventFeedsResponse, ListEventsRequest,
    ListEventsResponse,
};
use crate::proto::connectorapi::task::{
    ActionGetSchemaTask, ActionInvokeTask, ActionListSchemasTask, ActionStatusTask, ListEventFeedsTask,
    ListEventsTask,
};
use crate::proto::{string, structure};

#[tokio::test]
async fn action_schemas_are_requested_with_all_fields() {
    let resource_type_id = "user".to_owned();
    let task =
        ActionListSchemasTask { annotations: vec![note("task")], resource_type_id: resource_type_id.clone() };
    let response = ListActionSchemasResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (ListActionSchemasRequest, _) =
        exchanged("ListActionSchemas", &response, async |connector| {
            actions::list_schemas(connector, task).await
        })
        .await;
    assert_eq!(request, ListActionSchemasRequest { annotations: vec![note("task")], resource_type_id });
    // The report itself has no annotations; those of the response are part of it.
    assert_eq!(outcome, Outcome::answered(&response, Vec::new()));

    let task = ActionGetSchemaTask { name: "act".to_owned(), annotations: vec![note("task")] };
    let response = GetActionSchemaResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (GetActionSchemaRequest, _) =
        exchanged("GetActionSchema", &response, async |connector| actions::get_schema(connector, task).await)
            .await;
    let expected = GetActionSchemaRequest { name: "act".to_owned(), annotations: vec![note("task")] };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, Vec::new()));
}

// Older connectors also use the name of an action to find its run.
#[allow(deprecated)]
#[tokio::test]
async fn an_action_is_run_and_queried_with_all_fields() {
    let args = Some(structure([("user", string("u1"))]));
    let task = ActionInvokeTask {
        name: "act".to_owned(),
        args: args.clone(),
        annotations: vec![note("task")],
        resource_type_id: "user".to_owned(),
    };
    let response = InvokeActionResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (InvokeActionRequest, _) =
        exchanged("InvokeAction", &response, async |connector| actions::invoke(connector, task).await).await;
    let expected = InvokeActionRequest {
        name: "act".to_owned(),
        args,
        annotations: vec![note("task")],
        resource_type_id: "user".to_owned(),
        inline_wait: None,
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, Vec::new()));

    let task =
        ActionStatusTask { name: "act".to_owned(), id: "i1".to_owned(), annotations: vec![note("task")] };
    let response = GetActionStatusResponse { annotations: vec![note("a")], ..Default::default() };
    let (request, outcome): (GetActionStatusRequest, _) =
        exchanged("GetActionStatus", &response, async |connector| actions::status(connector, task).await)
            .await;
    let expected = GetActionStatusRequest {
        name: "act".to_owned(),
        id: "i1".to_owned(),
        annotations: vec![note("task")],
    };
    assert_eq!(request, expected);
    assert_eq!(outcome, Outcome::answered(&response, Vec::new()));
}

#[tokio::test]
async fn events_are_requested_with_their_position_and_reported_without_annotations() {
    let task = ListEventsTask {
        annotations: vec![note("task")],
        cursor: "c1".to_owned(),
        start_at: Some(TIME),
        event_feed_id: "f1".to_owned(),
        page_size: 7,
    };
    let event = Event { id: "e1".to_owned(), occurred_at: Some(TIME), ..Default::default() };
    let response = ListEventsResponse {
        events: vec![event.clone()],
        cursor: "c2".to_owned(),
        has_more: true,
        annotations: vec![note("a")],
    };
    let (request, outcome): (ListEventsRequest, _) =
        exchanged("ListEvents", &response, async |connector| events::list(connector, task).await).await;
    let expected = ListEventsRequest {
        cursor: "c1".to_owned(),
        start_at: Some(TIME),
        page_size: 7,
        annotations: Vec::new(),
        event_feed_id: "f1".to_owned(),
    };
    assert_eq!(request, expected);
    let reported = ListEventsResponse { annotations: Vec::new(), ..response };
    assert_eq!(outcome, Outcome::answered(&reported, Vec::new()));
}

#[tokio::test]
async fn event_feeds_are_reported_without_annotations() {
    let list = vec![EventFeedMetadata { id: "f1".to_owned(), ..Default::default() }];
    let response = ListEventFeedsResponse { list, annotations: vec![note("a")] };
    let task = ListEventFeedsTask { annotations: vec![note("task")] };
    let (request, outcome): (ListEventFeedsRequest, _) =
        exchanged("ListEventFeeds", &response, async |connector| events::list_feeds(connector, task).await)
            .await;
    assert_eq!(request, ListEventFeedsRequest::default());
    let reported = ListEventFeedsResponse { annotations: Vec::new(), ..response };
    assert_eq!(outcome, Outcome::answered(&reported, Vec::new()));
}

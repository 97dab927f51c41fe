//! The fields that ticket tasks forward to the connector, and the annotations that they return.

use tonic::{Code, Status};

use super::{exchanged, note};
use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::tasks::answers::malformed;
use crate::agent::service::tasks::tests::recorder::Recorder;
use crate::agent::service::tasks::tickets;
use crate::proto::connector::{
    Ticket, TicketRequest, TicketSchema, TicketsServiceBulkCreateTicketsRequest,
    TicketsServiceBulkCreateTicketsResponse, TicketsServiceBulkGetTicketsRequest,
    TicketsServiceBulkGetTicketsResponse, TicketsServiceCreateTicketRequest,
    TicketsServiceCreateTicketResponse, TicketsServiceGetTicketRequest, TicketsServiceGetTicketResponse,
    TicketsServiceListTicketSchemasRequest, TicketsServiceListTicketSchemasResponse,
};
use crate::proto::connectorapi::task::{
    BulkCreateTicketsTask, BulkGetTicketsTask, CreateTicketTask, GetTicketTask, ListTicketSchemasTask,
};

fn ticket(id: &str) -> Option<Ticket> {
    Some(Ticket { id: id.to_owned(), ..Default::default() })
}

fn schemas(ids: std::ops::Range<usize>) -> Vec<TicketSchema> {
    ids.map(|id| TicketSchema { id: id.to_string(), ..Default::default() }).collect()
}

fn creation() -> CreateTicketTask {
    CreateTicketTask {
        ticket_request: Some(TicketRequest { display_name: "broken".to_owned(), ..Default::default() }),
        ticket_schema: Some(TicketSchema { id: "s1".to_owned(), ..Default::default() }),
        annotations: vec![note("task")],
    }
}

/// The request for this task.
fn created(task: CreateTicketTask) -> TicketsServiceCreateTicketRequest {
    TicketsServiceCreateTicketRequest {
        request: task.ticket_request,
        schema: task.ticket_schema,
        annotations: task.annotations,
    }
}

#[tokio::test]
async fn a_created_ticket_is_reported_with_the_annotations_of_both() {
    let response = TicketsServiceCreateTicketResponse {
        ticket: ticket("t1"),
        annotations: vec![note("a")],
        ..Default::default()
    };
    let (request, outcome): (TicketsServiceCreateTicketRequest, _) =
        exchanged("CreateTicket", &response, async |connector| tickets::create(connector, creation()).await)
            .await;
    assert_eq!(request, created(creation()));
    let both = vec![note("a"), note("task")];
    let reported = TicketsServiceCreateTicketResponse { annotations: both.clone(), ..response };
    assert_eq!(outcome, Outcome::answered(&reported, both));
}

#[tokio::test]
async fn a_ticket_is_requested_by_its_id_only() {
    let task = GetTicketTask { ticket_id: "t1".to_owned(), annotations: vec![note("task")] };
    let response = TicketsServiceGetTicketResponse {
        ticket: ticket("t1"),
        annotations: vec![note("a")],
        error: "noise".to_owned(),
    };
    let (request, outcome): (TicketsServiceGetTicketRequest, _) =
        exchanged("GetTicket", &response, async |connector| tickets::get(connector, task).await).await;
    assert_eq!(request, TicketsServiceGetTicketRequest { id: "t1".to_owned(), annotations: Vec::new() });
    let both = vec![note("a"), note("task")];
    let reported = TicketsServiceGetTicketResponse {
        ticket: ticket("t1"),
        annotations: both.clone(),
        error: String::new(),
    };
    assert_eq!(outcome, Outcome::answered(&reported, both));
}

#[tokio::test]
async fn a_failed_ticket_task_returns_its_annotations() {
    // A connector without responses, which implements no call.
    let connector = Recorder::default();
    let channel = connector.channel().await;
    let annotations = vec![note("task")];
    let incomplete = CreateTicketTask { ticket_request: None, ..creation() };
    let nameless = GetTicketTask { ticket_id: String::new(), annotations: annotations.clone() };
    assert_eq!(
        tickets::create(&channel, incomplete).await,
        malformed("create ticket").with(annotations.clone()).into()
    );
    assert_eq!(
        tickets::get(&channel, nameless).await,
        malformed("get ticket").with(annotations.clone()).into()
    );
    assert!(connector.methods().is_empty());
    let failed = Failure::of_status(&Status::new(Code::Unimplemented, "")).with(annotations);
    assert_eq!(tickets::create(&channel, creation()).await, failed.into());
    assert_eq!(connector.methods(), ["CreateTicket"]);
}

#[tokio::test]
async fn bulk_tasks_forward_each_ticket() {
    let task = BulkCreateTicketsTask { ticket_requests: vec![creation(), creation()] };
    let one = TicketsServiceCreateTicketResponse { ticket: ticket("t1"), ..Default::default() };
    let response = TicketsServiceBulkCreateTicketsResponse { tickets: vec![one.clone(), one] };
    let (request, outcome): (TicketsServiceBulkCreateTicketsRequest, _) =
        exchanged("BulkCreateTickets", &response, async |connector| {
            tickets::bulk_create(connector, task).await
        })
        .await;
    assert_eq!(request.ticket_requests, [created(creation()), created(creation())]);
    assert_eq!(outcome, Outcome::answered(&response, Vec::new()));

    let asked = ["t1", "t2"]
        .map(|id| GetTicketTask { ticket_id: id.to_owned(), annotations: vec![note(id)] })
        .to_vec();
    let requests = ["t1", "t2"]
        .map(|id| TicketsServiceGetTicketRequest { id: id.to_owned(), annotations: vec![note(id)] });
    let one = TicketsServiceGetTicketResponse { ticket: ticket("t1"), ..Default::default() };
    for (count, is_whole) in [(2, true), (1, false)] {
        let response = TicketsServiceBulkGetTicketsResponse { tickets: vec![one.clone(); count] };
        let task = BulkGetTicketsTask { ticket_requests: asked.clone() };
        let (request, outcome): (TicketsServiceBulkGetTicketsRequest, _) =
            exchanged("BulkGetTickets", &response, async |connector| {
                tickets::bulk_get(connector, task).await
            })
            .await;
        assert_eq!(request.ticket_requests, requests);
        let wrong = Failure::plain("connector returned incorrect number of tickets").permanent();
        let expected = if is_whole { Outcome::answered(&response, Vec::new()) } else { wrong.into() };
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn ticket_schemas_are_collected_from_all_pages_up_to_a_hundred() {
    let page = |ids, next: &str| TicketsServiceListTicketSchemasResponse {
        list: schemas(ids),
        next_page_token: next.to_owned(),
        annotations: vec![note("a")],
    };
    let reported = |count| {
        let list = schemas(0..count);
        Outcome::answered(&TicketsServiceListTicketSchemasResponse { list, ..Default::default() }, Vec::new())
    };
    let run = async |pages: Vec<TicketsServiceListTicketSchemasResponse>| {
        let connector = pages.iter().fold(Recorder::default(), |connector, page| connector.and(page));
        let task = ListTicketSchemasTask { annotations: vec![note("task")] };
        let outcome = tickets::list_schemas(&connector.channel().await, task).await;
        let requests = connector.requests::<TicketsServiceListTicketSchemasRequest>("ListTicketSchemas");
        (requests.into_iter().map(|request| request.page_token).collect::<Vec<_>>(), outcome)
    };
    let (tokens, outcome) = run(vec![page(0..40, "p2"), page(40..70, "")]).await;
    assert_eq!((tokens, outcome), (vec![String::new(), "p2".to_owned()], reported(70)));
    let (tokens, outcome) = run(vec![page(0..60, "p2"), page(60..130, "p3"), page(130..140, "")]).await;
    assert_eq!((tokens.len(), outcome), (2, reported(100)));
    // An empty page ends the list.
    let (tokens, outcome) = run(vec![page(0..1, "p2"), page(0..0, "p3"), page(1..2, "")]).await;
    assert_eq!((tokens.len(), outcome), (2, reported(1)));
    let (_, outcome) = run(vec![page(0..0, "")]).await;
    assert_eq!(outcome, Failure::plain("connector returned no ticket schemas").into());
    // A failed page ends the task without a report.
    let (tokens, outcome) = run(vec![page(0..1, "p2")]).await;
    assert_eq!(
        (tokens.len(), outcome),
        (2, Outcome::Unreported("the connector answered Unimplemented".to_owned()))
    );
}

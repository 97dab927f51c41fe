//! Tickets. ConductorOne may retry all of these tasks, and receives the annotations of its task back.

use prost_types::Any;
use tonic::transport::Channel;

use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::tasks::answers::{ended, malformed, or_again};
use crate::proto::connector::tickets_service_client::TicketsServiceClient;
use crate::proto::connector::{
    TicketSchema, TicketsServiceBulkCreateTicketsRequest, TicketsServiceBulkGetTicketsRequest,
    TicketsServiceCreateTicketRequest, TicketsServiceGetTicketRequest, TicketsServiceGetTicketResponse,
    TicketsServiceListTicketSchemasRequest, TicketsServiceListTicketSchemasResponse,
};
use crate::proto::connectorapi::task::{
    BulkCreateTicketsTask, BulkGetTicketsTask, CreateTicketTask, GetTicketTask, ListTicketSchemasTask,
};

/// Maximum number of schemas in a report.
const MAX_SCHEMAS: usize = 100;

pub(super) async fn create(connector: &Channel, task: CreateTicketTask) -> Outcome {
    let annotations = task.annotations.clone();
    let Some(request) = create_request(task) else {
        return malformed("create ticket").with(annotations).into();
    };
    let answer = TicketsServiceClient::new(connector.clone()).create_ticket(request).await;
    match or_again(answer) {
        Ok(mut answer) => {
            answer.annotations.extend(annotations);
            let annotations = answer.annotations.clone();
            Outcome::answered(&answer, annotations)
        }
        Err(failure) => failure.with(annotations).into(),
    }
}

pub(super) async fn get(connector: &Channel, task: GetTicketTask) -> Outcome {
    let GetTicketTask { ticket_id, annotations } = task;
    if ticket_id.is_empty() {
        return malformed("get ticket").with(annotations).into();
    }
    let request = TicketsServiceGetTicketRequest { id: ticket_id, annotations: Vec::new() };
    let answer = TicketsServiceClient::new(connector.clone()).get_ticket(request).await;
    let answer = or_again(answer).and_then(|answer| found(answer, &annotations));
    match answer {
        Ok(answer) => {
            let annotations = answer.annotations.clone();
            Outcome::answered(&answer, annotations)
        }
        Err(failure) => failure.with(annotations).into(),
    }
}

/// The ticket of a response and its annotations, with the annotations of the task appended. All other fields
/// are dropped.
fn found(
    answer: TicketsServiceGetTicketResponse,
    annotations: &[Any],
) -> Result<TicketsServiceGetTicketResponse, Failure> {
    let Some(ticket) = answer.ticket.filter(|ticket| !ticket.id.is_empty()) else {
        return Err(Failure::plain("connector returned empty ticket").permanent());
    };
    let annotations = answer.annotations.into_iter().chain(annotations.iter().cloned()).collect();
    Ok(TicketsServiceGetTicketResponse { ticket: Some(ticket), annotations, ..Default::default() })
}

pub(super) async fn list_schemas(connector: &Channel, _: ListTicketSchemasTask) -> Outcome {
    let mut list: Vec<TicketSchema> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request =
            TicketsServiceListTicketSchemasRequest { page_token: page_token.clone(), ..Default::default() };
        let answer = match TicketsServiceClient::new(connector.clone()).list_ticket_schemas(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Outcome::unreported(&status),
        };
        let empty = answer.list.is_empty();
        list.extend(answer.list);
        // Ends the loop for a connector that returns empty pages, or the same page, endlessly.
        if list.len() >= MAX_SCHEMAS || empty || matches!(answer.next_page_token.as_str(), "") {
            break;
        }
        page_token = answer.next_page_token;
    }
    list.truncate(MAX_SCHEMAS);
    if list.is_empty() {
        return Failure::plain("connector returned no ticket schemas").into();
    }
    let answer = TicketsServiceListTicketSchemasResponse { list, ..Default::default() };
    Outcome::answered(&answer, Vec::new())
}

pub(super) async fn bulk_create(connector: &Channel, task: BulkCreateTicketsTask) -> Outcome {
    let count = task.ticket_requests.len();
    let requests: Option<Vec<_>> = task.ticket_requests.into_iter().map(create_request).collect();
    let Some(ticket_requests) = requests.filter(|requests| !requests.is_empty()) else {
        return malformed("bulk create ticket").into();
    };
    let request = TicketsServiceBulkCreateTicketsRequest { ticket_requests };
    let answer = TicketsServiceClient::new(connector.clone()).bulk_create_tickets(request).await;
    ended(or_again(answer).and_then(|answer| {
        as_many(answer.tickets.len(), count)?;
        Ok(Outcome::answered(&answer, Vec::new()))
    }))
}

pub(super) async fn bulk_get(connector: &Channel, task: BulkGetTicketsTask) -> Outcome {
    let count = task.ticket_requests.len();
    if count == 0 || task.ticket_requests.iter().any(|task| task.ticket_id.is_empty()) {
        return malformed("bulk get tickets").into();
    }
    let request = |task: GetTicketTask| TicketsServiceGetTicketRequest {
        id: task.ticket_id,
        annotations: task.annotations,
    };
    let ticket_requests = task.ticket_requests.into_iter().map(request).collect();
    let request = TicketsServiceBulkGetTicketsRequest { ticket_requests };
    let answer = TicketsServiceClient::new(connector.clone()).bulk_get_tickets(request).await;
    ended(or_again(answer).and_then(|answer| {
        as_many(answer.tickets.len(), count)?;
        Ok(Outcome::answered(&answer, Vec::new()))
    }))
}

fn create_request(task: CreateTicketTask) -> Option<TicketsServiceCreateTicketRequest> {
    let CreateTicketTask { ticket_request, ticket_schema, annotations } = task;
    Some(TicketsServiceCreateTicketRequest {
        request: Some(ticket_request?),
        schema: ticket_schema,
        annotations,
    })
}

fn as_many(found: usize, asked: usize) -> Result<(), Failure> {
    if found == asked {
        Ok(())
    } else {
        Err(Failure::plain("connector returned incorrect number of tickets").permanent())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::connector::Ticket;

    #[test]
    fn returns_a_ticket_with_the_annotations_of_the_task() {
        let annotation = |name: &str| Any { type_url: name.to_owned(), value: Vec::new() };
        let ticket = Some(Ticket { id: "t1".to_owned(), ..Default::default() });
        let answer = TicketsServiceGetTicketResponse {
            ticket: ticket.clone(),
            annotations: vec![annotation("a")],
            error: "noise".to_owned(),
        };
        let found = found(answer, &[annotation("b")]).unwrap();
        assert_eq!((found.ticket, found.error.as_str()), (ticket, ""));
        assert_eq!(found.annotations, [annotation("a"), annotation("b")]);
        let nothing = super::found(TicketsServiceGetTicketResponse::default(), &[]).unwrap_err();
        assert!(nothing.is_final());
    }

    #[test]
    fn a_bulk_response_must_have_the_requested_count() {
        assert!(as_many(2, 2).is_ok());
        assert!(as_many(1, 2).unwrap_err().is_final());
    }
}

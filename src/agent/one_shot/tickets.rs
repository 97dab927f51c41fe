//! Tickets, for connectors that support them.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tonic::transport::Channel;

use crate::agent::one_shot::answer::{Answer, Outcome};
use crate::agent::one_shot::error::OneShotError;
use crate::operator_file;
use crate::proto::connector::tickets_service_client::TicketsServiceClient;
use crate::proto::connector::{
    TicketRequest, TicketSchema, TicketStatus, TicketType, TicketsServiceBulkCreateTicketsRequest,
    TicketsServiceCreateTicketRequest, TicketsServiceGetTicketRequest, TicketsServiceGetTicketSchemaRequest,
    TicketsServiceListTicketSchemasRequest, TicketsServiceListTicketSchemasResponse,
};

/// How many ticket schemas are requested at a time, and the maximum number of pages.
const PAGE: u32 = 100;
const MAX_PAGES: usize = 100;

/// A ticket in a template.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Template {
    schema_id: String,
    display_name: String,
    description: String,
    status_id: String,
    type_id: String,
    labels: Vec<String>,
}

/// Several tickets in a template.
#[derive(Deserialize)]
struct Templates {
    #[serde(default)]
    tickets: Vec<Template>,
}

pub(super) async fn list_schemas(connector: &Channel) -> Result<Answer, OneShotError> {
    let mut client = TicketsServiceClient::new(connector.clone());
    let mut all = TicketsServiceListTicketSchemasResponse::default();
    let mut page_token = String::new();
    for _ in 0..MAX_PAGES {
        let request =
            TicketsServiceListTicketSchemasRequest { page_size: PAGE, page_token, ..Default::default() };
        let answer = client.list_ticket_schemas(request).await;
        let page = answer.map_err(OneShotError::call("ListTicketSchemas"))?.into_inner();
        all.list.extend(page.list);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Answer::new("list_ticket_schemas", Outcome::Read, Vec::new(), &all)
}

pub(super) async fn get(connector: &Channel, id: String) -> Result<Answer, OneShotError> {
    let request = TicketsServiceGetTicketRequest { id, ..Default::default() };
    let answer = TicketsServiceClient::new(connector.clone()).get_ticket(request).await;
    let answer = answer.map_err(OneShotError::call("GetTicket"))?.into_inner();
    Answer::new("get_ticket", Outcome::Read, Vec::new(), &answer)
}

pub(super) async fn create(connector: &Channel, path: &Path) -> Result<Answer, OneShotError> {
    let template: Template = read(path)?;
    let request = request(connector, template).await?;
    let answer = TicketsServiceClient::new(connector.clone()).create_ticket(request).await;
    let answer = answer.map_err(OneShotError::call("CreateTicket"))?.into_inner();
    Answer::new("create_ticket", Outcome::Changed, Vec::new(), &answer)
}

pub(super) async fn bulk_create(connector: &Channel, path: &Path) -> Result<Answer, OneShotError> {
    let templates: Templates = read(path)?;
    let mut ticket_requests = Vec::new();
    for template in templates.tickets {
        ticket_requests.push(request(connector, template).await?);
    }
    let request = TicketsServiceBulkCreateTicketsRequest { ticket_requests };
    let answer = TicketsServiceClient::new(connector.clone()).bulk_create_tickets(request).await;
    let answer = answer.map_err(OneShotError::call("BulkCreateTickets"))?.into_inner();
    Answer::new("bulk_create_ticket", Outcome::Changed, Vec::new(), &answer)
}

/// Builds the request for a ticket, with the ticket's schema from the connector.
async fn request(
    connector: &Channel,
    template: Template,
) -> Result<TicketsServiceCreateTicketRequest, OneShotError> {
    const METHOD: &str = "GetTicketSchema";
    let request = TicketsServiceGetTicketSchemaRequest { id: template.schema_id, ..Default::default() };
    let answer = TicketsServiceClient::new(connector.clone()).get_ticket_schema(request).await;
    let schema: Option<TicketSchema> = answer.map_err(OneShotError::call(METHOD))?.into_inner().schema;
    let schema = schema.ok_or(OneShotError::Incomplete { method: METHOD, what: "a schema" })?;
    let named = |id: &String| !id.is_empty();
    let ticket = TicketRequest {
        display_name: template.display_name,
        description: template.description,
        status: Some(template.status_id).filter(named).map(|id| TicketStatus { id, ..Default::default() }),
        r#type: Some(template.type_id).filter(named).map(|id| TicketType { id, ..Default::default() }),
        labels: template.labels,
        ..Default::default()
    };
    Ok(TicketsServiceCreateTicketRequest {
        request: Some(ticket),
        schema: Some(schema),
        ..Default::default()
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, OneShotError> {
    let wrong = |problem: String| OneShotError::Template { path: path.to_owned(), problem };
    let text = operator_file::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| {
        wrong(format!(
            "it is not a ticket template (line {}, column {}): a JSON object with schema_id and display_name",
            error.line(),
            error.column()
        ))
    })
}

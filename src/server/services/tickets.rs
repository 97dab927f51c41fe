//! `TicketsService`: Retool has no tickets. If ticketing is off, the error reports this first.

use tonic::{Request, Response, Status};

use crate::proto::connector::tickets_service_server::TicketsService;
use crate::proto::connector::{
    TicketsServiceBulkCreateTicketsRequest, TicketsServiceBulkCreateTicketsResponse,
    TicketsServiceBulkGetTicketsRequest, TicketsServiceBulkGetTicketsResponse,
    TicketsServiceCreateTicketRequest, TicketsServiceCreateTicketResponse, TicketsServiceGetTicketRequest,
    TicketsServiceGetTicketResponse, TicketsServiceGetTicketSchemaRequest,
    TicketsServiceGetTicketSchemaResponse, TicketsServiceListTicketSchemasRequest,
    TicketsServiceListTicketSchemasResponse,
};
use crate::server::services::Services;

#[tonic::async_trait]
impl TicketsService for Services {
    async fn create_ticket(
        &self,
        _: Request<TicketsServiceCreateTicketRequest>,
    ) -> Result<Response<TicketsServiceCreateTicketResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }

    async fn get_ticket(
        &self,
        _: Request<TicketsServiceGetTicketRequest>,
    ) -> Result<Response<TicketsServiceGetTicketResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }

    async fn list_ticket_schemas(
        &self,
        _: Request<TicketsServiceListTicketSchemasRequest>,
    ) -> Result<Response<TicketsServiceListTicketSchemasResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }

    async fn get_ticket_schema(
        &self,
        _: Request<TicketsServiceGetTicketSchemaRequest>,
    ) -> Result<Response<TicketsServiceGetTicketSchemaResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }

    async fn bulk_create_tickets(
        &self,
        _: Request<TicketsServiceBulkCreateTicketsRequest>,
    ) -> Result<Response<TicketsServiceBulkCreateTicketsResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }

    async fn bulk_get_tickets(
        &self,
        _: Request<TicketsServiceBulkGetTicketsRequest>,
    ) -> Result<Response<TicketsServiceBulkGetTicketsResponse>, Status> {
        Err(self.connector.refuse_tickets().into())
    }
}

//! `ActionService`: what can be done to an account. The schemas can always be read; running an action is
//! a change and needs provisioning (decision D33).

use tonic::{Request, Response, Status};

use super::Service;
use crate::proto::connector::action_service_server::ActionService;
use crate::proto::connector::{
    GetActionSchemaRequest, GetActionSchemaResponse, GetActionStatusRequest, GetActionStatusResponse,
    InvokeActionRequest, InvokeActionResponse, ListActionSchemasRequest, ListActionSchemasResponse,
};

#[tonic::async_trait]
impl ActionService for Service {
    async fn list_action_schemas(
        &self,
        request: Request<ListActionSchemasRequest>,
    ) -> Result<Response<ListActionSchemasResponse>, Status> {
        let schemas = self.connector.action_schemas(&request.get_ref().resource_type_id);
        Ok(Response::new(ListActionSchemasResponse { schemas, ..Default::default() }))
    }

    async fn get_action_schema(
        &self,
        request: Request<GetActionSchemaRequest>,
    ) -> Result<Response<GetActionSchemaResponse>, Status> {
        let schema = self.connector.action_schema(&request.get_ref().name)?;
        Ok(Response::new(GetActionSchemaResponse { schema: Some(schema), ..Default::default() }))
    }

    async fn invoke_action(
        &self,
        _: Request<InvokeActionRequest>,
    ) -> Result<Response<InvokeActionResponse>, Status> {
        Err(self.connector.refuse("XTODO").into())
    }

    async fn get_action_status(
        &self,
        _: Request<GetActionStatusRequest>,
    ) -> Result<Response<GetActionStatusResponse>, Status> {
        Err(self.connector.refuse("XTODO").into())
    }
}

//! `ActionService`: the actions on an account. The schemas can always be read. Running an action is a change
//! and requires provisioning.

use tonic::{Request, Response, Status};

use crate::connector::actions::runs::RunReport;
use crate::proto::connector::action_service_server::ActionService;
use crate::proto::connector::{
    GetActionSchemaRequest, GetActionSchemaResponse, GetActionStatusRequest, GetActionStatusResponse,
    InvokeActionRequest, InvokeActionResponse, ListActionSchemasRequest, ListActionSchemasResponse,
};
use crate::server::services::Services;
use crate::server::services::caller::caller;

#[tonic::async_trait]
impl ActionService for Services {
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
        request: Request<InvokeActionRequest>,
    ) -> Result<Response<InvokeActionResponse>, Status> {
        let caller = caller(&request, &request.get_ref().annotations);
        let time = self.time(&request);
        let request = request.into_inner();
        let wait = self.action_wait.of(request.inline_wait.as_ref(), time);
        let run = self.connector.invoke_action(request, &caller, wait).await?;
        let RunReport { status, response, annotations } = run.report();
        let (id, name) = (run.id.clone(), run.name.to_owned());
        Ok(Response::new(InvokeActionResponse { id, status: status.into(), annotations, response, name }))
    }

    async fn get_action_status(
        &self,
        request: Request<GetActionStatusRequest>,
    ) -> Result<Response<GetActionStatusResponse>, Status> {
        let run = self.connector.action_run(&request.get_ref().id)?;
        let RunReport { status, response, annotations } = run.report();
        let (id, name) = (run.id.clone(), run.name.to_owned());
        Ok(Response::new(GetActionStatusResponse { name, id, status: status.into(), annotations, response }))
    }
}

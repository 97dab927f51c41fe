//! `ActionService`: the actions on an account. The schemas can always be read. Running an action is a change
//! and requires provisioning.

use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::connector::actions::runs::RunReport;
use crate::proto::connector::action_service_server::ActionService;
use crate::proto::connector::{
    GetActionSchemaRequest, GetActionSchemaResponse, GetActionStatusRequest, GetActionStatusResponse,
    InvokeActionRequest, InvokeActionResponse, ListActionSchemasRequest, ListActionSchemasResponse,
};
use crate::server::services::Services;
use crate::server::services::caller::caller;
use crate::server::transport::deadline::requested_timeout;

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
        let deadline = requested_timeout(request.metadata().as_ref())
            .map_or(self.deadline, |requested| requested.min(self.deadline));
        let request = request.into_inner();
        let wait = inline_wait(request.inline_wait.as_ref(), deadline);
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

/// How long an answer waits for the end of the action if the request does not say.
const USUAL_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the end of the action.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// The most time of the call that is reserved for the answer.
const SPARE: Duration = Duration::from_secs(3);

/// How long to wait for an action. The answer that the action is still running must be sent before the
/// deadline of the call.
fn inline_wait(asked: Option<&prost_types::Duration>, deadline: Duration) -> Duration {
    let asked = asked.and_then(|asked| Duration::try_from(*asked).ok());
    let wait = asked.filter(|asked| !asked.is_zero()).unwrap_or(USUAL_WAIT);
    wait.min(LONGEST_WAIT).min(deadline.saturating_sub(SPARE.min(deadline / 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_for_an_action_ends_before_the_deadline_of_the_call() {
        let seconds = Duration::from_secs;
        let asked = |seconds| prost_types::Duration { seconds, nanos: 0 };
        for (given, deadline, wait) in [
            (None, seconds(300), seconds(1)),
            (Some(asked(0)), seconds(300), seconds(1)),
            (Some(asked(20)), seconds(300), seconds(20)),
            (Some(asked(400)), seconds(300), seconds(297)),
            (Some(asked(7200)), seconds(10_000), seconds(3600)),
            (Some(asked(20)), seconds(2), Duration::from_millis(1500)),
            (None, seconds(1), Duration::from_millis(750)),
        ] {
            assert_eq!(inline_wait(given.as_ref(), deadline), wait, "{given:?} {deadline:?}");
        }
    }
}

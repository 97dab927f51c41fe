//! Actions: listing them, and running one to its end.

use std::time::Duration;

use prost_types::Struct;
use tokio::time::sleep;
use tonic::transport::Channel;

use crate::agent::one_shot::answer::{Answer, Outcome, dry_run, is_dry_run, is_unchanged, text_of};
use crate::agent::one_shot::changes::object;
use crate::agent::one_shot::error::OneShotError;
use crate::proto::connector::action_service_client::ActionServiceClient;
use crate::proto::connector::{
    BatonActionStatus, GetActionStatusRequest, InvokeActionRequest, InvokeActionResponse,
    ListActionSchemasRequest,
};
use crate::proto::json_of_structure;

/// How long the first call waits for the end of the action.
const INLINE_WAIT: Duration = Duration::from_secs(30);
/// The interval between status requests.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn list(connector: &Channel, resource_type_id: String) -> Result<Answer, OneShotError> {
    let request = ListActionSchemasRequest { resource_type_id, ..Default::default() };
    let answer = ActionServiceClient::new(connector.clone()).list_action_schemas(request).await;
    let answer = answer.map_err(OneShotError::call("ListActionSchemas"))?.into_inner();
    Answer::new("list_action_schemas", Outcome::Read, Vec::new(), &answer)
}

/// Runs an action and waits for its end. The connector limits how long an action can run.
pub(super) async fn invoke(
    connector: &Channel,
    name: String,
    args: Option<&str>,
    resource_type_id: String,
) -> Result<Answer, OneShotError> {
    let mut client = ActionServiceClient::new(connector.clone());
    let request = InvokeActionRequest {
        name: name.clone(),
        args: Some(object("invoke-action-args", args)?),
        resource_type_id,
        inline_wait: prost_types::Duration::try_from(INLINE_WAIT).ok(),
        ..Default::default()
    };
    let answer = client.invoke_action(request).await;
    let mut run = answer.map_err(OneShotError::call("InvokeAction"))?.into_inner();
    while matches!(run.status(), BatonActionStatus::Pending | BatonActionStatus::Running) {
        sleep(INTERVAL).await;
        let request = GetActionStatusRequest { id: run.id.clone(), ..Default::default() };
        let answer = client.get_action_status(request).await;
        let answer = answer.map_err(OneShotError::call("GetActionStatus"))?.into_inner();
        run = InvokeActionResponse {
            id: answer.id,
            name: answer.name,
            status: answer.status,
            annotations: answer.annotations,
            response: answer.response,
        };
    }
    let outcome = outcome(&run)?;
    Answer::new("invoke_action", outcome, vec![("action", name)], &run)
}

fn outcome(run: &InvokeActionResponse) -> Result<Outcome, OneShotError> {
    let nothing = Struct::default();
    let response = run.response.as_ref().unwrap_or(&nothing);
    match run.status() {
        // A dry run has its own outcome, so that it cannot be mistaken for a change.
        _ if is_dry_run(response) => {
            let text = text_of(response, "error");
            let would = text.strip_prefix("dry run: would ").unwrap_or(&text);
            Ok(Outcome::DryRun(would.trim_end_matches("; nothing was done").to_owned()))
        }
        BatonActionStatus::Complete => Ok(match dry_run(&run.annotations) {
            Some(would) => Outcome::DryRun(would),
            None if is_unchanged(&run.annotations) => Outcome::Unchanged,
            None => Outcome::Changed,
        }),
        _ => Err(OneShotError::ActionFailed(json_of_structure(response)?)),
    }
}

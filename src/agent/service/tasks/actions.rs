//! Actions: listing them, running one, and querying its status. ConductorOne may retry all of these tasks.

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::transport::Channel;

use crate::agent::service::outcome::{Failure, Outcome};
use crate::agent::service::tasks::answers::{ended, or_again};
use crate::proto::connector::action_service_client::ActionServiceClient;
use crate::proto::connector::{
    BatonActionStatus, GetActionSchemaRequest, GetActionStatusRequest, InvokeActionRequest,
    InvokeActionResponse, ListActionSchemasRequest,
};
use crate::proto::connectorapi::task::{
    ActionGetSchemaTask, ActionInvokeTask, ActionListSchemasTask, ActionStatusTask,
};

pub(super) async fn list_schemas(connector: &Channel, task: ActionListSchemasTask) -> Outcome {
    let ActionListSchemasTask { annotations, resource_type_id } = task;
    let request = ListActionSchemasRequest { annotations, resource_type_id };
    let answer = ActionServiceClient::new(connector.clone()).list_action_schemas(request).await;
    ended(or_again(answer).map(|answer| Outcome::answered(&answer, Vec::new())))
}

pub(super) async fn get_schema(connector: &Channel, task: ActionGetSchemaTask) -> Outcome {
    let ActionGetSchemaTask { name, annotations } = task;
    if name.is_empty() {
        return Failure::plain("action name required").into();
    }
    let request = GetActionSchemaRequest { name, annotations };
    let answer = ActionServiceClient::new(connector.clone()).get_action_schema(request).await;
    ended(or_again(answer).map(|answer| Outcome::answered(&answer, Vec::new())))
}

pub(super) async fn invoke(connector: &Channel, task: ActionInvokeTask) -> Outcome {
    let ActionInvokeTask { name, args, annotations, resource_type_id } = task;
    if name.is_empty() {
        return Failure::plain("action name required").into();
    }
    let request = InvokeActionRequest { name, args, annotations, resource_type_id, inline_wait: None };
    let answer = ActionServiceClient::new(connector.clone()).invoke_action(request).await;
    ended(or_again(answer).and_then(invoked))
}

/// A failed action is a failed task; an action that is still running is a finished task.
fn invoked(answer: InvokeActionResponse) -> Result<Outcome, Failure> {
    if answer.status() != BatonActionStatus::Failed {
        return Ok(Outcome::answered(&answer, Vec::new()));
    }
    let error = answer.response.as_ref().and_then(message_of);
    Err(Failure::plain(error.unwrap_or("action failed")))
}

/// The error in an action's response.
fn message_of(response: &Struct) -> Option<&str> {
    match response.fields.get("error") {
        Some(Value { kind: Some(Kind::StringValue(error)) }) => Some(error),
        _ => None,
    }
}

// Older connectors also use the name.
#[allow(deprecated)]
pub(super) async fn status(connector: &Channel, task: ActionStatusTask) -> Outcome {
    let ActionStatusTask { name, id, annotations } = task;
    if id.is_empty() {
        return Failure::plain("action id required").into();
    }
    let request = GetActionStatusRequest { name, id, annotations };
    let answer = ActionServiceClient::new(connector.clone()).get_action_status(request).await;
    ended(or_again(answer).map(|answer| Outcome::answered(&answer, Vec::new())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proto::{number, string, structure};

    #[test]
    fn a_failed_action_is_a_failed_task() {
        let answer = |status: BatonActionStatus, response| InvokeActionResponse {
            status: status.into(),
            response,
            ..Default::default()
        };
        let failed = |response| invoked(answer(BatonActionStatus::Failed, response)).unwrap_err();
        assert_eq!(
            failed(Some(structure([("error", string("no such user"))]))),
            Failure::plain("no such user")
        );
        assert_eq!(failed(Some(structure([("error", number(1.0))]))), Failure::plain("action failed"));
        assert_eq!(failed(None), Failure::plain("action failed"));
        for status in [BatonActionStatus::Pending, BatonActionStatus::Running, BatonActionStatus::Complete] {
            assert!(invoked(answer(status, None)).is_ok());
        }
    }
}

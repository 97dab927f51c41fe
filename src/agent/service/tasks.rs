//! The connector calls of each kind of task, and the report of its result.

mod actions;
mod answers;
mod changes;
mod ended;
mod events;
mod hello;
mod kind;
mod resources;
mod sync;
#[cfg(test)]
mod tests;
mod tickets;

use crate::agent::service::context::Context;
use crate::agent::service::debug_log;
use crate::agent::service::outcome::Failure;
use crate::proto::connectorapi::Task;
use crate::proto::connectorapi::task::TaskType;

pub(super) use ended::Ended;
pub(super) use kind::Kind;

/// Runs a task to its end without retries: the connector retries what it can, and ConductorOne retries the
/// rest.
pub(super) async fn run(context: &Context, task: Task) -> Ended {
    let Task { id, debug, task_type, .. } = task;
    let connector = &context.connector;
    let writing = if debug { debug_log::begin(context.sync.temp_dir.as_deref()) } else { None };
    match task_type {
        Some(TaskType::SyncFull(task)) => sync::full(context, &id, task, writing.as_ref()).await,
        Some(TaskType::Hello(_)) => hello::hello(context, &id).await.into(),
        Some(TaskType::Grant(task)) => changes::grant(connector, task).await.into(),
        Some(TaskType::Revoke(task)) => changes::revoke(connector, task).await.into(),
        Some(TaskType::CreateAccount(task)) => changes::create_account(connector, task).await.into(),
        Some(TaskType::CreateResource(task)) => resources::create(connector, task).await.into(),
        Some(TaskType::DeleteResource(task)) => resources::delete(connector, task).await.into(),
        Some(TaskType::RotateCredentials(task)) => {
            resources::rotate_credentials(connector, task).await.into()
        }
        Some(TaskType::IssueCredential(task)) => {
            resources::issue_credential(connector, &id, task).await.into()
        }
        Some(TaskType::CreateTicketTask(task)) => tickets::create(connector, task).await.into(),
        Some(TaskType::ListTicketSchemas(task)) => tickets::list_schemas(connector, task).await.into(),
        Some(TaskType::GetTicket(task)) => tickets::get(connector, task).await.into(),
        Some(TaskType::BulkCreateTickets(task)) => tickets::bulk_create(connector, task).await.into(),
        Some(TaskType::BulkGetTickets(task)) => tickets::bulk_get(connector, task).await.into(),
        Some(TaskType::ActionListSchemas(task)) => actions::list_schemas(connector, task).await.into(),
        Some(TaskType::ActionGetSchema(task)) => actions::get_schema(connector, task).await.into(),
        Some(TaskType::ActionInvoke(task)) => actions::invoke(connector, task).await.into(),
        Some(TaskType::ActionStatus(task)) => actions::status(connector, task).await.into(),
        Some(TaskType::ListEventFeeds(task)) => events::list_feeds(connector, task).await.into(),
        Some(TaskType::ListEvents(task)) => events::list(connector, task).await.into(),
        // Another version of the program may support it.
        Some(
            TaskType::None(_)
            | TaskType::EventFeed(_)
            | TaskType::CreateSyncDiff(_)
            | TaskType::CompactSyncs(_),
        )
        | None => Failure::plain("unsupported task type").into(),
    }
}

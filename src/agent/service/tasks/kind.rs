//! The kinds of tasks.

use crate::proto::connectorapi::Task;
use crate::proto::connectorapi::task::TaskType;

/// The kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Hello,
    SyncFull,
    Grant,
    Revoke,
    CreateAccount,
    CreateResource,
    DeleteResource,
    RotateCredentials,
    IssueCredential,
    EventFeed,
    CreateTicket,
    ListTicketSchemas,
    GetTicket,
    BulkCreateTickets,
    BulkGetTickets,
    ListActionSchemas,
    GetActionSchema,
    InvokeAction,
    ActionStatus,
    CreateSyncDiff,
    CompactSyncs,
    ListEventFeeds,
    ListEvents,
    Unknown,
}

impl Kind {
    /// The kind of a task; unknown for a kind that a later version of the protocol adds.
    pub(crate) fn of(task: &Task) -> Self {
        match &task.task_type {
            Some(TaskType::None(_)) => Self::None,
            Some(TaskType::Hello(_)) => Self::Hello,
            Some(TaskType::SyncFull(_)) => Self::SyncFull,
            Some(TaskType::Grant(_)) => Self::Grant,
            Some(TaskType::Revoke(_)) => Self::Revoke,
            Some(TaskType::CreateAccount(_)) => Self::CreateAccount,
            Some(TaskType::CreateResource(_)) => Self::CreateResource,
            Some(TaskType::DeleteResource(_)) => Self::DeleteResource,
            Some(TaskType::RotateCredentials(_)) => Self::RotateCredentials,
            Some(TaskType::IssueCredential(_)) => Self::IssueCredential,
            Some(TaskType::EventFeed(_)) => Self::EventFeed,
            Some(TaskType::CreateTicketTask(_)) => Self::CreateTicket,
            Some(TaskType::ListTicketSchemas(_)) => Self::ListTicketSchemas,
            Some(TaskType::GetTicket(_)) => Self::GetTicket,
            Some(TaskType::BulkCreateTickets(_)) => Self::BulkCreateTickets,
            Some(TaskType::BulkGetTickets(_)) => Self::BulkGetTickets,
            Some(TaskType::ActionListSchemas(_)) => Self::ListActionSchemas,
            Some(TaskType::ActionGetSchema(_)) => Self::GetActionSchema,
            Some(TaskType::ActionInvoke(_)) => Self::InvokeAction,
            Some(TaskType::ActionStatus(_)) => Self::ActionStatus,
            Some(TaskType::CreateSyncDiff(_)) => Self::CreateSyncDiff,
            Some(TaskType::CompactSyncs(_)) => Self::CompactSyncs,
            Some(TaskType::ListEventFeeds(_)) => Self::ListEventFeeds,
            Some(TaskType::ListEvents(_)) => Self::ListEvents,
            None => Self::Unknown,
        }
    }

    /// The name in logs and metrics, as in ConductorOne's own programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hello => "hello",
            Self::SyncFull => "sync_full",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::CreateAccount => "create_account",
            Self::CreateResource => "create_resource",
            Self::DeleteResource => "delete_resource",
            Self::RotateCredentials => "rotate_credential",
            Self::IssueCredential => "issue_credential",
            Self::EventFeed => "event_feed",
            Self::CreateTicket => "create_ticket",
            Self::ListTicketSchemas => "list_ticket_schemas",
            Self::GetTicket => "get_ticket",
            Self::BulkCreateTickets => "bulk_create_tickets",
            Self::BulkGetTickets => "bulk_get_tickets",
            Self::ListActionSchemas => "list_action_schemas",
            Self::GetActionSchema => "get_action_schema",
            Self::InvokeAction => "invoke_action",
            Self::ActionStatus => "action_status",
            Self::CreateSyncDiff => "create_sync_diff",
            Self::CompactSyncs => "compact_syncs",
            Self::ListEventFeeds => "list_event_feeds",
            Self::ListEvents => "list_events",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::connectorapi::task::HelloTask;

    #[test]
    fn reads_a_task_of_a_later_protocol_version() {
        let hello = Task {
            id: "t1".to_owned(),
            task_type: Some(TaskType::Hello(HelloTask::default())),
            ..Default::default()
        };
        // Field 1000, two bytes long.
        let added = [0xc2, 0x3e, 0x02, 0x01, 0x02];
        let read = Task::decode([hello.encode_to_vec(), added.to_vec()].concat().as_slice()).unwrap();
        assert_eq!((read.id.as_str(), Kind::of(&read)), ("t1", Kind::Hello));
        let later = Task { id: "t2".to_owned(), ..Default::default() };
        let read = Task::decode([later.encode_to_vec(), added.to_vec()].concat().as_slice()).unwrap();
        assert_eq!((read.id.as_str(), Kind::of(&read)), ("t2", Kind::Unknown));
    }
}

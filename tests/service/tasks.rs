//! Every kind of task except syncs: the call to the connector, and the report to ConductorOne.

use baton_retool::proto::connector::{
    AccountInfo, BatonActionStatus, CreateAccountResponse, CredentialIssueOptions, EncryptionConfig,
    GetActionSchemaResponse, GetActionStatusResponse, Grant, GrantManagerServiceGrantResponse,
    GrantManagerServiceRevokeResponse, InvokeActionResponse, ListActionSchemasResponse,
    ListEventFeedsResponse, Resource, ResourceId, TicketRequest,
};
use baton_retool::proto::connectorapi::Task;
use baton_retool::proto::connectorapi::task::{
    ActionGetSchemaTask, ActionInvokeTask, ActionListSchemasTask, ActionStatusTask, BulkCreateTicketsTask,
    BulkGetTicketsTask, CompactSyncs, CreateAccountTask, CreateResourceTask, CreateSyncDiffTask,
    CreateTicketTask, DeleteResourceTask, EventFeedTask, GetTicketTask, GrantTask, HelloTask,
    IssueCredentialTask, ListEventFeedsTask, ListEventsTask, ListTicketSchemasTask, RevokeTask,
    RotateCredentialsTask, TaskType,
};
use prost_types::{Any, Duration};
use tonic::Code;

use super::{NOWHERE, Stage, small, unknown};
use crate::support::c1::{C1, Finished, Method};
use crate::support::changes::{entitlement_of, principal_of};
use crate::support::retool_api::RetoolApi;
use crate::support::stage::{action, ada};
use crate::support::wire::id;

fn grant() -> GrantTask {
    GrantTask {
        entitlement: Some(entitlement_of("group:g5:member")),
        principal: Some(principal_of("user/u7")),
        annotations: vec![Any { type_url: "type.googleapis.com/unknown.Thing".to_owned(), value: vec![1] }],
        duration: Some(Duration { seconds: 60, nanos: 0 }),
    }
}

fn revoke() -> RevokeTask {
    let grant = Grant {
        id: "group:g5:member:user:u7".to_owned(),
        entitlement: Some(entitlement_of("group:g5:member")),
        principal: Some(principal_of("user/u7")),
        ..Default::default()
    };
    RevokeTask { grant: Some(grant), annotations: Vec::new() }
}

fn account() -> CreateAccountTask {
    CreateAccountTask { account_info: ada().account_info, ..Default::default() }
}

/// Tasks that only other connectors support.
fn absent() -> [TaskType; 4] {
    let resource_id = Some(id("user", "u1"));
    let resource = Some(Resource { id: resource_id.clone(), ..Default::default() });
    [
        TaskType::CreateResource(CreateResourceTask { resource }),
        TaskType::DeleteResource(DeleteResourceTask {
            resource_id: resource_id.clone(),
            parent_resource_id: None,
        }),
        TaskType::RotateCredentials(RotateCredentialsTask {
            resource_id: resource_id.clone(),
            ..Default::default()
        }),
        TaskType::IssueCredential(IssueCredentialTask {
            identity_id: resource_id,
            credential_options: Some(CredentialIssueOptions::default()),
            encryption_configs: vec![EncryptionConfig::default()],
            ..Default::default()
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_changes_and_reports_the_response() {
    let stage = Stage::new(&["--provisioning"]).await;
    let members = r#"SELECT count(*) FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#;
    let count =
        async || -> i64 { stage.database.reader().await.query_one(members, &[]).await.unwrap().get(0) };
    stage.database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;

    let granted = stage.c1.run(TaskType::Grant(grant())).await;
    let response = granted.response::<GrantManagerServiceGrantResponse>();
    assert_eq!((response.grants.len(), response.annotations), (1, granted.annotations()));
    assert_eq!(count().await, 1);
    let again = stage.c1.run(TaskType::Grant(grant())).await;
    let annotations = again.response::<GrantManagerServiceGrantResponse>().annotations;
    assert!(annotations.iter().any(|one| one.type_url.ends_with("GrantAlreadyExists")), "{annotations:?}");
    assert_eq!(again.annotations(), annotations);

    let revoked = stage.c1.run(TaskType::Revoke(revoke())).await;
    revoked.response::<GrantManagerServiceRevokeResponse>();
    assert_eq!(count().await, 0);
    let again = stage.c1.run(TaskType::Revoke(revoke())).await;
    let annotations = again.response::<GrantManagerServiceRevokeResponse>().annotations;
    assert!(annotations.iter().any(|one| one.type_url.ends_with("GrantAlreadyRevoked")), "{annotations:?}");
    assert_eq!(again.annotations(), annotations);

    let mut wrong = grant();
    wrong.entitlement.as_mut().unwrap().id.clear();
    stage.c1.run(TaskType::Grant(wrong)).await.assert_failed(
        3,
        "rpc error: code = InvalidArgument desc = ",
        true,
    );
    let mut nobody = grant();
    nobody.principal = Some(principal_of("user/u999999"));
    let Finished::Error { non_retryable, .. } = stage.c1.run(TaskType::Grant(nobody)).await else { panic!() };
    assert!(non_retryable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_beyond_its_deadline_fails_with_that_code_and_an_unknown_outcome() {
    let stage = Stage::new(&["--provisioning", "--request-timeout-seconds", "1"]).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE user_groups").await.unwrap();
    stage.c1.run(TaskType::Grant(grant())).await.assert_failed(4, "longer than 1 s", true);
    let record = stage.server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!((&record["outcome"], &record["reason"]), (&"unknown".into(), &"aborted".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_provisioning_changes_fail_with_a_final_error() {
    let c1 = C1::start().await;
    let _server = c1.serve(NOWHERE, &[]);
    let changes = [TaskType::Grant(grant()), TaskType::Revoke(revoke()), TaskType::CreateAccount(account())];
    for task in changes.into_iter().chain(absent()) {
        let shown = format!("{task:?}");
        let ended = c1.run(task).await;
        let Finished::Error { code, ref message, non_retryable, .. } = ended else {
            panic!("{shown}: {ended:?}")
        };
        assert!(non_retryable && message.starts_with("rpc error: code = "), "{shown}: {ended:?}");
        assert!(code == 9 && message.contains("provisioning is not enabled"), "{shown}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_operations_fail_with_a_final_error() {
    let c1 = C1::start().await;
    let _server = c1.serve(NOWHERE, &["--provisioning"]);
    for task in absent() {
        let shown = format!("{task:?}");
        let ended = c1.run(task).await;
        let Finished::Error { code, ref message, non_retryable, .. } = ended else {
            panic!("{shown}: {ended:?}")
        };
        assert!(code == 12 && non_retryable, "{shown}: {ended:?}");
        assert!(message.starts_with("rpc error: code = Unimplemented desc = "), "{shown}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_a_required_field_is_malformed() {
    let c1 = C1::start().await;
    let _server = c1.serve(NOWHERE, &["--provisioning", "--ticketing"]);
    let nameless = Some(ResourceId::default());
    for (task, text) in [
        (TaskType::Grant(GrantTask { principal: None, ..grant() }), "malformed grant task"),
        (TaskType::Grant(GrantTask { entitlement: None, ..grant() }), "malformed grant task"),
        (TaskType::Revoke(RevokeTask::default()), "invalid task type"),
        (TaskType::CreateAccount(CreateAccountTask::default()), "malformed create account task"),
        (TaskType::CreateResource(CreateResourceTask::default()), "malformed create resource task"),
        (TaskType::DeleteResource(DeleteResourceTask::default()), "malformed delete resource task"),
        (
            TaskType::DeleteResource(DeleteResourceTask { resource_id: nameless, parent_resource_id: None }),
            "malformed delete resource task",
        ),
        (TaskType::RotateCredentials(RotateCredentialsTask::default()), "malformed rotate credentials task"),
        (TaskType::IssueCredential(IssueCredentialTask::default()), "malformed issue credential task"),
        (TaskType::CreateTicketTask(CreateTicketTask::default()), "malformed create ticket task"),
        (TaskType::GetTicket(GetTicketTask::default()), "malformed get ticket task"),
        (TaskType::BulkCreateTickets(BulkCreateTicketsTask::default()), "malformed bulk create ticket task"),
        (TaskType::BulkGetTickets(BulkGetTicketsTask::default()), "malformed bulk get tickets task"),
    ] {
        c1.run(task).await.assert_failed(2, text, true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_task_fails_with_an_error_that_is_not_final() {
    let c1 = C1::start().await;
    let _server = c1.serve(NOWHERE, &[]);
    for task in [
        TaskType::EventFeed(EventFeedTask::default()),
        TaskType::CreateSyncDiff(CreateSyncDiffTask::default()),
        TaskType::CompactSyncs(CompactSyncs::default()),
    ] {
        c1.run(task).await.assert_failed(2, "unsupported task type", false);
    }
    let unknown = c1.give_as(unknown);
    c1.finished(&unknown).await.assert_failed(2, "unsupported task type", false);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_runs_and_queries_actions() {
    let database = crate::support::postgres::Database::small().await;
    let api = RetoolApi::start(&database);
    let c1 = C1::start().await;
    let rest = api.flags();
    let mut flags: Vec<&str> = rest.iter().map(String::as_str).collect();
    flags.push("--provisioning");
    let server = c1.serve(&database.url(), &flags);

    let listed = c1.run(TaskType::ActionListSchemas(ActionListSchemasTask::default())).await;
    let schemas = listed.response::<ListActionSchemasResponse>().schemas;
    assert_eq!(schemas.len(), 2);
    let name = "disable_user".to_owned();
    let schema = TaskType::ActionGetSchema(ActionGetSchemaTask { name, annotations: Vec::new() });
    let schema = c1.run(schema).await.response::<GetActionSchemaResponse>().schema.unwrap();
    assert_eq!(schema.name, "disable_user");

    let invoked = |user: &str| {
        let request = action("disable_user", user);
        TaskType::ActionInvoke(ActionInvokeTask {
            name: request.name,
            args: request.args,
            ..Default::default()
        })
    };
    let answer = c1.run(invoked("u7")).await.response::<InvokeActionResponse>();
    let mut status = answer.status();
    while !matches!(status, BatonActionStatus::Complete) {
        let asked = TaskType::ActionStatus(ActionStatusTask { id: answer.id.clone(), ..Default::default() });
        status = c1.run(asked).await.response::<GetActionStatusResponse>().status();
    }
    let created = c1.run(TaskType::CreateAccount(account())).await;
    let response = created.response::<CreateAccountResponse>();
    assert!(response.result.is_some());
    assert_eq!(created.annotations(), response.annotations);

    let unknown = ActionInvokeTask { name: "nope".to_owned(), ..Default::default() };
    let Finished::Error { code, message, non_retryable, .. } = c1.run(TaskType::ActionInvoke(unknown)).await
    else {
        panic!()
    };
    assert_eq!((code, non_retryable), (5, false));
    assert!(!message.starts_with("rpc error") && message.contains("nope"), "{message}");
    for (task, text) in [
        (TaskType::ActionInvoke(ActionInvokeTask::default()), "action name required"),
        (TaskType::ActionGetSchema(ActionGetSchemaTask::default()), "action name required"),
        (TaskType::ActionStatus(ActionStatusTask::default()), "action id required"),
    ] {
        c1.run(task).await.assert_failed(2, text, false);
    }
    let gone = ActionStatusTask { id: "2AAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..Default::default() };
    c1.run(TaskType::ActionStatus(gone)).await.assert_failed(5, "", false);
    // The log contains no user input.
    let log = server.logs().iter().map(ToString::to_string).collect::<String>();
    assert!(!log.contains("ada@example.com") && !log.contains("Lovelace"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_tickets_and_returns_their_annotations() {
    let annotations = vec![Any { type_url: "type.googleapis.com/a.B".to_owned(), value: Vec::new() }];
    for (flags, code, text) in
        [(&[][..], 2, "ticketing is not enabled"), (&["--ticketing"], 12, "not implemented")]
    {
        let c1 = C1::start().await;
        let _server = c1.serve(NOWHERE, flags);
        let create = CreateTicketTask {
            ticket_request: Some(TicketRequest::default()),
            annotations: annotations.clone(),
            ..Default::default()
        };
        let get = GetTicketTask { ticket_id: "t1".to_owned(), annotations: annotations.clone() };
        for (task, kept) in [
            (TaskType::CreateTicketTask(create.clone()), 1),
            (TaskType::GetTicket(get.clone()), 1),
            (TaskType::BulkCreateTickets(BulkCreateTicketsTask { ticket_requests: vec![create] }), 0),
            (TaskType::BulkGetTickets(BulkGetTicketsTask { ticket_requests: vec![get] }), 0),
        ] {
            let ended = c1.run(task).await;
            ended.assert_failed(code, text, false);
            let Finished::Error { annotations, .. } = ended else { panic!() };
            assert_eq!(annotations, kept);
        }
        let schemas = c1.give(TaskType::ListTicketSchemas(ListTicketSchemasTask::default()));
        c1.run(small()).await;
        assert_eq!(c1.reports(&schemas), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_no_feeds_and_does_not_report_a_failed_events_task() {
    let c1 = C1::start().await;
    let server = c1.serve(NOWHERE, &["--task-concurrency", "1"]);
    let feeds = c1.give(TaskType::ListEventFeeds(ListEventFeedsTask::default()));
    let events = c1.give(TaskType::ListEvents(ListEventsTask::default()));
    c1.run(small()).await;
    let answer = c1.finished(&feeds).await.response::<ListEventFeedsResponse>();
    assert_eq!(answer, ListEventFeedsResponse::default());
    let ended = server.wait_for_log(|line| line["task_id"] == *events && line["seconds"].is_number());
    assert_eq!(ended["reason"], "the connector answered NotFound");
    assert_eq!(c1.reports(&events), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_task_sends_hello_again() {
    let c1 = C1::start().await;
    let server = c1.serve(NOWHERE, &[]);
    let hello = c1.give(TaskType::Hello(HelloTask::default()));
    c1.called(Method::Hello, 2).await;
    server.wait_for_log(|line| line["msg"] == "task finished" && line["task_id"] == *hello);
    assert_eq!(c1.hellos()[1].task_id, hello);
    c1.plan(|plan| plan.fail(Method::Hello, &[Code::Internal]));
    let refused = c1.give(TaskType::Hello(HelloTask::default()));
    server.wait_for_log(|line| line["level"] == "warn" && line["task_id"] == *refused);
    assert_eq!((c1.reports(&hello), c1.reports(&refused)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_ids_and_contents_do_not_affect_other_tasks() {
    let c1 = C1::start().await;
    let server = c1.serve(NOWHERE, &["--provisioning"]);
    let account_info = Some(AccountInfo::default());
    let huge = AccountInfo { login: "x".repeat(1_000_000), ..Default::default() };
    for task in [
        TaskType::CreateAccount(CreateAccountTask { account_info, ..Default::default() }),
        TaskType::CreateAccount(CreateAccountTask { account_info: Some(huge), ..Default::default() }),
        TaskType::ActionInvoke(ActionInvokeTask { name: "n".repeat(100_000), ..Default::default() }),
    ] {
        assert!(matches!(c1.run(task).await, Finished::Error { .. }));
    }
    // A task with an invalid id cannot be reported, because the API rejects the id.
    c1.give_as(|_| Task { id: "short".to_owned(), task_type: Some(small()), ..Default::default() });
    server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.starts_with("cannot report the end of the task"))
    });
    c1.run(small()).await;
    c1.forgive();
}

//! Faults during the work: no task is lost or done twice, and the program recovers on its own.

use std::time::Duration;

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use tonic::Code;

use super::{NOWHERE, Stage, small};
use crate::support::c1::{C1, Finished, Method, Plan};
use crate::support::faulty_http::ConnectProxy;
use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn retries_a_report_that_fails() {
    let c1 = C1::start().await;
    c1.plan(|plan| {
        plan.fail(Method::FinishTask, &[Code::Unavailable, Code::Internal, Code::Unauthenticated])
    });
    let _server = c1.serve(NOWHERE, &[]);
    let id = c1.give(small());
    c1.finished(&id).await;
    assert_eq!(c1.called(Method::FinishTask, 4).await.len(), 4);
    assert_eq!(c1.reports(&id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_a_rejected_report() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.fail(Method::FinishTask, &[Code::NotFound]));
    let server = c1.serve(NOWHERE, &[]);
    let id = c1.give(small());
    let line = server.wait_for_log(|line| line["level"] == "error" && line["task_id"] == *id);
    assert_eq!(
        (line["done"].as_bool(), line["task_type"].as_str()),
        (Some(true), Some("list_action_schemas"))
    );
    assert_eq!(c1.called(Method::FinishTask, 1).await.len(), 1);
    c1.run(small()).await;
}

/// Runs two tasks. The response to the first report is lost, in the way that `lose` plans.
async fn a_lost_response_counts_as_delivered(lose: impl FnOnce(&mut Plan)) {
    let c1 = C1::start().await;
    c1.plan(lose);
    let server = c1.serve(NOWHERE, &[]);
    let id = c1.give(small());
    c1.finished(&id).await;
    server.wait_for_log(|line| {
        line["task_id"] == *id
            && line["msg"]
                .as_str()
                .is_some_and(|text| text.starts_with("ConductorOne already has the report"))
    });
    c1.run(small()).await;
    assert!(!server.logs().iter().any(|line| line["level"] == "error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_response_is_lost_counts_as_delivered() {
    a_lost_response_counts_as_delivered(|plan| plan.loses_reports = 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_whose_response_is_lost_behind_a_proxy_counts_as_delivered() {
    a_lost_response_counts_as_delivered(|plan| plan.hides_reports = 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_with_malformed_details_are_retried() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| {
        plan.malforms_failures = true;
        plan.fail(Method::GetTask, &[Code::Unavailable]);
        plan.fail(Method::Heartbeat, &[Code::Unavailable]);
        plan.fail(Method::Upload, &[Code::Unavailable]);
        plan.fail(Method::FinishTask, &[Code::Unavailable]);
    });
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
    let polled = |line: &serde_json::Value| {
        line["msg"] == "cannot get tasks from ConductorOne, retrying"
            && line["error"].as_str().is_some_and(|text| text.contains("malformed status"))
    };
    assert!(stage.server.logs().iter().any(polled));
}

#[tokio::test(flavor = "multi_thread")]
async fn replaces_a_connection_that_is_lost_silently() {
    let (c1, database) = (C1::start().await, Database::small().await);
    let proxy = ConnectProxy::start().await;
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users").await.unwrap();
    let _server = Server::run(c1.program_behind(&proxy.url(), &database.url()));
    let id = c1.give(TaskType::SyncFull(SyncFullTask::default()));
    let before = c1.called(Method::Heartbeat, 2).await.len();
    proxy.lose_tunnels();
    // One heartbeat gets no response, and the next one uses a new connection.
    c1.called(Method::Heartbeat, before + 2).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    assert!(matches!(c1.finished(&id).await, Finished::Success(_)));
    // Polls use the new connection as well.
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_waits_for_an_api_that_becomes_unavailable() {
    let stage = Stage::new(&[]).await;
    // The sync is abandoned after nine missed heartbeats.
    stage.c1.plan(|plan| plan.next_heartbeat = Some(Duration::from_secs(5)));
    stage.c1.called(Method::GetTask, 1).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users").await.unwrap();
    let id = stage.c1.give(TaskType::SyncFull(SyncFullTask::default()));
    // The file exists only after the first heartbeat was answered.
    eventually("a file", async || (!stage.c1.left_over().is_empty()).then_some(())).await;
    stage.c1.go_away();
    client.batch_execute("ROLLBACK").await.unwrap();
    stage.server.wait_for_log(|line| line["msg"] == "upload failed, retrying");
    stage.c1.plan(|plan| plan.away = false);
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
    assert_eq!((stage.c1.uploads().len(), stage.c1.reports(&id)), (1, 1));
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
    stage.c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_fails_the_sync_but_not_the_program() {
    let stage = Stage::new(&[]).await;
    let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
    stage.database.execute(&rename("users", "users_away")).await;
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    let Finished::Error { message, non_retryable, .. } = ended else { panic!("{ended:?}") };
    assert!(!non_retryable && message.starts_with("rpc error: code = "), "{message}");
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
    stage.database.execute(&rename("users_away", "users")).await;
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_fails_the_sync_but_not_the_program() {
    let stage = Stage::new(&[]).await;
    let folder = stage.c1.temp_dir();
    stage.c1.called(Method::GetTask, 1).await;
    std::fs::remove_dir(&folder).unwrap();
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    ended.assert_failed(2, &folder.display().to_string(), false);
    std::fs::create_dir(&folder).unwrap();
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
}

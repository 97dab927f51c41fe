//! How the program stops, and what its metrics show while it runs.

use baton_retool::proto::connectorapi::task::{GrantTask, SyncFullTask, TaskType};
use tonic::Code;

use super::{NOWHERE, Stage, small};
use crate::support::c1::{C1, Method};
use crate::support::changes::{entitlement_of, principal_of};
use crate::support::http::ask;
use crate::support::wire::eventually;

/// Whether the message of a log line begins like this.
fn said(line: &serde_json::Value, begin: &str) -> bool {
    line["msg"].as_str().is_some_and(|text| text.starts_with(begin))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tasks_either_signal_ends_the_program_at_once() {
    for by_interrupt in [false, true] {
        let c1 = C1::start().await;
        let server = c1.serve(NOWHERE, &[]);
        c1.called(Method::GetTask, 1).await;
        server.signal(if by_interrupt { "INT" } else { "TERM" });
        let (status, lines) = server.ended();
        assert_eq!(status.code(), Some(0), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_do_not_end_the_program() {
    let c1 = C1::start().await;
    let server = c1.serve(NOWHERE, &[]);
    c1.called(Method::GetTask, 1).await;
    for (signal, name) in [("USR1", "SIGUSR1"), ("USR2", "SIGUSR2"), ("HUP", "SIGHUP")] {
        server.signal(signal);
        server.wait_for_log(|line| line["signal"] == name);
    }
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_interrupts_a_poll_without_an_answer() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.holds_polls = true);
    let server = c1.serve(NOWHERE, &[]);
    c1.called(Method::GetTask, 1).await;
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    let waited = |line: &serde_json::Value| said(line, "the grace period ended before");
    assert!(!lines.iter().any(waited), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_program_at_once() {
    let c1 = C1::start().await;
    // The task cannot end.
    c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let server = c1.serve(NOWHERE, &["--shutdown-grace-seconds", "600"]);
    let id = c1.give(small());
    c1.called(Method::FinishTask, 1).await;
    server.terminate();
    server.wait_for_log(|line| said(line, "stopping: finishing running tasks"));
    server.terminate();
    let (status, lines) = server.ended();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert!(lines.iter().any(|line| said(line, "stopping at once")), "{lines:?}");
    let lost = |line: &serde_json::Value| said(line, "the program stopped before") && line["task_id"] == *id;
    assert!(lines.iter().any(lost), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_before_hello_succeeds() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.always(Method::Hello, Some(Code::Unavailable)));
    let server = c1.serve(NOWHERE, &[]);
    c1.called(Method::Hello, 1).await;
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
}

/// Gives the program a grant, and waits until it waits for a lock. The lock ends with the returned client.
async fn blocked_grant(stage: &Stage) -> (tokio_postgres::Client, String) {
    stage.database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE user_groups").await.unwrap();
    let grant = GrantTask {
        entitlement: Some(entitlement_of("group:g5:member")),
        principal: Some(principal_of("user/u7")),
        ..Default::default()
    };
    let id = stage.c1.give(TaskType::Grant(grant));
    stage.server.wait_for_log(|line| line["msg"] == "task started");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("the change to wait", async || {
        (client.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0).then_some(())
    })
    .await;
    (client, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_end_of_the_program_interrupts_has_an_unknown_outcome() {
    for grace in ["1", "600"] {
        let stage = Stage::new(&["--provisioning", "--shutdown-grace-seconds", grace]).await;
        let (_client, _) = blocked_grant(&stage).await;
        stage.server.terminate();
        stage.server.wait_for_log(|line| said(line, "stopping: finishing running tasks"));
        if grace == "600" {
            stage.server.terminate();
        }
        let (status, lines) = stage.server.ended();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        let record = lines.iter().find(|line| line["msg"] == "change").unwrap();
        assert_eq!((&record["outcome"], &record["reason"]), (&"unknown".into(), &"interrupted".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finishes_and_reports_changes_and_takes_no_new_task() {
    let stage = Stage::new(&["--provisioning"]).await;
    let (client, id) = blocked_grant(&stage).await;
    stage.server.terminate();
    stage.server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping")));
    let late = stage.c1.give(small());
    client.batch_execute("ROLLBACK").await.unwrap();
    stage.c1.finished(&id).await;
    let Stage { server, c1, .. } = stage;
    let (status, _) = server.ended();
    assert_eq!(status.code(), Some(0));
    assert_eq!((c1.reports(&id), c1.reports(&late)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sync_is_reported_as_cancelled() {
    let stage = Stage::new(&[]).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users, groups, pages").await.unwrap();
    let id = stage.c1.give(TaskType::SyncFull(SyncFullTask::default()));
    eventually("a file", async || (!stage.c1.left_over().is_empty()).then_some(())).await;
    let Stage { server, c1, .. } = stage;
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    c1.finished(&id).await.assert_failed(1, "context canceled", false);
    assert!(c1.left_over().is_empty(), "{:?}", c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_ends_after_the_grace_period() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let server = c1.serve(NOWHERE, &["--shutdown-grace-seconds", "1"]);
    let id = c1.give(small());
    c1.called(Method::FinishTask, 1).await;
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().any(|line| said(line, "the grace period ended before")), "{lines:?}");
    let lost = |line: &serde_json::Value| said(line, "the program stopped before") && line["task_id"] == *id;
    assert!(lines.iter().any(lost), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_stopped_during_its_upload_is_reported_as_cancelled() {
    // The file of the sync has one piece; the log that follows it is larger than the connection's buffers.
    for (pieces, uploads) in [(1, 1), (2, 2)] {
        let stage = Stage::new(&["--sync-resource-types", "org"]).await;
        let log = stage.c1.temp_dir().join("debug.log");
        std::fs::write(&log, vec![b'x'; 16 * 1024 * 1024]).unwrap();
        stage.c1.plan(|plan| plan.holds_uploads_at = Some(pieces));
        let id = stage.c1.give(TaskType::SyncFull(SyncFullTask::default()));
        stage.c1.called(Method::Upload, uploads).await;
        let Stage { server, c1, .. } = stage;
        let (status, lines) = server.stop();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        assert!(
            !lines.iter().any(|line| line["msg"].as_str().is_some_and(|text| text.contains("grace period")))
        );
        c1.finished(&id).await.assert_failed(1, "context canceled", false);
        let whole: Vec<Vec<usize>> = c1.uploads().into_iter().map(|upload| upload.pieces).collect();
        assert_eq!(whole.len(), uploads - 1, "{whole:?} {lines:?}");
        assert_eq!(c1.left_over(), ["debug.log"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_report_is_finished_before_the_end() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.fail(Method::FinishTask, &[Code::Unavailable, Code::Unavailable]));
    let server = c1.serve(NOWHERE, &[]);
    let id = c1.give(small());
    c1.called(Method::FinishTask, 1).await;
    let (status, lines) = server.stop();
    assert_eq!(status.code(), Some(0), "{lines:?}");
    assert_eq!(c1.reports(&id), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_the_start_while_conductorone_is_unreachable() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.away = true);
    let server = c1.serve(NOWHERE, &["--metrics-listen", "127.0.0.1:0"]);
    let line = server.wait_for_log(|line| line["msg"] == "metrics listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    server.wait_for_log(|line| line["msg"] == "startup Hello failed, retrying");
    let text = ask(address, "GET", "/metrics").body;
    let has = |begin: &str| text.lines().any(|line| line.starts_with(begin));
    assert!(has("baton_retool_service_start_timestamp_seconds 1"), "{text}");
    assert!(has("baton_retool_tasks_in_flight 0"), "{text}");
    // This metric appears with the first answer to a poll; until then, the alert uses the start.
    assert!(!has("baton_retool_last_poll_timestamp_seconds"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_tasks_polls_and_uploads() {
    let stage = Stage::new(&["--metrics-listen", "127.0.0.1:0", "--sync-resource-types", "org"]).await;
    let line = stage.server.wait_for_log(|line| line["msg"] == "metrics listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    stage.c1.run(small()).await;
    stage.c1.run(TaskType::Grant(GrantTask::default())).await;
    stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    let bytes = stage.c1.uploads()[0].bytes.len();
    let wanted = [
        r#"baton_retool_tasks_total{outcome="done",task="list_action_schemas"} 1"#.to_owned(),
        r#"baton_retool_tasks_total{outcome="failed_permanently",task="grant"} 1"#.to_owned(),
        r#"baton_retool_tasks_total{outcome="done",task="sync_full"} 1"#.to_owned(),
        "baton_retool_tasks_in_flight 0".to_owned(),
        format!("baton_retool_upload_bytes_total {bytes}"),
    ];
    // The last task is counted shortly after it is reported.
    eventually("the metrics", async || {
        let text = ask(address, "GET", "/metrics").body;
        let there = |line: &String| text.lines().any(|found| found == line);
        let begins = |name: &str| text.lines().any(|line| line.starts_with(name));
        (wanted.iter().all(there)
            && begins("baton_retool_last_poll_timestamp_seconds 1")
            && begins("baton_retool_last_sync_timestamp_seconds 1")
            && begins(r#"baton_retool_polls_total{outcome="ok"}"#))
        .then_some(())
    })
    .await;
}

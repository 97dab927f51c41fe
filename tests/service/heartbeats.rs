//! Heartbeats of syncs: when they begin and end, and what happens if they fail.

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use tonic::Code;

use super::{NOWHERE, Stage, small};
use crate::support::c1::{C1, Finished, Method};

fn sync() -> TaskType {
    TaskType::SyncFull(SyncFullTask::default())
}

/// How many heartbeats of a task there were.
fn beats(c1: &C1, id: &str) -> usize {
    c1.calls().iter().filter(|call| call.method == Method::Heartbeat && call.task_id == id).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_does_not_start_without_an_accepted_heartbeat() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.fail(Method::Heartbeat, &[Code::Internal]));
    let server = c1.serve(NOWHERE, &["--task-concurrency", "1"]);
    let failed = c1.give(sync());
    c1.run(small()).await;
    c1.plan(|plan| plan.cancels_at = Some(1));
    let cancelled = c1.give(sync());
    c1.run(small()).await;
    for id in [&failed, &cancelled] {
        server.wait_for_log(|line| line["task_id"] == **id && line["reason"].is_string());
        assert_eq!(c1.reports(id), 0);
    }
    assert!(c1.uploads().is_empty() && c1.left_over().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_the_first_heartbeat() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| plan.fail(Method::Heartbeat, &[Code::Unavailable, Code::Unauthenticated]));
    let ended = stage.c1.run(sync()).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_ends_after_nine_missed_heartbeats() {
    let stage = Stage::new(&[]).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users, groups, pages, user_groups").await.unwrap();
    // The sync tolerates eight consecutive failures, and a success resets the count.
    stage.c1.plan(|plan| {
        let failures = plan.failures.entry(Method::Heartbeat).or_default();
        failures.push_back(None);
        failures.extend([Some(Code::Unavailable); 8]);
        failures.push_back(None);
        failures.extend([Some(Code::Internal); 9]);
    });
    let id = stage.c1.give(sync());
    stage.c1.finished(&id).await.assert_failed(2, "task failed heartbeat", false);
    // The ninth failure ends it: a further heartbeat would succeed.
    assert_eq!(beats(&stage.c1, &id), 1 + 8 + 1 + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_continue_during_the_upload_and_end_with_the_task() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| plan.holds_uploads_at = Some(1));
    let first = stage.c1.give(sync());
    stage.c1.called(Method::Upload, 1).await;
    let before = beats(&stage.c1, &first);
    stage.c1.called(Method::Heartbeat, before + 2).await;
    stage.c1.plan(|plan| plan.holds_uploads_at = None);
    assert!(matches!(stage.c1.finished(&first).await, Finished::Success(_)));
    // While another sync runs, there is time for more heartbeats.
    stage.c1.plan(|plan| plan.holds_uploads_at = Some(1));
    let second = stage.c1.give(sync());
    stage.c1.called(Method::Upload, 2).await;
    let (after, so_far) = (beats(&stage.c1, &first), stage.c1.called(Method::Heartbeat, 1).await.len());
    stage.c1.called(Method::Heartbeat, so_far + 3).await;
    assert_eq!(beats(&stage.c1, &first), after);
    stage.c1.plan(|plan| plan.holds_uploads_at = None);
    stage.c1.finished(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_continue_until_the_report_is_accepted() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let id = stage.c1.give(sync());
    stage.c1.called(Method::FinishTask, 1).await;
    let before = beats(&stage.c1, &id);
    stage.c1.called(Method::Heartbeat, before + 2).await;
    assert_eq!(stage.c1.reports(&id), 0);
    stage.c1.plan(|plan| plan.always(Method::FinishTask, None));
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
}

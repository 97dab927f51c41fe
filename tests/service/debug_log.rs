//! The debug log of a task, and its upload.

use std::fs;

use baton_retool::proto::connectorapi::Task;
use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use tonic::Code;

use super::{Stage, small};
use crate::support::c1::{C1, Method};
use crate::support::wire::eventually;

fn sync() -> TaskType {
    TaskType::SyncFull(SyncFullTask::default())
}

/// Offers a task with a debug log.
fn debug(c1: &C1, task: TaskType) -> String {
    c1.give_as(|id| Task { id, debug: true, task_type: Some(task), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_includes_the_debug_log() {
    let stage = Stage::new(&["--log-level", "error", "--task-concurrency", "1"]).await;
    let log = stage.c1.temp_dir().join("debug.log");
    // A task of another kind leaves its log for the next upload.
    stage.c1.finished(&debug(&stage.c1, small())).await;
    assert!(log.exists());
    let plain = stage.c1.give(sync());
    stage.c1.finished(&plain).await;
    assert!(log.exists());
    let id = debug(&stage.c1, sync());
    stage.c1.finished(&id).await;
    assert!(!log.exists());
    let uploads = stage.c1.uploads();
    let sizes: Vec<usize> = uploads.iter().map(|upload| upload.bytes.len()).collect();
    let [_, left, file, written] = &uploads[..] else { panic!("{sizes:?}") };
    assert_eq!((left.task_id.as_str(), written.task_id.as_str()), (plain.as_str(), id.as_str()));
    assert_eq!(file.task_id, id);
    let text = String::from_utf8(written.bytes.clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["level"] == "debug"), "{text}");
    assert!(lines.iter().any(|line| line["task_id"] == *id), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_has_its_own_debug_log() {
    let stage = Stage::new(&[]).await;
    let log = stage.c1.temp_dir().join("debug.log");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    // A line about the engine has the id of the task. The sync then fails, so its log is not uploaded.
    let failing = || {
        TaskType::SyncFull(SyncFullTask {
            storage_engine: "pebble".to_owned(),
            sync_resource_type_ids: vec!["nope".to_owned()],
            ..Default::default()
        })
    };
    let first = debug(&stage.c1, failing());
    stage.c1.finished(&first).await.assert_failed(2, "invalid resource type", false);
    eventually("the log of the first task", async || text().contains(&first).then_some(())).await;
    let second = debug(&stage.c1, failing());
    stage.c1.finished(&second).await.assert_failed(2, "invalid resource type", false);
    eventually("the log of the second task", async || text().contains(&second).then_some(())).await;
    assert!(!text().contains(&first), "{}", text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_does_not_remove_the_log_of_a_later_one() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    let log = stage.c1.temp_dir().join("debug.log");
    stage.c1.plan(|plan| plan.holds_uploads_at = Some(0));
    let first = debug(&stage.c1, sync());
    stage.c1.called(Method::Upload, 1).await;
    let later = debug(&stage.c1, small());
    stage.c1.finished(&later).await;
    stage.c1.plan(|plan| plan.holds_uploads_at = None);
    stage.c1.finished(&first).await;
    assert!(log.exists());
    // The next sync with a log replaces it.
    stage.c1.finished(&debug(&stage.c1, sync())).await;
    assert!(!log.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_of_the_debug_log_fails_the_task() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    let log = stage.c1.temp_dir().join("debug.log");
    fs::write(&log, "a line").unwrap();
    stage.c1.plan(|plan| {
        let failures = plan.failures.entry(Method::Upload).or_default();
        failures.push_back(None);
        failures.extend([Some(Code::ResourceExhausted); 3]);
    });
    let id = debug(&stage.c1, sync());
    stage.c1.finished(&id).await.assert_failed(8, "the upload failed", false);
    assert_eq!((stage.c1.uploads().len(), stage.c1.called(Method::Upload, 4).await.len()), (1, 4));
    // The next upload includes it.
    assert!(log.exists());
}

//! Full syncs: the content of the upload, and the reasons for an early end.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use baton_retool::agent::c1z::{DecodeLimits, GrantFilter, Reader, ResourceFilter, Store, StoreOptions};
use baton_retool::agent::sync::{Options, Syncer};
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{BatonId, Resource};
use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use baton_retool::proto::find_annotation;
use tonic::Code;

use super::Stage;
use crate::support::c1::{C1, Finished, Method, Upload};
use crate::support::postgres::Database;
use crate::support::rows::{group, user, with_trait};
use crate::support::scripted::Script;
use crate::support::wire::resource;

fn sync() -> TaskType {
    TaskType::SyncFull(SyncFullTask::default())
}

/// The uploaded file, ready to be read.
struct Received {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Received {
    fn of(upload: &Upload) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("received.c1z");
        fs::write(&path, &upload.bytes).unwrap();
        Self { _folder: folder, path }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.path, None, DecodeLimits::default()).unwrap()
    }

    /// The number of resources and of grants.
    fn counts(&self) -> (usize, usize) {
        let reader = self.reader();
        let resources = reader.resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows.len();
        (resources, reader.grants(&GrantFilter::default(), None, usize::MAX).unwrap().rows.len())
    }
}

fn uploaded(c1: &C1, id: &str) -> Received {
    let uploads: Vec<Upload> = c1.uploads().into_iter().filter(|upload| upload.task_id == *id).collect();
    assert_eq!(uploads.len(), 1);
    Received::of(&uploads[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_uploads_everything() {
    let stage = Stage::new(&[]).await;
    let id = stage.c1.give(sync());
    let Finished::Success(request) = stage.c1.finished(&id).await else { panic!() };
    let state = format!("{:?}", request.final_state);
    assert!(state.contains("response: None") && state.contains("annotations: []"), "{state}");
    let received = uploaded(&stage.c1, &id);
    let (resources, grants) = received.counts();
    assert!(resources > 80 && grants > 100, "{resources} resources, {grants} grants");
    let of_task: Vec<Method> =
        stage.c1.calls().iter().filter(|call| call.task_id == id).map(|call| call.method).collect();
    // Heartbeats continue until the report is accepted, so one can arrive after it.
    let last = of_task.iter().rfind(|method| **method != Method::Heartbeat);
    assert_eq!((of_task[0], last), (Method::Heartbeat, Some(&Method::FinishTask)));
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_sets_the_scope_of_the_sync() {
    let stage = Stage::new(&[]).await;
    let run = async |task: SyncFullTask| {
        let id = stage.c1.give(TaskType::SyncFull(task));
        let ended = stage.c1.finished(&id).await;
        assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
        uploaded(&stage.c1, &id)
    };
    let (resources, grants) = run(SyncFullTask::default()).await.counts();
    let plain = run(SyncFullTask { skip_expand_grants: true, ..Default::default() }).await.counts();
    assert!(plain.0 == resources && plain.1 < grants, "{plain:?} {grants}");
    let only = run(SyncFullTask { skip_entitlements_and_grants: true, ..Default::default() }).await.counts();
    assert_eq!(only, (resources, 0));
    let none = run(SyncFullTask { skip_grants: true, ..Default::default() }).await.counts();
    assert_eq!(none, (resources, 0));
    let types = vec!["org".to_owned(), "user".to_owned()];
    let some = run(SyncFullTask { sync_resource_type_ids: types, ..Default::default() }).await.counts();
    assert!(some.0 < resources && some.0 > 0, "{some:?}");
    let targeted_sync_resources = vec![resource("group", "g1")];
    let one = run(SyncFullTask { targeted_sync_resources, ..Default::default() }).await;
    assert!(one.counts().0 < some.0, "{:?}", one.counts());
    let rows = one.reader().resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    let target = resource("group", "g1").id;
    assert!(rows.iter().any(|row| row.id == target), "{rows:?}");
    // The file has a format that every reader supports, even if the task names another engine.
    let engine = "pebble".to_owned();
    let other = run(SyncFullTask { storage_engine: engine, ..Default::default() }).await.counts();
    assert_eq!(other, (resources, grants));

    let excluded = SyncFullTask {
        targeted_sync_resources: vec![resource("page", "p1")],
        sync_resource_type_ids: vec!["group".to_owned()],
        ..Default::default()
    };
    let ended = stage.c1.run(TaskType::SyncFull(excluded)).await;
    ended.assert_failed(2, "the types of the task leave out all resources", false);
    let types = vec!["nope".to_owned()];
    let unknown = SyncFullTask { sync_resource_type_ids: types, ..Default::default() };
    let ended = stage.c1.run(TaskType::SyncFull(unknown)).await;
    ended.assert_failed(2, "invalid resource type 'nope' in filter", false);
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_apply_if_the_task_does_not_override_them() {
    let stage = Stage::new(&["--sync-resource-types", "org", "--workers", "4"]).await;
    let id = stage.c1.give(sync());
    stage.c1.finished(&id).await;
    let reader = uploaded(&stage.c1, &id);
    let rows = reader.reader().resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    assert!(!rows.is_empty() && rows.iter().all(|row| row.id.as_ref().unwrap().resource_type == "org"));
    // An upload of nothing would say that the page does not exist.
    let targeted_sync_resources = vec![resource("page", "p1")];
    let excluded = SyncFullTask { targeted_sync_resources, ..Default::default() };
    let ended = stage.c1.run(TaskType::SyncFull(excluded)).await;
    ended.assert_failed(2, "--sync-resource-types leave out all resources of this targeted sync", false);
    let empty = Stage::new(&["--skip-full-sync"]).await;
    let id = empty.c1.give(sync());
    empty.c1.finished(&id).await;
    let received = uploaded(&empty.c1, &id);
    assert_eq!(received.counts(), (0, 0));
    assert_eq!(received.reader().runs().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_users_and_groups_of_the_external_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.c1z");
    let store = Store::open(&StoreOptions::new(&file)).unwrap();
    let script = Script::new();
    script.types(vec![with_trait("user", Trait::User), with_trait("group", Trait::Group)]);
    script.resources("user", vec![user("ada")]);
    script.resources("group", vec![group("crew")]);
    let (outcome, store) = Syncer::new(script.channel().await, Options::default()).run(store).await;
    outcome.unwrap();
    store.unwrap().close().unwrap();
    let stage = Stage::new(&["--external-resource-c1z", file.to_str().unwrap()]).await;
    let id = stage.c1.give(sync());
    stage.c1.finished(&id).await;
    let received = uploaded(&stage.c1, &id);
    let rows = received.reader().resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    let (copied, own): (Vec<_>, Vec<_>) =
        rows.iter().partition(|row| find_annotation::<BatonId>(&row.annotations).is_some());
    let ids = |rows: &[&Resource]| -> Vec<String> {
        rows.iter()
            .map(|row| row.id.as_ref().unwrap())
            .map(|id| format!("{}/{}", id.resource_type, id.resource))
            .collect()
    };
    // Parallel workers wrote the file, so the order of its types varies.
    let copied: BTreeSet<String> = ids(&copied).into_iter().collect();
    assert_eq!(copied, BTreeSet::from(["group/crew".to_owned(), "user/ada".to_owned()]));
    assert!(own.len() > 80, "{}", own.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sync_stops_its_statements() {
    let stage = Stage::new(&[]).await;
    stage.c1.plan(|plan| plan.cancels_at = Some(2));
    // The sync waits for this lock until it is cancelled.
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users, groups, pages, user_groups").await.unwrap();
    let id = stage.c1.give(sync());
    stage.c1.finished(&id).await.assert_failed(1, "context canceled", false);
    // Validate counts the memberships across organizations in the background, once for each process.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query NOT LIKE '%AS memberships%'";
    crate::support::wire::eventually("the statements to stop", async || {
        let row = client.query_one(waiting, &[]).await.unwrap();
        (row.get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    assert!(stage.c1.uploads().is_empty());
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_beyond_its_deadline_is_retried() {
    let stage = Stage::new(&["--request-timeout-seconds", "4", "--snapshot-max-mib", "0"]).await;
    let client = stage.database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users").await.unwrap();
    let id = stage.c1.give(sync());
    stage.server.wait_for_log(|line| line["grpc.code"] == "DeadlineExceeded");
    client.batch_execute("ROLLBACK").await.unwrap();
    let ended = stage.c1.finished(&id).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_a_rejected_upload_three_times() {
    let stage = Stage::new(&[]).await;
    stage.c1.plan(|plan| plan.upload_ends.extend([0, 0]));
    let id = stage.c1.give(sync());
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
    let tries = stage.c1.called(Method::Upload, 3).await;
    assert_eq!(tries.len(), 3);
    assert!(tries[2].at - tries[1].at >= Duration::from_millis(900));
    stage.c1.plan(|plan| plan.always(Method::Upload, Some(Code::ResourceExhausted)));
    let id = stage.c1.give(sync());
    stage.c1.finished(&id).await.assert_failed(8, "the upload failed", false);
    assert_eq!(stage.c1.called(Method::Upload, 6).await.len(), 6);
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_while_conductorone_is_unavailable() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| plan.fail(Method::Upload, &[Code::Unavailable; 4]));
    let id = stage.c1.give(sync());
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
    assert_eq!(stage.c1.called(Method::Upload, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_an_upload_that_is_answered_too_early() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    // More than the connection's buffers hold before the other end reads it.
    fs::write(stage.c1.temp_dir().join("debug.log"), vec![b'x'; 16 * 1024 * 1024]).unwrap();
    stage.c1.plan(|plan| plan.upload_is_enough_at = Some(2));
    let id = stage.c1.give(sync());
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
    stage.server.wait_for_log(|line| {
        line["msg"] == "upload failed, retrying"
            && line["error"].as_str().is_some_and(|text| text.ends_with("before it received the whole file"))
    });
    let sizes: Vec<usize> = stage.c1.uploads().iter().map(|upload| upload.bytes.len()).collect();
    assert_eq!((sizes.len(), sizes[1]), (2, 16 * 1024 * 1024));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_can_be_cancelled_during_its_upload() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    stage.c1.plan(|plan| plan.holds_uploads_at = Some(1));
    let id = stage.c1.give(sync());
    stage.c1.called(Method::Upload, 1).await;
    stage.c1.plan(|plan| plan.cancels_at = Some(1));
    stage.c1.finished(&id).await.assert_failed(1, "context canceled", false);
    assert!(stage.c1.uploads().is_empty());
    assert!(stage.c1.left_over().is_empty(), "{:?}", stage.c1.left_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_any_size_are_sent_in_pieces() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    let log = stage.c1.temp_dir().join("debug.log");
    for (size, pieces) in
        [(0, vec![]), (1_048_576, vec![524_288, 524_288]), (1_300_000, vec![524_288, 524_288, 251_424])]
    {
        fs::write(&log, vec![b'x'; size]).unwrap();
        let id = stage.c1.give(sync());
        stage.c1.finished(&id).await;
        let last = stage.c1.uploads().pop().unwrap();
        assert_eq!((last.task_id, last.pieces), (id, pieces));
        assert!(log.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_removes_the_files_of_a_killed_program() {
    let c1 = C1::start().await;
    let database = Database::small().await;
    let client = database.client().await;
    client.batch_execute("BEGIN; LOCK TABLE users").await.unwrap();
    let server = c1.serve(&database.url(), &[]);
    let id = c1.give(sync());
    crate::support::wire::eventually("a file", async || (!c1.left_over().is_empty()).then_some(())).await;
    drop(server);
    assert!(!c1.left_over().is_empty());
    client.batch_execute("ROLLBACK").await.unwrap();
    let _next = c1.serve(&database.url(), &[]);
    crate::support::wire::eventually("an empty folder", async || c1.left_over().is_empty().then_some(()))
        .await;
    assert_eq!(c1.reports(&id), 0);
}

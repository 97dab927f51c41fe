//! Our files compared with those of the Go SDK's syncer, which reads from the same server: they have the same
//! content, and each program resumes syncs that the other left unfinished.
//!
//! Building the SDK's syncer takes Go and minutes, so `cargo test` skips these tests; `make judge` runs them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use baton_retool::agent::c1z::{DecodeLimits, EntitlementFilter, GrantFilter, Reader, ResourceFilter};
use baton_retool::proto::connector::{GrantSources, Resource};
use serde_json::Value;

use crate::support::cluster::project_file;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::{Server, program};

/// An organization with every resource type and with groups that hold grants.
const SIZES: Sizes = Sizes { users: 30, groups: 6, pages: 12, resources: 5 };

/// Builds the SDK's syncer if it is missing, and returns its path.
fn agent() -> String {
    let built = Command::new(project_file("scripts/sdk-tool")).arg("agent").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap().trim_end().to_owned()
}

/// Runs the SDK's syncer on a file and returns its output. It stops after a number of calls; 0 means never.
fn sdk(server: &Server, file: &Path, stop_after: u64) -> Value {
    let output = Command::new(agent())
        .args(["-address", &server.address().to_string(), "-stop-after", &stop_after.to_string(), "-file"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ours(database: &Database, file: &Path) -> Value {
    let output = program()
        .args(["sync", "--output", "json", "-f"])
        .arg(file)
        .env("BATON_CONNECTION_STRING", database.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The content of the finished sync in a file, by id, without times and ids of the sync.
#[derive(Debug, PartialEq)]
struct Content {
    types: Vec<String>,
    resources: BTreeMap<String, Resource>,
    entitlements: BTreeMap<String, (String, Vec<String>)>,
    grants: BTreeMap<String, Option<GrantSources>>,
}

fn content(file: &Path) -> Content {
    let reader = Reader::open(file, None, DecodeLimits::default()).unwrap();
    assert!(reader.run().unwrap().ended_at.is_some());
    let mut types: Vec<String> = reader.resource_types().unwrap().into_iter().map(|one| one.id).collect();
    types.sort();
    let resources = reader.resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    let entitlements = reader.entitlements(&EntitlementFilter::default(), None, usize::MAX).unwrap().rows;
    let grants = reader.grants(&GrantFilter::default(), None, usize::MAX).unwrap().rows;
    Content {
        types,
        resources: resources
            .into_iter()
            .map(|one| {
                let id = one.id.clone().unwrap();
                (format!("{}/{}", id.resource_type, id.resource), one)
            })
            .collect(),
        entitlements: entitlements
            .into_iter()
            .map(|one| {
                let to = one.grantable_to.into_iter().map(|to| to.id).collect();
                (one.id, (one.slug, to))
            })
            .collect(),
        grants: grants.into_iter().map(|one| (one.id, one.sources)).collect(),
    }
}

#[track_caller]
fn assert_same(ours: &Content, theirs: &Content) {
    assert!(!ours.grants.is_empty());
    assert_eq!(ours.types, theirs.types);
    assert_eq!(ours.resources, theirs.resources);
    assert_eq!(ours.entitlements, theirs.entitlements);
    let ids = |content: &Content| content.grants.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(ours), ids(theirs));
    assert_eq!(ours.grants, theirs.grants);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds a Go program: make judge"]
async fn a_file_has_the_same_content_as_the_sdks_file() {
    let database = Database::seeded(SIZES).await;
    let server = Server::start(&database, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (mine, theirs) = (folder.path().join("ours.c1z"), folder.path().join("theirs.c1z"));
    ours(&database, &mine);
    assert_eq!(sdk(&server, &theirs, 0)["finished"], true);
    assert_same(&content(&mine), &content(&theirs));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds a Go program: make judge"]
async fn resumes_a_sync_that_the_sdk_left_unfinished() {
    let database = Database::seeded(SIZES).await;
    let server = Server::start(&database, &[]);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.c1z");
    let calls = sdk(&server, &whole, 0)["calls"].as_u64().unwrap();
    // Stops at points from the first listings to the last ones.
    for eighth in 1..8 {
        let file = folder.path().join(format!("{eighth}.c1z"));
        let stop_after = calls * eighth / 8;
        let left = sdk(&server, &file, stop_after);
        assert_eq!(left["finished"], false, "stopped after {stop_after} of {calls} calls");
        let report = ours(&database, &file);
        assert_eq!(report["resumed"], true, "stopped after {stop_after} of {calls} calls");
        assert_same(&content(&file), &content(&whole));
    }
}

/// Locks on different tables stop our sync in different phases.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds a Go program: make judge"]
async fn the_sdk_resumes_a_stopped_sync() {
    let database = Database::seeded(SIZES).await;
    let server = Server::start(&database, &[]);
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.c1z");
    ours(&database, &whole);
    for table in ["organizations", "user_groups", "group_pages", "group_resources"] {
        let file = folder.path().join(format!("{table}.c1z"));
        let mut client = database.client().await;
        let lock = client.transaction().await.unwrap();
        lock.batch_execute(&format!("LOCK TABLE {table}")).await.unwrap();
        let mut running = program()
            .args(["sync", "-f"])
            .arg(&file)
            .env("BATON_CONNECTION_STRING", database.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        database.wait_until_blocked(1).await;
        let kill = ["-c", r#"kill -TERM "$0""#, &running.id().to_string()];
        assert!(Command::new("sh").args(kill).status().unwrap().success());
        assert_eq!(running.wait().unwrap().code(), Some(143), "{table}");
        lock.rollback().await.unwrap();
        let reader = Reader::open(&file, None, DecodeLimits::default()).unwrap();
        let runs = reader.runs().unwrap();
        assert_eq!((runs.len(), runs[0].ended_at.as_ref()), (1, None), "{table}");
        drop(reader);

        assert_eq!(sdk(&server, &file, 0)["finished"], true, "{table}");
        let reader = Reader::open(&file, None, DecodeLimits::default()).unwrap();
        assert_eq!(reader.run().unwrap().sync_id, runs[0].sync_id, "{table}: the sync is resumed");
        assert_same(&content(&whole), &content(&file));
    }
}

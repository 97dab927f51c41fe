//! The program without a command, or with `sync`: the real binary on a real Postgres.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use baton_retool::agent::c1z::{DecodeLimits, GrantFilter, Reader, ResourceFilter};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::project_file;
use crate::support::observe::see;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::{Server, program};

/// Timeout of a sync.
const MAX_WAIT: Duration = Duration::from_secs(60);

fn start(database: &Database, folder: &TempDir, arguments: &[&str]) -> Child {
    command(folder, arguments).env("BATON_CONNECTION_STRING", database.url()).spawn().unwrap()
}

fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut program = program();
    program
        .current_dir(folder.path())
        .args(arguments)
        .env("BATON_LOG_FORMAT", "console")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program
}

fn run(database: &Database, folder: &TempDir, arguments: &[&str]) -> Output {
    end(start(database, folder, arguments))
}

fn end(mut running: Child) -> Output {
    let deadline = Instant::now() + MAX_WAIT;
    while running.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // This has no effect on a process that has ended; a process that is still running has no exit code then.
    running.kill().unwrap();
    running.wait_with_output().unwrap()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The final message of the program, without the log around it.
fn last_line(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    errors.lines().rfind(|line| line.starts_with("baton-retool: ")).unwrap_or_default().to_owned()
}

fn read(file: &Path) -> Reader {
    Reader::open(file, None, DecodeLimits::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_command_it_writes_the_file_of_a_sync() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    let table = assert_ends(&run(&database, &folder, &[]), 0);
    for word in ["user", "group", "page", "grants", "sync.c1z", "baton-retool show", "calls"] {
        assert!(table.contains(word), "no {word:?} in:\n{table}");
    }
    let server = Server::start(&database, &[]);
    let (seen, walked) = see(server.channel().await).await.unwrap();
    let reader = read(&folder.path().join("sync.c1z"));
    let resources = reader.resources(&ResourceFilter::default(), None, usize::MAX).unwrap().rows;
    assert_eq!(resources.len(), seen.resources.len());
    let grants = reader.grants(&GrantFilter::default(), None, usize::MAX).unwrap().rows;
    assert!(grants.len() > seen.grants.len(), "what follows from others is there as well");

    let json = assert_ends(&run(&database, &folder, &["sync", "-f", "other.c1z", "--output", "json"]), 0);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["calls"], walked.calls);
    assert_eq!(report["grants"], grants.len());
    assert_eq!(report["kind"], "full");
    let bytes = fs::metadata(folder.path().join("other.c1z")).unwrap().len();
    assert_eq!(report["bytes"], bytes);
    let names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains("tmp")), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_change_the_scope_of_the_sync() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    let synced = |arguments: &[&str]| -> Value {
        let mut all = vec!["sync", "--output", "json"];
        all.extend(arguments);
        serde_json::from_str(&assert_ends(&run(&database, &folder, &all), 0)).unwrap()
    };
    let types = |report: &Value| -> Vec<String> {
        let types = report["types"].as_array().unwrap().iter();
        types.map(|one| one["type"].as_str().unwrap().to_owned()).collect()
    };
    let full = synced(&["--workers", "-1", "-f", "full.c1z"]);
    assert_eq!(types(&full), ["org", "user", "group", "page", "resource"]);
    let some = synced(&["--sync-resource-types", "org,user", "-f", "some.c1z"]);
    assert_eq!(types(&some), ["org", "user"]);
    let only = synced(&["--skip-entitlements-and-grants", "--parallel-sync", "-f", "only.c1z"]);
    assert_eq!((only["kind"].as_str(), only["grants"].as_u64()), (Some("resources_only"), Some(0)));
    let single = synced(&["--sync-resources", "bid:r:org/o1/group/g1", "--skip-grants", "-f", "single.c1z"]);
    assert_eq!((single["kind"].as_str(), single["grants"].as_u64()), (Some("partial"), Some(0)));
    let all_the_same = synced(&["--skip-full-sync", "-f", "full.c1z"]);
    assert_eq!(all_the_same["grants"], full["grants"]);
    for _ in 0..2 {
        synced(&["-f", "full.c1z"]);
    }
    assert_eq!(read(&folder.path().join("full.c1z")).runs().unwrap().len(), 2);
    synced(&["-f", "full.c1z", "--keep-sync-count", "3"]);
    assert_eq!(read(&folder.path().join("full.c1z")).runs().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_the_users_of_an_external_file() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    assert_ends(&run(&database, &folder, &["-f", "lender.c1z"]), 0);
    assert_ends(&run(&database, &folder, &["-f", "own.c1z", "--external-resource-c1z", "lender.c1z"]), 0);
    let reader = read(&folder.path().join("own.c1z"));
    let users = ResourceFilter { resource_type: Some("user".to_owned()), ..Default::default() };
    let users = reader.resources(&users, None, usize::MAX).unwrap().rows;
    assert!(!users.is_empty());
    let lent = |name: &str| name.ends_with("/c1.connector.v2.BatonID");
    assert!(users.iter().all(|user| user.annotations.iter().any(|annotation| lent(&annotation.type_url))));

    let output = run(
        &database,
        &folder,
        &[
            "--external-resource-c1z",
            "lender.c1z",
            "--external-resource-entitlement-id-filter",
            "no:such:one",
        ],
    );
    assert_ends(&output, 1);
    assert!(last_line(&output).contains("no entitlement \"no:such:one\""), "{}", last_line(&output));
}

#[test]
fn invalid_options_exit_with_2_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ["--connection-string", "postgres://baton@127.0.0.1:1/retool"];
    let cases: &[(&[&str], &str)] = &[
        (&["--skip-grants"], "requires sync-resources"),
        (&["--external-resource-entitlement-id-filter", "x"], "requires external-resource-c1z"),
        (&["--sync-resources", "group/g1"], "bid:r:<type>/<id>"),
        (&["--sync-resources", "bid:r:group/g1", "--sync-resource-types", "user"], "none of the resources"),
        (&["--workers", "many"], "-1, or a whole number"),
        (&["--workers", "-2"], "-1, or a whole number"),
        (&["--keep-sync-count", "0"], "keep-sync-count"),
    ];
    for (arguments, words) in cases {
        let output = end(command(&folder, &nowhere).args(*arguments).spawn().unwrap());
        assert_ends(&output, 2);
        assert!(last_line(&output).contains(words), "{arguments:?}: {}", last_line(&output));
    }
    let output = end(command(&folder, &[]).spawn().unwrap());
    assert_ends(&output, 2);
    assert!(last_line(&output).contains("connection-string is required"), "{}", last_line(&output));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_foreign_file_is_rejected_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ["--connection-string", "postgres://baton@127.0.0.1:1/retool"];
    for (name, content) in [
        ("v3.c1z", fs::read(project_file("tests/data/c1z/go-0.25-pebble.c1z")).unwrap()),
        ("photo.c1z", b"not a c1z file at all".to_vec()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &content).unwrap();
        let output = end(command(&folder, &nowhere).args(["-f", name]).spawn().unwrap());
        assert_ends(&output, 1);
        assert!(last_line(&output).contains(name), "{}", last_line(&output));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let output = end(command(&folder, &nowhere).args(["-f", "no/such/folder/x.c1z"]).spawn().unwrap());
    assert_ends(&output, 1);
    assert!(last_line(&output).contains("create the folder"), "{}", last_line(&output));
}

#[cfg(target_os = "linux")]
#[test]
fn the_error_names_a_folder_that_is_not_writable() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ["--connection-string", "postgres://baton@127.0.0.1:1/retool"];
    // Even root may not create a file there.
    let output = end(command(&folder, &nowhere).args(["-f", "/sys/x.c1z"]).spawn().unwrap());
    assert_ends(&output, 1);
    assert!(last_line(&output).contains("cannot write files in /sys"), "{}", last_line(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_the_old_file() {
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    assert_ends(&run(&database, &folder, &[]), 0);
    let file = folder.path().join("sync.c1z");
    let before = fs::read(&file).unwrap();
    // A file can have at most 64 blocks. The rows of a sync and the unpacked old file both exceed this limit.
    // Without an old file, the sync fails when it writes rows.
    for name in ["sync.c1z", "new.c1z"] {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", r#"trap '' XFSZ; ulimit -f 64; exec "$@""#, "sh"])
            .arg(program().get_program())
            .args(["-f", name])
            .current_dir(folder.path())
            .env("BATON_CONNECTION_STRING", database.url())
            .env("BATON_TMPDIR", folder.path())
            .env("BATON_LOG_FORMAT", "console")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = end(limited.spawn().unwrap());
        assert_ends(&output, 1);
        assert!(last_line(&output).starts_with("baton-retool: cannot "), "{}", last_line(&output));
        assert_eq!(fs::read(&file).unwrap(), before);
    }
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["sync.c1z"]);
}

#[test]
fn an_unreachable_database_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = ["--connection-string", "postgres://baton@127.0.0.1:1/retool"];
    let output = end(command(&folder, &nowhere).spawn().unwrap());
    assert_ends(&output, 1);
    assert!(last_line(&output).starts_with("baton-retool: Validate of the connector failed"));
    assert!(!folder.path().join("sync.c1z").exists());
}

/// Sends a signal to a sync in the middle of its listings, where it waits for a lock of this test.
async fn interrupted(database: &Database, folder: &TempDir, arguments: &[&str], signal: &str) -> Output {
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE real_organizations").await.unwrap();
    let running = start(database, folder, arguments);
    database.wait_until_blocked(1).await;
    let kill = ["-c", r#"kill -"$0" "$1""#, signal, &running.id().to_string()];
    assert!(Command::new("sh").args(kill).status().unwrap().success());
    let output = end(running);
    lock.rollback().await.unwrap();
    output
}

/// A database with a view in place of the organizations. Its rows wait for a lock, while its columns can be inspected.
async fn interruptible() -> Database {
    let database = Database::seeded(Sizes { users: 9, groups: 3, pages: 4, resources: 3 }).await;
    database.reveal("'one'").await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_keeps_the_unfinished_sync_and_the_next_run_resumes_it() {
    let database = interruptible().await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let output = interrupted(&database, &folder, &[], signal).await;
        assert_ends(&output, code);
        let file = folder.path().join("sync.c1z");
        assert!(last_line(&output).contains("unfinished sync"), "{}", last_line(&output));
        let unfinished = read(&file).runs().unwrap();
        assert_eq!((unfinished.len(), unfinished[0].ended_at.as_ref()), (1, None));
        let is_json = signal == "INT";
        let arguments: &[&str] = if is_json { &["--output", "json"] } else { &[] };
        let report = assert_ends(&run(&database, &folder, arguments), 0);
        let finished = read(&file).runs().unwrap();
        assert_eq!(finished.len(), 1);
        assert!(finished[0].ended_at.is_some());
        assert_eq!(finished[0].sync_id, unfinished[0].sync_id);
        if is_json {
            let report: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(
                (&report["resumed"], &report["started_at"]),
                (&json!(true), &json!(finished[0].started_at))
            );
        } else {
            let began = finished[0].started_at.split('.').next().unwrap();
            assert!(
                report.contains(&format!("continued the unfinished sync that began at {began};")),
                "{report}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_sync_of_another_database_or_with_other_settings_is_discarded() {
    let database = interruptible().await;
    let other = Database::small().await;
    let other_path = format!("{}?search_path=public", database.url());
    let cases: [(&[&str], &Database, &[&str]); 5] = [
        (&["--skip-pages"], &database, &[]),
        (&[], &database, &["--skip-disabled-users"]),
        (&["--sync-resource-types", "org,user"], &database, &[]),
        (&[], &other, &[]),
        (&[], &database, &["--connection-string", &other_path]),
    ];
    for (first, second_database, second) in cases {
        let folder = tempfile::tempdir().unwrap();
        assert_ends(&interrupted(&database, &folder, first, "INT").await, 130);
        let file = folder.path().join("sync.c1z");
        let unfinished = read(&file).runs().unwrap();
        let output = run(second_database, &folder, &[second, &["--output", "json"]].concat());
        let report: Value = serde_json::from_str(&assert_ends(&output, 0)).unwrap();
        assert_eq!(report["resumed"], false);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("discarded"), "{errors}");
        let finished = read(&file).runs().unwrap();
        assert_eq!(finished.len(), 1);
        assert_ne!(finished[0].sync_id, unfinished[0].sync_id);
        // The same as without the unfinished sync.
        let fresh = tempfile::tempdir().unwrap();
        let expected = run(second_database, &fresh, &[second, &["--output", "json"]].concat());
        let expected: Value = serde_json::from_str(&assert_ends(&expected, 0)).unwrap();
        assert_eq!((&report["types"], &report["grants"]), (&expected["types"], &expected["grants"]));
    }
}

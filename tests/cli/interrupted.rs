//! One-shot changes, syncs and the demo that receive a signal.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::postgres::Database;
use crate::support::retool_api::{Gate, Reply, RetoolApi};
use crate::support::server::{Server, program, without_settings};
use crate::support::skipped::skipped;
use crate::support::wire::eventually;

const JOIN: [&str; 4] =
    ["-p", "--grant-entitlement=group:g5:member", "--grant-principal=u7", "--grant-principal-type=user"];

/// Starts the program with these flags.
fn start(database: &Database, folder: &TempDir, flags: &[&[&str]]) -> Server {
    let mut command = program();
    command
        .args(flags.concat())
        .env("BATON_CONNECTION_STRING", database.url())
        .env("BATON_LOG_FORMAT", "json")
        .current_dir(folder.path());
    Server::run(command)
}

fn is_requested(line: &Value) -> bool {
    line["msg"] == "change requested"
}

fn is_waiting(line: &Value) -> bool {
    line["msg"].as_str().is_some_and(|text| text.starts_with("received Ctrl-C: waiting"))
}

/// The final record of the change.
#[track_caller]
fn record(logs: &[Value]) -> &Value {
    logs.iter().find(|line| line["msg"] == "change").unwrap_or_else(|| panic!("no record: {logs:?}"))
}

/// The final message of a stopped program.
#[track_caller]
fn message(logs: &[Value]) -> &str {
    let last = logs.iter().find(|line| line["msg"] == "command stopped");
    last.unwrap_or_else(|| panic!("no message: {logs:?}"))["error"].as_str().unwrap()
}

async fn is_member(database: &Database) -> bool {
    let sql = r#"SELECT count(*) FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#;
    database.reader().await.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
}

async fn without_membership() -> Database {
    let database = Database::small().await;
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;
    database
}

/// The change succeeds, and the program ends as if there had been no signal.
async fn assert_completes(running: Server, database: &Database) {
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(0), "{logs:?}");
    assert_eq!(record(&logs)["outcome"], "changed");
    assert!(is_member(database).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_signal_interrupts_is_recorded_with_an_unknown_outcome() {
    let (database, folder) = (without_membership().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups").await.unwrap();
    for (signal, name, code) in [("INT", "Ctrl-C", 130), ("TERM", "SIGTERM", 143)] {
        let running = start(&database, &folder, &[&JOIN, &["--shutdown-grace-seconds=0"]]);
        running.wait_for_log(is_requested);
        // Before the change reaches the database, a signal ends it with a known outcome.
        database.wait_until_blocked(1).await;
        running.signal(signal);
        let (status, logs) = running.ended();
        assert_eq!(status.code(), Some(code), "{logs:?}");
        let record = record(&logs);
        assert_eq!((&record["logger"], &record["operation"]), (&"audit".into(), &"grant".into()));
        assert_eq!((&record["outcome"], &record["reason"]), (&"unknown".into(), &"interrupted".into()));
        let text = message(&logs);
        assert!(text.starts_with(&format!("stopped by {name} while the change was in progress")), "{text}");
        assert!(text.contains("run the same command again with --dry-run"), "{text}");
        eventually("the end of the statement", async || {
            (database.statements_in_progress().await == 0).then_some(())
        })
        .await;
    }
    transaction.rollback().await.unwrap();
    assert!(!is_member(&database).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_ends_after_a_signal_is_recorded_with_its_outcome() {
    let (database, folder) = (without_membership().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups").await.unwrap();
    let running = start(&database, &folder, &[&JOIN]);
    running.wait_for_log(is_requested);
    running.signal("INT");
    running.wait_for_log(is_waiting);
    transaction.rollback().await.unwrap();
    assert_completes(running, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_interrupts_a_change_at_once() {
    let (database, folder) = (Database::small().await, tempfile::tempdir().unwrap());
    let api = RetoolApi::start(&database);
    let gate = Gate::closed();
    api.next("PATCH", Reply::Usual.behind(&gate));
    let args = r#"--invoke-action-args={"user_id": {"resource_type_id": "user", "resource_id": "u5"}}"#;
    let own = api.flags();
    let own: Vec<&str> = own.iter().map(AsRef::as_ref).collect();
    let running = start(&database, &folder, &[&["-p", "--invoke-action=disable_user", args], &own]);
    gate.reached().await;
    running.signal("INT");
    running.wait_for_log(is_waiting);
    running.signal("INT");
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(130), "{logs:?}");
    let record = record(&logs);
    assert_eq!((&record["operation"], &record["principal_id"]), (&"disable_user".into(), &"u5".into()));
    assert_eq!((&record["outcome"], &record["reason"]), (&"unknown".into(), &"interrupted".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_before_the_change_begins_changes_nothing() {
    let (database, folder) = (without_membership().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE groups, users").await.unwrap();
    let running = start(&database, &folder, &[&JOIN, &["--shutdown-grace-seconds=0"]]);
    running.wait_for_log(|line| line["msg"] == "using the Retool database");
    running.signal("INT");
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(130), "{logs:?}");
    assert_eq!(message(&logs), "stopped by Ctrl-C; nothing was changed");
    assert!(!logs.iter().any(|line| line["logger"] == "audit"), "{logs:?}");
}

/// Each signal with its name in the log.
const OTHERS: [(&str, &str); 3] = [("USR1", "SIGUSR1"), ("USR2", "SIGUSR2"), ("HUP", "SIGHUP")];

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_do_not_end_a_change() {
    let (database, folder) = (without_membership().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups").await.unwrap();
    let running = start(&database, &folder, &[&JOIN]);
    running.wait_for_log(is_requested);
    for (signal, name) in OTHERS {
        running.signal(signal);
        running.wait_for_log(|line| line["signal"] == name);
    }
    transaction.rollback().await.unwrap();
    assert_completes(running, &database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_signals_do_not_end_a_sync_and_sighup_reopens_its_log() {
    let (database, folder) = (Database::small().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let running = start(&database, &folder, &[&["--log-path=stderr,a.log"]]);
    database.wait_until_blocked(1).await;
    fs::rename(folder.path().join("a.log"), folder.path().join("a.log.1")).unwrap();
    for (signal, name) in OTHERS {
        running.signal(signal);
        running.wait_for_log(|line| line["signal"] == name);
    }
    transaction.rollback().await.unwrap();
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(0), "{logs:?}");
    assert!(folder.path().join("sync.c1z").exists());
    // The program writes its last lines before it exits.
    assert!(fs::read_to_string(folder.path().join("a.log")).unwrap().contains("SIGHUP"));
}

/// Starts the program in a shell that ignores SIGHUP, as `nohup` does.
fn start_without_hangup(database: &Database, folder: &TempDir, flags: &[&str]) -> Server {
    let program = program();
    let mut command = without_settings(Command::new("sh"));
    command
        .args(["-c", r#"trap '' HUP; exec "$0" "$@""#])
        .arg(program.get_program())
        .args(flags)
        .env("BATON_CONNECTION_STRING", database.url())
        .env("BATON_LOG_FORMAT", "json")
        .current_dir(folder.path());
    Server::run(command)
}

/// Whether a process ignores SIGHUP; `None` if this system does not show it.
fn ignores_hangup(process: &str) -> Option<bool> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    // The lowest bit stands for signal 1.
    Some(u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_demo_started_with_nohup_continues_when_its_terminal_is_closed() {
    let (database, folder) = (Database::small().await, tempfile::tempdir().unwrap());
    let running = start_without_hangup(&database, &folder, &["demo", "--listen=127.0.0.1:0"]);
    running.wait_for_log(|line| line["msg"] == "using the Retool database");
    // The kernel does not deliver a signal that the program ignores, so nothing shows that it was sent.
    assert_eq!(ignores_hangup(&running.process_id().to_string()), Some(true));
    running.signal("HUP");
    running.signal("TERM");
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(0), "{logs:?}");
    assert!(logs.iter().any(|line| line["msg"] == "received SIGTERM"), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_started_with_nohup_reopens_its_log_and_ends() {
    let (database, folder) = (Database::small().await, tempfile::tempdir().unwrap());
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let running = start_without_hangup(&database, &folder, &["sync"]);
    database.wait_until_blocked(1).await;
    running.signal("HUP");
    running.wait_for_log(|line| line["signal"] == "SIGHUP");
    transaction.rollback().await.unwrap();
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(0), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_exits_with_0_when_its_terminal_is_closed() {
    if ignores_hangup("self") == Some(true) {
        skipped("SIGHUP of the demo: the tests run with nohup");
        return;
    }
    let (database, folder) = (Database::small().await, tempfile::tempdir().unwrap());
    let running = start(&database, &folder, &[&["demo", "--listen=127.0.0.1:0"]]);
    running.wait_for_log(|line| line["msg"] == "using the Retool database");
    for (signal, name) in &OTHERS[..2] {
        running.signal(signal);
        running.wait_for_log(|line| line["signal"] == *name);
    }
    running.signal("HUP");
    let (status, logs) = running.ended();
    assert_eq!(status.code(), Some(0), "{logs:?}");
}

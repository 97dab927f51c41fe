//! The log of the function.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::reload::types;
use crate::start::metadata;
use crate::support::hosted::Config;
use crate::support::hosted::caller::{Call, Form};
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};
use crate::support::server::{Server, without_settings};

fn at_level(level: &str, until: &str) -> Value {
    json!({ "connection-string": NOWHERE, "log-level": level, "log-level-debug-expires-at": until })
}

/// Whether a successful call is logged now, which it is at level debug. `number` counts the uses from 0.
async fn logs_calls(stage: &Stage, number: usize) -> bool {
    metadata(stage).await;
    // This is logged as well, after the lines of the successful call.
    let call = Call { method: String::new(), request: None, headers: Vec::new() };
    stage.make_as(call.with("authorization", &["Bearer x"]), Form::Json).await.assert_failed(16, "");
    let is_refusal = |line: &Value| line["msg"] == "call refused";
    let mut lines = stage.function.logs();
    while lines.iter().filter(|line| is_refusal(line)).count() <= number {
        lines = stage.function.logs();
    }
    let mut parts = lines.split(is_refusal);
    parts.nth(number).unwrap().iter().any(|line| line["grpc.method"] == "GetMetadata")
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_end_at_the_configured_time() {
    for (until, debug) in [("2020-01-01T00:00:00Z", false), ("2999-01-01T00:00:00.5+02:00", true)] {
        let parts = Parts::new(NOWHERE).await;
        parts.hosted.serve("cv-1", Config::of("cv-1", at_level("debug", until)));
        let stage = parts.run();
        metadata(&stage).await;
        let (_, lines) = stage.function.stop();
        assert_eq!(lines.iter().any(|line| line["level"] == "debug"), debug, "{until}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debug_logs_end_while_the_function_runs() {
    // On a busy machine the start may take longer than the debug level of the first attempt lasts.
    for seconds in [5, 20, 50] {
        let parts = Parts::new(NOWHERE).await;
        let end = SystemTime::now() + Duration::from_secs(seconds);
        let until = OffsetDateTime::from(end).format(&Rfc3339).unwrap();
        parts.hosted.serve("cv-1", Config::of("cv-1", at_level("debug", &until)));
        let stage = parts.run();
        let is_logged = logs_calls(&stage, 0).await;
        if SystemTime::now() >= end {
            continue;
        }
        assert!(is_logged);
        tokio::time::sleep(end.duration_since(SystemTime::now()).unwrap_or_default()).await;
        assert!(!logs_calls(&stage, 1).await);
        return;
    }
    panic!("every start took too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_log_level() {
    let parts = Parts::new(NOWHERE).await;
    let until = "2999-01-01T00:00:00Z";
    parts.hosted.add("cv-2", Config::of("cv-2", at_level("debug", until)));
    let stage = parts.run();
    assert!(!logs_calls(&stage, 0).await);
    assert_eq!(types(&stage, "cv-2").await, 5);
    assert!(logs_calls(&stage, 1).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_has_the_fields_of_the_variables() {
    const FIELDS: [(&str, &str); 9] = [
        ("tenant", "tenant_id"),
        ("connector", "connector_id"),
        ("app", "app_id"),
        ("version", "release_version"),
        ("installation", "installation"),
        ("catalog_id", "catalog_id"),
        ("catalog_name", "catalog_name"),
        ("tenant_name", "tenant_name"),
        ("tenant_is_internal", "tenant_is_internal"),
    ];
    for are_set in [true, false] {
        let parts = Parts::new(NOWHERE).await;
        let mut program = parts.program("lambda");
        for (variable, _) in FIELDS {
            match are_set {
                true => program.env(variable, format!("value of {variable}")),
                false => program.env_remove(variable),
            };
        }
        let stage = Stage { function: Server::run(program), parts };
        metadata(&stage).await;
        let (_, lines) = stage.function.stop();
        assert!(!lines.is_empty());
        for line in &lines {
            for (variable, field) in FIELDS {
                let expected = are_set.then(|| json!(format!("value of {variable}")));
                assert_eq!(line.get(field), expected.as_ref(), "{line}");
            }
        }
    }
}

/// Runs in a process of its own, because a hook for panics belongs to a process.
#[test]
#[ignore = "a_panic_is_one_line_of_json_without_its_message runs it"]
fn the_command_runs_and_a_thread_panics() {
    let run = |name: &str| baton_retool::cli::run(["baton-retool", name].map(OsString::from));
    run("lambda");
    // Only a literal of the source is logged.
    let secret = "hunter2".to_owned();
    std::thread::spawn(move || panic!("{secret}")).join().unwrap_err();
    // The end of a command writes the lines that wait.
    run("version");
}

#[test]
fn a_panic_is_one_line_of_json_without_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let output = without_settings(Command::new(std::env::current_exe().unwrap()))
        .args(["--exact", "logs::the_command_runs_and_a_thread_panics", "--ignored", "--nocapture"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !text.contains("hunter2"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let panic = lines.last().unwrap();
    assert_eq!((&panic["level"], &panic["msg"]), (&json!("error"), &json!("panic")));
    assert!(panic["place"].as_str().unwrap().starts_with(file!()), "{panic}");
}

//! The SDK's own tool reads files that are uploaded to ConductorOne.
//!
//! Building the tool takes Go and minutes, so `cargo test` skips these tests; `make judge` runs them.

use std::fs;
use std::process::Command;

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use serde_json::Value;

use super::Stage;
use crate::support::c1::Finished;
use crate::support::cluster::project_file;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "builds a Go program: make judge"]
async fn the_sdk_reads_an_uploaded_file() {
    let built = Command::new(project_file("scripts/sdk-tool")).arg("baton").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let tool = String::from_utf8(built.stdout).unwrap().trim_end().to_owned();
    let stage = Stage::new(&[]).await;
    let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("uploaded.c1z");
    fs::write(&file, &stage.c1.uploads()[0].bytes).unwrap();
    let count = |command: &str| {
        let output = Command::new(&tool)
            .current_dir(folder.path())
            .arg("-f")
            .arg(&file)
            .args(["-o", "json", command])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = read.as_object().and_then(|read| read.values().next());
        list.and_then(Value::as_array).map_or(0, Vec::len)
    };
    for command in ["resources", "entitlements", "grants"] {
        assert!(count(command) > 20, "{command}");
    }
}

//! Names and addresses in statuses of ConductorOne and in an external file: no log contains them.

use std::path::Path;

use baton_retool::agent::c1z::{Store, StoreOptions};
use baton_retool::agent::sync::{Options, Syncer};
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use serde_json::Value;
use tonic::Code;

use crate::support::c1::{C1, Finished, Method};
use crate::support::collector::Collector;
use crate::support::postgres::Database;
use crate::support::rows::{entitlement, grant, group, user, with_trait};
use crate::support::scripted::Script;
use crate::support::server::Server;

const PLANTED: &str = "Ann Planted <ann@planted.example>";

/// A file with a group whose two members have addresses as ids; the file lacks one of them.
async fn directory(file: &Path) {
    let script = Script::new();
    script.types(vec![with_trait("user", Trait::User), with_trait("group", Trait::Group)]);
    script.resources("user", vec![user("ann@planted.example")]);
    script.resources("group", vec![group("crew")]);
    let member = entitlement(&group("crew"), "member");
    script.entitlements("group/crew", vec![member.clone()]);
    let of = |name| grant(&member, &user(name));
    script.grants("group/crew", vec![of("ann@planted.example"), of("eve@planted.example")]);
    let store = Store::open(&StoreOptions::new(file)).unwrap();
    let (outcome, store) = Syncer::new(script.channel().await, Options::default()).run(store).await;
    outcome.unwrap();
    store.unwrap().close().unwrap();
}

fn says(line: &Value, words: &str) -> bool {
    line["msg"].as_str().is_some_and(|text| text.contains(words))
}

/// Runs syncs with this filter of the external file and verifies that the log and the collector receive no planted
/// text.
async fn nothing_is_logged(filter: &str, test: impl AsyncFnOnce(&C1, &Server)) {
    let (c1, collector) = (C1::start().await, Collector::start().await);
    let database = Database::small().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.c1z");
    directory(&file).await;
    c1.plan(|plan| plan.failure_message = PLANTED);
    let file = format!("--external-resource-c1z={}", file.display());
    let filter = format!("--external-resource-entitlement-id-filter={filter}");
    let endpoint = format!("--otel-collector-endpoint={}", collector.address());
    let flags = [&file, &filter, &endpoint, "--otel-collector-endpoint-tls-insecure"];
    c1.plan(|plan| plan.fail(Method::Hello, &[Code::Unavailable]));
    let server = c1.serve(&database.url(), &flags);
    test(&c1, &server).await;
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let received = collector.received();
    let records: Vec<String> = received.records().iter().map(|record| format!("{record:?}")).collect();
    assert!(records.len() > 20, "{} records", records.len());
    let others = [format!("{:?} {:?}", received.traces, received.metrics)];
    for text in logs.iter().map(Value::to_string).chain(records).chain(others) {
        // At level debug the log has the settings of the operator.
        let leaked = text.to_lowercase().contains("planted") && !text.contains("effective setting");
        assert!(!leaked, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_statuses_of_conductorone_and_in_external_files_reach_no_log() {
    let sync = || TaskType::SyncFull(SyncFullTask::default());
    nothing_is_logged("group:crew:member", async |c1, server| {
        let logged = |words: &str| server.wait_for_log(|line| says(line, words));
        assert!(logged("startup Hello failed")["error"].as_str().unwrap().contains("Unavailable"));
        c1.plan(|plan| {
            plan.fail(Method::GetTask, &[Code::PermissionDenied]);
            plan.fail(Method::Heartbeat, &[Code::Unavailable]);
            plan.fail(Method::Upload, &[Code::Internal]);
            plan.fail(Method::FinishTask, &[Code::Aborted]);
        });
        let ended = c1.run(sync()).await;
        assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
        for (words, code) in [
            ("cannot get tasks from ConductorOne", "PermissionDenied"),
            ("the first heartbeat failed", "Unavailable"),
            ("upload failed, retrying", "Internal"),
            ("cannot report the end of the task, retrying", "Aborted"),
            ("the external file does not have a holder of the entitlement", ""),
        ] {
            let line = logged(words);
            let error = line["error"].as_str().unwrap_or_default();
            assert!(error.contains(code), "no code in {line}");
        }
        // ConductorOne gets its own message back.
        c1.plan(|plan| plan.fail(Method::Upload, &[Code::Internal; 3]));
        c1.run(sync()).await.assert_failed(13, PLANTED, false);
        // A report that is refused.
        c1.plan(|plan| plan.fail(Method::FinishTask, &[Code::NotFound]));
        c1.give(sync());
        logged("cannot report the end of the task; check");
    })
    .await;
    nothing_is_logged("group:crew:ann@planted.example", async |c1, server| {
        c1.run(sync()).await.assert_failed(2, "has no entitlement \"group:crew:ann@planted.example\"", false);
        server.wait_for_log(|line| says(line, "the sync failed"));
    })
    .await;
}

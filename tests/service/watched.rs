//! Observability of service mode: snapshots in its metrics, a span for each task, and probes while it stops.

use std::net::SocketAddr;

use baton_retool::proto::connectorapi::task::{GrantTask, SyncFullTask, TaskType};
use serde_json::Value;
use tonic::Code;

use super::{NOWHERE, Stage, small};
use crate::support::c1::{C1, Finished, Method};
use crate::support::collector::{Collector, attribute};
use crate::support::http::ask;
use crate::support::wire::eventually;

fn address(stage: &Stage) -> SocketAddr {
    let line = stage.server.wait_for_log(|line| line["msg"] == "metrics listening");
    line["address"].as_str().unwrap().parse().unwrap()
}

/// Waits until the metrics contain all these lines.
async fn has(address: SocketAddr, wanted: &[&str]) {
    eventually("the metrics", async || {
        let text = ask(address, "GET", "/metrics").body;
        wanted.iter().all(|line| text.lines().any(|found| found == *line)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_uses_one_snapshot_unless_snapshots_are_disabled() {
    let mut sizes = Vec::new();
    for (most, reads) in [("96", 1), ("0", 0)] {
        let stage = Stage::new(&["--snapshot-max-mib", most, "--metrics-listen", "127.0.0.1:0"]).await;
        let ended = stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
        assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
        let is_read = |line: &&Value| line["msg"] == "read a snapshot of access for a sync";
        let logs = stage.server.logs();
        assert_eq!(logs.iter().filter(is_read).count(), reads, "--snapshot-max-mib {most}");
        let complete = logs.iter().find(|line| line["msg"] == "sync complete").unwrap();
        sizes.push(complete["grants"].as_u64().unwrap());
        // The snapshot is not kept after the sync.
        has(address(&stage), &["baton_retool_snapshots 0"]).await;
    }
    assert!(sizes[0] > 100 && sizes[0] == sizes[1], "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_has_its_own_trace() {
    let collector = Collector::start().await;
    let endpoint = collector.address();
    let stage = Stage::new(&[
        "--otel-collector-endpoint",
        &endpoint,
        "--otel-collector-endpoint-tls-insecure",
        "--sync-resource-types",
        "org",
    ])
    .await;
    stage.c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    stage.c1.run(TaskType::Grant(GrantTask::default())).await;
    // The end of the program sends the remaining spans.
    let Stage { server, .. } = stage;
    let (status, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert!(status.success(), "{logs:?}");
    let spans = collector.received().spans();
    let of = |name: &str| {
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
        found[0]
    };
    let (sync, grant) = (of("task sync_full"), of("task grant"));
    for (span, outcome) in [(sync, "done"), (grant, "failed_permanently")] {
        assert_eq!(attribute(&span.attributes, "baton.outcome").as_deref(), Some(outcome));
    }
    assert_ne!(sync.trace_id, grant.trace_id);
    assert!(sync.parent_span_id.is_empty(), "{sync:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_not_ready_while_it_stops() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.always(Method::FinishTask, Some(Code::Unavailable)));
    let server = c1.serve(NOWHERE, &["--health-check", "--health-check-port", "0"]);
    let line = server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let id = c1.give(small());
    c1.called(Method::FinishTask, 1).await;
    assert_eq!(ask(address, "GET", "/ready").code, 200);
    server.terminate();
    server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping")));
    let ready = ask(address, "GET", "/ready");
    assert_eq!((ready.code, ready.json()["status"].as_str()), (503, Some("not_ready")));
    assert_eq!(ask(address, "GET", "/live").code, 200);
    c1.plan(|plan| plan.always(Method::FinishTask, None));
    let (status, lines) = server.ended();
    assert!(status.success(), "{lines:?}");
    assert_eq!(c1.reports(&id), 1);
}

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Instruments of this test, and the registry that Prometheus would read.
fn instruments() -> (Instruments, SdkMeterProvider, Registry) {
    let registry = Registry::new();
    let provider = SdkMeterProvider::builder().with_reader(scraper(&registry).unwrap()).build();
    (Instruments::new(&provider.meter("test")), provider, registry)
}

const HALF: Duration = Duration::from_millis(500);

#[test]
fn calls_are_counted_and_measured_by_method_and_code() {
    let (instruments, _provider, registry) = instruments();
    let call = ("c1.connector.v2.GrantsService", "ListGrants");
    instruments.call_in_progress(1);
    instruments.call_in_progress(1);
    instruments.call_in_progress(-1);
    instruments.call_ended(call, Code::Ok, HALF, Some(7));
    instruments.call_ended(call, Code::Ok, HALF, Some(0));
    instruments.call_ended(("", ""), Code::Unimplemented, Duration::from_secs(100), None);
    let text = text(&registry);
    let labels = r#"code="OK",method="ListGrants",service="c1.connector.v2.GrantsService""#;
    for line in [
        format!("baton_retool_grpc_requests_total{{{labels}}} 2"),
        format!("baton_retool_grpc_request_duration_seconds_bucket{{{labels},le=\"0.25\"}} 0"),
        format!("baton_retool_grpc_request_duration_seconds_bucket{{{labels},le=\"0.5\"}} 2"),
        format!("baton_retool_grpc_request_duration_seconds_sum{{{labels}}} 1"),
        r#"baton_retool_grpc_requests_total{code="Unimplemented",method="unknown",service="unknown"} 1"#
            .into(),
        "baton_retool_grpc_requests_in_flight 1".into(),
        r#"baton_retool_rows_total{method="ListGrants"} 7"#.into(),
        "# TYPE baton_retool_grpc_requests_total counter".into(),
        "# TYPE baton_retool_grpc_requests_in_flight gauge".into(),
        "# TYPE baton_retool_grpc_request_duration_seconds histogram".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}

#[test]
fn requests_to_the_rest_api_are_counted_by_operation_status_and_outcome() {
    let (instruments, _provider, registry) = instruments();
    for (outcome, status) in [
        (RestOutcome::Ok, Some(200)),
        (RestOutcome::Ok, Some(200)),
        (RestOutcome::NotJson, Some(200)),
        (RestOutcome::Refused, Some(60_000)),
        (RestOutcome::Cancelled, None),
    ] {
        instruments.rest_ended("users.create", outcome, status, HALF);
    }
    let text = text(&registry);
    for (code, outcome, count) in
        [("200", "ok", 2), ("200", "not_json", 1), ("unknown", "refused", 1), ("none", "cancelled", 1)]
    {
        let labels = format!("code=\"{code}\",operation=\"users.create\",outcome=\"{outcome}\"");
        let line = format!("baton_retool_rest_requests_total{{{labels}}} {count}");
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
    let line = r#"baton_retool_rest_request_duration_seconds_count{operation="users.create"} 5"#;
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[test]
fn changes_are_counted_by_operation_and_outcome() {
    let (instruments, _provider, registry) = instruments();
    for (outcome, word) in [
        (Provisioning::Changed, "changed"),
        (Provisioning::Unchanged, "unchanged"),
        (Provisioning::Refused, "refused"),
        (Provisioning::Failed, "failed"),
        (Provisioning::DryRun, "dry_run"),
    ] {
        instruments.provisioning_ended("group.grant", outcome);
        let text = text(&registry);
        let line =
            format!("baton_retool_provisioning_total{{operation=\"group.grant\",outcome=\"{word}\"}} 1");
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
}

/// The names of the exported metrics, each with the names of its labels.
fn served(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let name =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once('='));
        let names = labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le");
        served.entry(name.to_owned()).or_default().extend(names);
    }
    served
}

/// The rows of the table of metrics in `docs/observability.md`: the name, and its labels in backticks.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = include_str!("../../../docs/observability.md");
    let (_, table) = page.split_once("| Metric | Labels |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let quoted = |cell: &str| {
        let parts: Vec<_> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        parts
    };
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        (quoted(cells[1]).remove(0), quoted(cells[2]).into_iter().collect())
    })
    .collect()
}

#[test]
fn the_documentation_lists_every_metric_with_its_labels() {
    let (instruments, _provider, registry) = instruments();
    watch_pool(|| Some(PoolState { idle: 1, in_use: 2, most: 3 }));
    instruments.call_ended(("c1.a", "b"), Code::Ok, HALF, Some(1));
    instruments.pool_waited(HALF);
    instruments.statement_ended("groups.list", Outcome::Ok, HALF);
    instruments.rest_ended("users.create", RestOutcome::Closed, None, HALF);
    instruments.provisioning_ended("group.grant", Provisioning::Changed);
    watch_snapshots(|| SnapshotState { count: 1, bytes: 2, rows: 3, oldest: HALF });
    instruments.snapshots.listed(true);
    instruments.snapshots.read(SnapshotRead::Ok, HALF);
    let service = &instruments.service;
    service.service_started();
    service.task_in_progress(1);
    service.task_ended("grant", TaskOutcome::Done, HALF);
    service.polled(true);
    service.uploaded(1);
    service.synced();
    let text = text(&registry);
    assert!(text.contains("baton_retool_snapshot_age_seconds 0.5"), "{text}");
    assert_eq!(served(&text), documented(), "left: what is served; right: docs/observability.md\n{text}");
    assert!(text.contains(r#"baton_retool_pool_connections{state="in_use"} 2"#), "{text}");
}

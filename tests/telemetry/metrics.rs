//! The Prometheus endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton_retool::proto::connector::{ConnectorServiceValidateRequest, ConnectorServiceValidateResponse};
use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use serde_json::json;

use crate::support::c1::C1;
use crate::support::changes::Changes;
use crate::support::http::ask;
use crate::support::observe::see;
use crate::support::parent::Parent;
use crate::support::postgres::Database;
use crate::support::retool_api::{Gate, Reply};
use crate::support::server::{Server, program};
use crate::support::stage::{Stage, ada};
use crate::support::wire::{Wire, eventually, id};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const FLAG: &str = "--metrics-listen=127.0.0.1:0";

fn endpoint(server: &Server) -> SocketAddr {
    let line = server.wait_for_log(|line| line["msg"] == "metrics listening");
    line["address"].as_str().unwrap().parse().unwrap()
}

fn scrape(address: SocketAddr) -> String {
    let answer = ask(address, "GET", "/metrics");
    assert_eq!(answer.code, 200);
    assert!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{}", answer.headers);
    answer.body
}

/// The value of a series in Prometheus' notation, with labels sorted by name.
#[track_caller]
fn value(text: &str, series: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in:\n{text}")).parse().unwrap()
}

/// Labels of a metric.
type Labels = BTreeSet<String>;

/// Types and labels of the metrics that the chart's alerts and dashboard are checked against.
fn listed() -> BTreeMap<String, (String, Labels)> {
    let lines = include_str!("../../helm/metrics.tsv").lines().filter(|line| !line.starts_with('#'));
    let metric = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let labels = fields[2].split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        (fields[0].to_owned(), (fields[1].to_owned(), labels.collect()))
    };
    lines.map(metric).collect()
}

/// Labels of the metrics in the table of `docs/observability.md`.
fn documented() -> BTreeMap<String, Labels> {
    let page = include_str!("../../docs/observability.md");
    let (_, table) = page.split_once("| Metric | Labels |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let metric = |row: &str| {
        let cells: Vec<_> = row.split('|').collect();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        (quoted(cells[1]).remove(0), quoted(cells[2]).into_iter().collect())
    };
    rows.map(metric).collect()
}

/// Types and labels of the exported metrics. The bounds of a histogram's buckets do not count as a label.
fn served(text: &str) -> BTreeMap<String, (String, Labels)> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let labels = |name: &str| {
        let series = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once('}'));
        let series = series.filter_map(|(series, _)| series.split_once('{'));
        let parts = ["", "_bucket", "_sum", "_count"];
        let pairs = series.filter(|(part, _)| parts.contains(part)).flat_map(|(_, pairs)| pairs.split("\","));
        let names = pairs.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
        names.filter(|label| label != "le").collect()
    };
    types.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), labels(name)))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_metrics_are_those_of_the_documentation_and_the_chart() {
    let database = Database::small().await;
    // No server answers there, but this still counts as a request.
    let rest = ["--retool-api-base-url", "http://127.0.0.1:1", "--retool-api-token", "x"];
    let flags: Vec<&str> = [FLAG, "--dry-run"].into_iter().chain(rest).collect();
    let (changes, server) = Changes::serving(&database, &flags).await;
    see(server.channel().await).await.unwrap();
    changes.grant("group:g6:member", "user/u10").await.unwrap();
    let mut text = scrape(endpoint(&server));
    // The metrics of service mode exist only in service mode.
    let c1 = C1::start().await;
    let service = c1.serve(&database.url(), &[FLAG, "--sync-resource-types", "org"]);
    c1.run(TaskType::SyncFull(SyncFullTask::default())).await;
    let of_tasks = eventually("the end of the task", async || {
        let text = scrape(endpoint(&service));
        text.contains("baton_retool_tasks_total{").then_some(text)
    });
    text += &of_tasks.await;
    let served = served(&text);
    assert_eq!(served, listed(), "left: /metrics; right: helm/metrics.tsv");
    let labels: BTreeMap<_, _> = served.into_iter().map(|(name, (_, labels))| (name, labels)).collect();
    assert_eq!(labels, documented(), "left: /metrics; right: docs/observability.md");
    for name in labels.keys() {
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

#[tokio::test]
async fn calls_rows_and_statements_are_counted() {
    let database = Database::small().await;
    let server = Server::start(&database, &[FLAG]);
    let wire = Wire::to(&server).await;
    let mut rows = 0;
    for _ in 0..3 {
        rows += wire.resources("group", Some(id("org", "o1")), 0, "").await.unwrap().list.len();
    }
    wire.resources("group", Some(id("group", "g1")), 0, "").await.unwrap_err();
    let metrics = endpoint(&server);
    // A call is counted after its client has read the answer, so this may take a moment.
    let text = eventually("four calls", async || {
        let text = scrape(metrics);
        text.contains("code=\"InvalidArgument\"").then_some(text)
    })
    .await;
    let labels = |code| {
        format!("{{code=\"{code}\",method=\"ListResources\",service=\"c1.connector.v2.ResourcesService\"")
    };
    assert_eq!(value(&text, &format!("baton_retool_grpc_requests_total{}}}", labels("OK"))), 3.0);
    assert_eq!(
        value(&text, &format!("baton_retool_grpc_requests_total{}}}", labels("InvalidArgument"))),
        1.0
    );
    let buckets = format!("baton_retool_grpc_request_duration_seconds_bucket{}", labels("OK"));
    assert_eq!(value(&text, &format!("{buckets},le=\"60\"}}")), 3.0);
    assert_eq!(text.lines().filter(|line| line.starts_with(&buckets)).count(), 16);
    assert_eq!(value(&text, r#"baton_retool_rows_total{method="ListResources"}"#), rows as f64);
    let statement =
        r#"baton_retool_database_statement_duration_seconds_count{outcome="ok",statement="groups.list"}"#;
    assert_eq!(value(&text, statement), 3.0);
    assert!(value(&text, "baton_retool_pool_wait_seconds_count") >= 3.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(value(&text, &format!("baton_retool_build_info{{version=\"{version}\"}}")), 1.0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let age = now - value(&text, "process_start_time_seconds");
    assert!((0.0..60.0).contains(&age), "{age}");
    let memory = value(&text, "process_resident_memory_bytes");
    if let Some(resident) = server.memory() {
        let resident = resident as f64;
        assert!((memory - resident).abs() < resident / 2.0, "reported {memory}, expected {resident}");
    }
}

#[tokio::test]
async fn changes_are_counted_by_outcome_and_rest_requests_by_status() {
    let database = Database::small().await;
    let rest = ["--retool-api-base-url", "http://127.0.0.1:1", "--retool-api-token", "x"];
    let flags: Vec<&str> = [FLAG].into_iter().chain(rest).collect();
    let (changes, server) = Changes::serving(&database, &flags).await;
    changes.grant("group:g6:member", "user/u10").await.unwrap();
    changes.grant("group:g6:member", "user/u10").await.unwrap();
    changes.revoke("group:g1:member", "user/u10").await.unwrap_err();
    Wire::to(&server)
        .await
        .call::<ConnectorServiceValidateResponse>(
            "ConnectorService/Validate",
            &ConnectorServiceValidateRequest::default(),
        )
        .await
        .unwrap();
    let text = scrape(endpoint(&server));
    for (operation, outcome) in [("grant", "changed"), ("grant", "unchanged"), ("revoke", "refused")] {
        let series =
            format!("baton_retool_provisioning_total{{operation=\"{operation}\",outcome=\"{outcome}\"}}");
        assert_eq!(value(&text, &series), 1.0);
    }
    let series =
        r#"baton_retool_rest_requests_total{code="none",operation="users.probe",outcome="unreachable"}"#;
    assert_eq!(value(&text, series), 1.0);
    let series = r#"baton_retool_rest_request_duration_seconds_count{operation="users.probe"}"#;
    assert_eq!(value(&text, series), 1.0);
}

#[tokio::test]
async fn a_rest_request_that_fails_after_a_200_is_not_counted_as_success() {
    let stage = Stage::with(&["--provisioning", "--http-timeout-seconds", "4", FLAG]).await;
    for (reply, code, outcome) in [
        (Reply::html(200), "200", "not_json"),
        (Reply::refusal(200, "not today"), "200", "declined"),
        (Reply::json(200, json!({"success": true})), "200", "incomplete"),
        (Reply::Truncated(Duration::ZERO), "200", "closed"),
        (Reply::Truncated(Duration::from_secs(60)), "200", "timeout"),
        (Reply::redirect(302, "/auth/login"), "302", "redirected"),
        (Reply::refusal(403, "no"), "403", "refused"),
        (Reply::Closed, "none", "closed"),
        (Reply::Usual.behind(&Gate::closed()), "none", "timeout"),
    ] {
        stage.api.next("POST", reply);
        stage.create(&ada()).await.unwrap_err();
        let labels = format!("code=\"{code}\",operation=\"users.create\",outcome=\"{outcome}\"");
        let series = format!("baton_retool_rest_requests_total{{{labels}}}");
        assert_eq!(value(&scrape(endpoint(&stage.server)), &series), 1.0);
    }
    let text = scrape(endpoint(&stage.server));
    let of_creation = |line: &&str| line.contains("requests_total") && line.contains("users.create");
    let good = text.lines().filter(of_creation).any(|line| line.contains(r#"outcome="ok""#));
    assert!(!good, "{text}");
}

#[tokio::test]
async fn calls_and_connections_in_progress_are_counted() {
    let database = Database::small().await;
    let connection_string = format!("{}?pool_max_conns=3", database.url());
    let server = Server::start_at(&connection_string, &[FLAG]);
    let wire = Wire::to(&server).await;
    wire.organizations().await.unwrap();
    // The check at startup uses a connection too.
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let metrics = endpoint(&server);
    let in_use = |text: &str| value(text, r#"baton_retool_pool_connections{state="in_use"}"#);
    let in_progress = |text: &str| value(text, "baton_retool_grpc_requests_in_flight");
    eventually("rest", async || {
        let text = scrape(metrics);
        (in_use(&text) == 0.0 && in_progress(&text) == 0.0).then_some(())
    })
    .await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let wire = wire.clone();
            tokio::spawn(async move { wire.organizations().await })
        })
        .collect();
    database.wait_until_blocked(2).await;
    let text = scrape(metrics);
    assert_eq!((in_progress(&text), in_use(&text)), (2.0, 2.0));
    assert_eq!(value(&text, "baton_retool_pool_max_connections"), 3.0);
    // A caller that disconnects leaves a cancelled statement and no call in progress.
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    let cancelled = r#"baton_retool_database_statement_duration_seconds_count{outcome="cancelled",statement="organizations.list"}"#;
    eventually("the end of both", async || {
        let text = scrape(metrics);
        (text.contains(cancelled) && value(&text, cancelled) == 2.0 && in_progress(&text) == 0.0)
            .then_some(())
    })
    .await;
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn callers_cannot_add_series() {
    let server = Server::start_at(NOWHERE, &[FLAG]);
    let wire = Wire::to(&server).await;
    for number in 0..50 {
        for path in
            ["c1.connector.v2.GrantsService/Made", "grpc.health.v1.Health/Made", "made.up.Service/Made"]
        {
            wire.raw(&format!("{path}{number}"), Vec::new()).await.unwrap_err();
        }
    }
    let unknown =
        r#"baton_retool_grpc_requests_total{code="Unimplemented",method="unknown",service="unknown"}"#;
    let metrics = endpoint(&server);
    let text = eventually("all calls", async || {
        let text = scrape(metrics);
        (text.contains(unknown) && value(&text, unknown) == 150.0).then_some(text)
    })
    .await;
    let series = text.lines().filter(|line| line.starts_with("baton_retool_grpc_requests_total{")).count();
    assert_eq!(series, 1, "{text}");
    assert!(!text.contains("Made"), "{text}");
}

#[tokio::test]
async fn the_metrics_port_serves_only_metrics() {
    let server = Server::start_at(NOWHERE, &[FLAG]);
    let address = endpoint(&server);
    assert_eq!(ask(address, "GET", "/").code, 404);
    assert_eq!(ask(address, "POST", "/metrics").code, 405);

    let without = Server::start_at(NOWHERE, &[]);
    assert!(!without.logs().iter().any(|line| line["msg"] == "metrics listening"));
}

#[test]
fn a_metrics_address_in_use_ends_the_program() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program()
        .args(["serve", "--listen=127.0.0.1:0", "--connection-string", NOWHERE, "--metrics-listen", &address])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--metrics-listen"), "{said}");
}

#[tokio::test]
async fn the_child_of_an_agent_serves_without_metrics_if_the_address_is_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let parent = Parent::new(NOWHERE).with(&["--metrics-listen", &address]);
    let mut child = parent.start_and_tell();
    Wire::over(parent.channel().await).metadata().await.unwrap();
    child.close_stdin();
    let (status, _, _, stderr) = child.ended();
    assert_eq!(status.code(), Some(0));
    assert!(stderr.contains("cannot serve metrics to Prometheus") && stderr.contains(&address), "{stderr}");
}

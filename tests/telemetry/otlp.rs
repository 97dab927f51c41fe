//! Traces, logs and metrics as a collector receives them over OTLP.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_retool::proto::connector::ResourcesServiceListResourcesRequest;
use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::Value;
use tonic::Request;
use tonic::transport::{Channel, ServerTlsConfig};

use crate::support::collector::{Collector, Received, attribute};
use crate::support::http::ask;
use crate::support::observe::see;
use crate::support::parent::{Parent, Pki};
use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::{Wire, id};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const ENDPOINT: &str = "--otel-collector-endpoint";
const INSECURE: &str = "--otel-collector-endpoint-tls-insecure";

/// The trace and the span of a caller.
const TRACE: [u8; 16] =
    [0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36];
const PARENT: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];
/// Another trace, which its caller does not sample.
const UNSAMPLED: &str = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00f067aa0ba902b7-00";
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Stops the server without blocking the thread of the collector.
async fn stop(server: Server) -> (ExitStatus, Vec<Value>) {
    tokio::task::spawn_blocking(|| server.stop()).await.unwrap()
}

/// Lists the groups of an organization and returns how many there are.
async fn list_groups(channel: Channel, traceparent: &str) -> usize {
    let mut client = ResourcesServiceClient::new(channel);
    let mut request = Request::new(ResourcesServiceListResourcesRequest {
        resource_type_id: "group".to_owned(),
        parent_resource_id: Some(id("org", "o1")),
        ..Default::default()
    });
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request.metadata_mut().insert("tracestate", "vendor=ann@example.com".parse().unwrap());
    client.list_resources(request).await.unwrap().into_inner().list.len()
}

#[track_caller]
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found[0]
}

fn body(record: &LogRecord) -> String {
    let value = record.body.as_ref().and_then(|body| body.value.as_ref());
    match value {
        Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(text)) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

#[tokio::test]
async fn a_call_joins_the_trace_of_its_caller_with_its_statements_and_requests() {
    let (database, collector) = (Database::small().await, Collector::start().await);
    let server = Server::start(&database, &[ENDPOINT, &collector.address(), INSECURE]);
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let rows = list_groups(server.channel().await, TRACEPARENT).await.to_string();
    list_groups(server.channel().await, UNSAMPLED).await;
    let (status, logs) = stop(server).await;
    assert_eq!(status.code(), Some(0));

    let received = collector.received();
    let unsampled = received.spans().into_iter().filter(|span| span.trace_id == [0xaa; 16]);
    assert_eq!(unsampled.count(), 0, "the caller did not request a trace");
    let spans: Vec<_> = received.spans().into_iter().filter(|span| span.trace_id == TRACE).collect();
    let call = only(&spans, "c1.connector.v2.ResourcesService/ListResources");
    assert_eq!(call.parent_span_id, PARENT);
    assert_eq!(call.trace_state, "", "a text of the caller's");
    assert!(!format!("{received:?}").contains("ann@example.com"));
    assert_eq!(call.kind, 2, "of a server");
    for (key, value) in [
        ("rpc.system", "grpc"),
        ("rpc.service", "c1.connector.v2.ResourcesService"),
        ("rpc.method", "ListResources"),
        ("rpc.grpc.status_code", "0"),
        ("baton.rows", &rows),
    ] {
        assert_eq!(attribute(&call.attributes, key).as_deref(), Some(value), "{key} of {call:?}");
    }
    let statement = only(&spans, "groups.list");
    assert_eq!(statement.kind, 3, "of a client");
    assert_eq!(attribute(&statement.attributes, "db.system").as_deref(), Some("postgresql"));
    let wait = only(&spans, "pool wait");
    for child in [statement, wait] {
        assert_eq!(child.parent_span_id, call.span_id);
        assert!(child.start_time_unix_nano >= call.start_time_unix_nano, "{child:?}");
        assert!(child.end_time_unix_nano <= call.end_time_unix_nano, "{child:?}");
    }
    assert_eq!(spans.len(), 3);

    // The log refers to the trace: in the fields of the Go connector, and in the fields of the log record.
    let line = logs.iter().find(|line| line["grpc.method"] == "ListResources").unwrap();
    assert_eq!(line["dd.trace_id"], u64::from_be_bytes(TRACE[8..].try_into().unwrap()).to_string());
    let span_id: [u8; 8] = call.span_id.clone().try_into().unwrap();
    assert_eq!(line["dd.span_id"], u64::from_be_bytes(span_id).to_string());
    let records = received.records();
    let record = records.iter().find(|record| body(record) == "finished call").unwrap();
    assert_eq!((&record.trace_id[..], &record.span_id[..]), (&TRACE[..], &call.span_id[..]));
}

#[tokio::test]
async fn exported_logs_and_metrics_equal_the_log_and_prometheus() {
    let (database, collector) = (Database::small().await, Collector::start().await);
    let flags = [ENDPOINT, &collector.address(), INSECURE, "--metrics-listen=127.0.0.1:0"];
    let environment = [("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")];
    let server = Server::start_with(&environment, &database.url(), &flags);
    let wire = Wire::to(&server).await;
    wire.organizations().await.unwrap();
    wire.resources("user", Some(id("group", "g1")), 0, "").await.unwrap_err();
    let metrics = server.wait_for_log(|line| line["msg"] == "metrics listening");
    let metrics = ask(metrics["address"].as_str().unwrap().parse().unwrap(), "GET", "/metrics").body;
    let (_, logs) = stop(server).await;
    let received = collector.received();

    let mut sent: Vec<_> = received
        .records()
        .iter()
        .map(|record| (record.severity_text.to_ascii_lowercase(), body(record)))
        .collect();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let mut written: Vec<_> = logs.iter().map(|line| (text(line, "level"), text(line, "msg"))).collect();
    sent.sort();
    written.sort();
    assert_eq!(sent, written, "left: sent to the collector; right: written to standard error");
    let refused = received.records().into_iter().find(|record| {
        attribute(&record.attributes, "grpc.code").is_some_and(|code| code == "InvalidArgument")
    });
    let error = attribute(&refused.unwrap().attributes, "error").unwrap();
    assert!(error.contains("are in an org"), "{error}");

    let sent: BTreeSet<_> = received.last_metrics().into_iter().map(|metric| metric.name).collect();
    let scraped: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert!(sent.contains("baton_retool_grpc_requests_total"), "{sent:?}");
    assert_eq!(sent, scraped, "left: sent to the collector; right: read by Prometheus");

    assert_eq!(received.signals(), [true; 3]);
    for resource in received.resources() {
        let of = |key| attribute(&resource.attributes, key).unwrap();
        assert_eq!(of("service.name"), "baton-retool-server");
        assert_eq!(of("service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(of("deployment.environment.name"), "test");
        assert_eq!(of("service.instance.id").len(), 32);
    }
}

#[tokio::test]
async fn traces_contain_no_sql_and_no_personal_data() {
    const TEXTS: &str = r#"
        SELECT DISTINCT text FROM users, LATERAL (VALUES (email), ("firstName"), ("lastName"), ("userName")) AS it (text)
        WHERE length(trim(text)) >= 4"#;
    let (database, collector) = (Database::small().await, Collector::start().await);
    let texts = database.reader().await.query(TEXTS, &[]).await.unwrap();
    let server = Server::start(&database, &[ENDPOINT, &collector.address(), INSECURE]);
    see(server.channel().await).await.unwrap();
    let wire = Wire::to(&server).await;
    let email: String = texts.iter().map(|row| row.get(0)).find(|text: &String| text.contains('@')).unwrap();
    wire.raw(&format!("{email}/Made"), Vec::new()).await.unwrap_err();
    let _ = wire.resources("user", Some(id("org", &email)), 0, "").await;
    stop(server).await;
    let received = collector.received();
    let spans = received.spans();
    assert!(spans.len() > 100, "{}", spans.len());
    only(&spans, "unknown");
    let shown = format!("{spans:?} {:?}", received.metrics);
    assert!(!shown.contains("SELECT") && !shown.contains(&database.url()));
    for row in texts {
        let text: String = row.get(0);
        // A name may be part of one of this program's names; an address may not.
        let found = shown.contains(&format!("{text:?}")) || (text.contains('@') && shown.contains(&text));
        assert!(!found, "{text}");
    }
}

/// The data that a collector receives from a server without a database after one call, and the log of the
/// server.
async fn sent(collector: &Collector, environment: &[(&str, &str)], flags: &[&str]) -> (Received, Vec<Value>) {
    let server = Server::start_with(environment, NOWHERE, flags);
    Wire::to(&server).await.metadata().await.unwrap();
    let (status, logs) = stop(server).await;
    assert_eq!(status.code(), Some(0));
    (collector.received(), logs)
}

#[tokio::test]
async fn each_telemetry_switch_turns_off_only_its_signal() {
    const NO_TRACES: &str = "--otel-tracing-disabled";
    const NO_LOGS: &str = "--otel-logging-disabled";
    for (switches, expected) in [
        (&[][..], [true, true, true]),
        (&[NO_TRACES], [false, true, true]),
        (&[NO_LOGS], [true, true, false]),
        (&[NO_TRACES, NO_LOGS], [false, false, false]),
    ] {
        let collector = Collector::start().await;
        let address = collector.address();
        let flags = [&[ENDPOINT, &address, INSECURE], switches].concat();
        assert_eq!(sent(&collector, &[], &flags).await.0.signals(), expected, "{switches:?}");
    }
}

#[tokio::test]
async fn accepts_the_standard_otel_variables() {
    const SECRET: &str = "s3cret-of-the-collector";
    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address());
    let headers = format!("api-key={SECRET}");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
        ("OTEL_SERVICE_NAME", "retool-of-ours"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ];
    let (received, logs) = sent(&collector, &environment, &[]).await;
    assert_eq!(received.signals(), [false, true, true]);
    for resource in received.resources() {
        assert_eq!(attribute(&resource.attributes, "service.name").unwrap(), "retool-of-ours");
    }
    for headers in &received.headers {
        assert_eq!(headers.get("api-key").unwrap().to_str().unwrap(), SECRET);
    }
    assert!(!format!("{logs:?} {:?}", received.logs).contains(SECRET));

    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address());
    let disabled = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true")];
    assert_eq!(sent(&collector, &disabled, &[]).await.0.signals(), [false; 3]);
}

#[tokio::test]
async fn the_collector_certificate_is_verified_against_a_ca_file_or_text() {
    let pki = Pki::new();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let tls = || ServerTlsConfig::new().identity(pki.sign("collector").identity());
    let by_file = format!("--otel-collector-endpoint-tls-cert-path={}", file("ca.pem", &pki.ca_pem));
    let by_text = format!("--otel-collector-endpoint-tls-cert={}", URL_SAFE_NO_PAD.encode(&pki.ca_pem));
    for authority in [by_file, by_text] {
        let collector = Collector::start_encrypted(tls()).await;
        let flags = [ENDPOINT, &collector.address(), &authority];
        assert_eq!(sent(&collector, &[], &flags).await.0.signals(), [true; 3], "{authority}");
    }

    let collector = Collector::start_encrypted(tls()).await;
    let other = format!("--otel-collector-endpoint-tls-cert-path={}", file("other.pem", &Pki::new().ca_pem));
    let (received, logs) = sent(&collector, &[], &[ENDPOINT, &collector.address(), &other]).await;
    assert_eq!(received.signals(), [false; 3]);
    let lines =
        logs.iter().filter(|line| line["msg"].as_str().unwrap().contains("does not accept telemetry"));
    assert!((1..=3).contains(&lines.count()), "{logs:?}");
}

/// Runs a child of an agent until it has flushed its telemetry, and returns the time from the end of stdin to
/// the end of the program.
async fn child_ended() -> Duration {
    let collector = Collector::start().await;
    let parent = Parent::new(NOWHERE).with(&[ENDPOINT, &collector.address(), INSECURE]);
    let mut child = parent.start_and_tell();
    let wire = Wire::over(parent.channel().await);
    // The last call may not have ended completely when its answer arrives.
    wire.metadata().await.unwrap();
    wire.metadata().await.unwrap();
    child.close_stdin();
    let (status, took, ..) = tokio::task::spawn_blocking(|| child.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let received = collector.received();
    assert_eq!(received.signals(), [true; 3]);
    let spans = received.spans();
    assert!(
        spans.iter().any(|span| span.name == "c1.connector.v2.ConnectorService/GetMetadata"),
        "{spans:?}"
    );
    took
}

#[tokio::test]
async fn the_child_of_an_agent_flushes_telemetry_when_stdin_closes() {
    const SOON: Duration = Duration::from_secs(5);
    // The machine may be busy for a while, so the fastest run counts.
    let mut quick = false;
    for _ in 0..5 {
        quick = quick || child_ended().await < SOON;
    }
    assert!(quick, "no run took less than {SOON:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_a_collector_no_telemetry_thread_runs() {
    let of_telemetry = |server: &Server| {
        let wanted = |name: &String| name.starts_with("telemetry") || name.starts_with("OpenTelemetry");
        server.threads().into_iter().filter(wanted).collect::<Vec<_>>()
    };
    let server = Server::start_at(NOWHERE, &[]);
    assert_eq!(of_telemetry(&server), [""; 0]);
    let scraped = Server::start_at(NOWHERE, &["--metrics-listen=127.0.0.1:0"]);
    assert_eq!(of_telemetry(&scraped), [""; 0]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let sending = Server::start_at(NOWHERE, &[ENDPOINT, &address, INSECURE]);
    assert!(of_telemetry(&sending).len() >= 2, "{:?}", sending.threads());
}

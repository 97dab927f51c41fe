//! Collectors that fail, and invalid settings of the collector.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::closed_port::ClosedPort;
use crate::support::collector::Collector;
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const ENDPOINT: &str = "--otel-collector-endpoint";
const INSECURE: &str = "--otel-collector-endpoint-tls-insecure";
/// Small queues with frequent exports, so that they overflow.
const HASTY: [(&str, &str); 7] = [
    ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
    ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "16"),
    ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "8"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "50"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
];

/// Sends so many calls to a server that its queues overflow, and returns the duration of the slowest call.
async fn make_many_calls(server: &Server) -> Duration {
    let wire = Wire::to(server).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..25 {
        let asked = Instant::now();
        let answers = futures_util::future::join_all((0..20).map(|_| wire.metadata())).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
        slowest = slowest.max(asked.elapsed());
    }
    slowest
}

/// Accepts connections and never answers.
fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_silent_or_missing_collector_delays_neither_answers_nor_shutdown() {
    let (_silent, silent) = black_hole();
    let closed = ClosedPort::new();
    for address in [silent, closed.address().to_string()] {
        let server = Server::start_with(&HASTY, NOWHERE, &[ENDPOINT, &address, INSECURE]);
        let slowest = make_many_calls(&server).await;
        // Twenty calls at a time; a single attempt to export takes ten seconds.
        assert!(slowest < Duration::from_secs(9), "{slowest:?}");
        let asked = Instant::now();
        let (status, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
        let took = asked.elapsed();
        assert_eq!(status.code(), Some(0));
        // The program waits for five seconds, and not for all attempts.
        assert!(took < Duration::from_secs(25), "took {took:?}");
        let calls = logs.iter().filter(|line| line["msg"] == "finished call").count();
        assert_eq!(calls, 500);
        let reported = logs.iter().filter(|line| line["msg"].as_str().unwrap().contains("telemetry")).count();
        assert!(reported <= 7, "{reported} lines about telemetry");
    }
}

/// The signals named in the lines with this text, sorted.
fn reported(logs: &[Value], words: &str) -> Vec<String> {
    let lines = logs.iter().filter(|line| line["msg"].as_str().unwrap().contains(words));
    let mut signals: Vec<_> = lines.map(|line| line["signal"].as_str().unwrap().to_owned()).collect();
    signals.sort();
    signals
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_dropped_for_a_slow_collector_is_logged_once() {
    let collector = Collector::start_slow(Duration::from_secs(1)).await;
    let server = Server::start_with(&HASTY, NOWHERE, &[ENDPOINT, &collector.address(), INSECURE]);
    make_many_calls(&server).await;
    for signal in ["traces", "logs"] {
        let line = server.wait_for_log(|line| {
            line["msg"].as_str().unwrap().contains("faster than the collector") && line["signal"] == signal
        });
        assert_eq!(line["level"], "warn");
        assert!(line["msg"].as_str().unwrap().contains("_MAX_QUEUE_SIZE"), "{line}");
    }
    make_many_calls(&server).await;
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(reported(&logs, "faster than the collector"), ["logs", "traces"]);
    assert_eq!(
        reported(&logs, "does not accept telemetry"),
        [""; 0],
        "a slow collector is not reported as refusing"
    );
    let words = "BatchSpanProcessor";
    assert!(
        !logs.iter().any(|line| line.to_string().contains(words)),
        "a message of the OpenTelemetry library is in the log"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_errors_are_logged_once_for_each_signal() {
    let collector = Collector::start_broken().await;
    let server = Server::start_with(&HASTY, NOWHERE, &[ENDPOINT, &collector.address(), INSECURE]);
    for signal in ["traces", "metrics", "logs"] {
        Wire::to(&server).await.metadata().await.unwrap();
        let line = server.wait_for_log(|line| {
            line["msg"].as_str().unwrap().contains("does not accept telemetry") && line["signal"] == signal
        });
        assert!(line["error"].as_str().unwrap().contains("Internal"), "{line}");
    }
    make_many_calls(&server).await;
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(reported(&logs, "does not accept telemetry"), ["logs", "metrics", "traces"]);
}

#[tokio::test]
async fn a_recovered_collector_receives_telemetry_again() {
    let closed = ClosedPort::new();
    let address = closed.address().to_string();
    let environment = [("OTEL_BLRP_SCHEDULE_DELAY", "50"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
    let server = Server::start_with(&environment, NOWHERE, &[ENDPOINT, &address, INSECURE]);
    let wire = Wire::to(&server).await;
    wire.metadata().await.unwrap();
    let lost =
        server.wait_for_log(|line| line["msg"].as_str().unwrap().contains("does not accept telemetry"));
    assert_eq!((&lost["level"], &lost["signal"]), (&"warn".into(), &"logs".into()));
    let collector = Collector::start_on(closed.open());
    eventually("logs", async || {
        wire.metadata().await.unwrap();
        collector.received().signals()[2].then_some(())
    })
    .await;
    server.wait_for_log(|line| line["msg"] == "the collector accepts telemetry again");
}

#[test]
fn invalid_collector_settings_are_usage_errors() {
    for (flags, words) in [
        (
            &["--otel-collector-endpoint-tls-cert-path=a", "--otel-collector-endpoint-tls-cert=QUJD"][..],
            &["mutually exclusive"][..],
        ),
        (
            &[ENDPOINT, "h:1", "--otel-collector-endpoint-tls-cert-path=/no/such"],
            &["otel-collector-endpoint-tls-cert-path: cannot read", "/no/such"],
        ),
        (
            &[ENDPOINT, "h:1", "--otel-collector-endpoint-tls-cert=QUJD"],
            &["otel-collector-endpoint-tls-cert: no PEM certificate"],
        ),
        (&[ENDPOINT, "h"], &["has no port"]),
    ] {
        let output = program()
            .args(["serve", "--listen=127.0.0.1:0", "--log-format=console", "--connection-string", NOWHERE])
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }
}

#[test]
fn invalid_otel_variables_are_usage_errors_under_their_own_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n").unwrap();
    let broken = file.to_str().unwrap();
    let somewhere = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1");
    for (variables, words) in [
        (
            vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url")],
            "OTEL_EXPORTER_OTLP_ENDPOINT: the value is not the address of a collector",
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "grpc://c:1")],
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: the value is not the address of a collector",
        ),
        (
            vec![somewhere, ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such")],
            "OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read the certificates in /no/such",
        ),
        (
            vec![somewhere, ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/no/such")],
            "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE: cannot read",
        ),
        (
            vec![somewhere, ("OTEL_EXPORTER_OTLP_CERTIFICATE", broken)],
            "OTEL_EXPORTER_OTLP_CERTIFICATE: no PEM certificate in",
        ),
    ] {
        let output = program()
            .envs(variables.clone())
            .args(["serve", "--listen=127.0.0.1:0", "--log-format=console", "--connection-string", NOWHERE])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{variables:?}: {said}");
        assert!(said.contains(words), "no {words:?} in {said}");
        assert!(!said.contains("otel-collector-endpoint"), "{said}");
    }
}

#[tokio::test]
async fn ignored_otel_variables_are_warned_about() {
    const SECRET: &str = "s3cret-of-the-collector";
    let collector = Collector::start().await;
    let headers = format!("good=1,bad key={SECRET}");
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "abc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
        ("OTEL_TRACES_SAMPLER", "nonsense"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_METRICS_EXPORTER", "prometheus"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
    ];
    let server = Server::start_with(&variables, NOWHERE, &[ENDPOINT, &collector.address(), INSECURE]);
    Wire::to(&server).await.metadata().await.unwrap();
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    for (name, _) in variables {
        let about = |line: &&Value| line["msg"].as_str().unwrap().starts_with(&format!("{name}: "));
        let lines: Vec<_> = logs.iter().filter(about).collect();
        assert_eq!(lines.len(), 1, "{name} in {logs:?}");
        assert_eq!(lines[0]["level"], "warn", "{name}");
    }
    let received = collector.received();
    assert!(!format!("{logs:?} {:?}", received.logs).contains(SECRET));
    assert_eq!(received.signals()[1..], [false, true], "metrics have another exporter, and logs are sent");

    let quiet = Server::start_with(&variables, NOWHERE, &[]);
    assert!(
        !quiet.logs().iter().any(|line| line.to_string().contains("OTEL_")),
        "no collector is configured"
    );
}

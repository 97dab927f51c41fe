//! Probes: over HTTP, by the `health-check` command, and over gRPC.

use std::net::{SocketAddr, TcpListener};
use std::process::{Output, Stdio};

use baton_retool::proto::connector::ConnectorServiceValidateRequest;
use baton_retool::proto::connector::connector_service_client::ConnectorServiceClient;
use tonic::Code;

use crate::support::closed_port::ClosedPort;
use crate::support::http::ask;
use crate::support::postgres::{Database, Role};
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, assert_refused, eventually};

const NOWHERE: &str = "postgres://baton:hunter2@127.0.0.1:1/retool";
const FLAGS: [&str; 2] = ["--health-check", "--health-check-port=0"];

/// The address of the HTTP probes of a server, once it is ready.
async fn probes_of(server: &Server) -> SocketAddr {
    let line = server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let probes = line["address"].as_str().unwrap().parse().unwrap();
    eventually("readiness", async || (ask(probes, "GET", "/ready").code == 200).then_some(())).await;
    probes
}

/// Runs `baton-retool health-check` without any connector settings.
fn health_check(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    program()
        .envs(environment.iter().copied())
        .arg("health-check")
        .args(arguments)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(errors.contains(word), "no {word:?} in: {errors}");
    }
}

#[tokio::test]
async fn a_healthy_server_passes_every_probe() {
    let database = Database::small().await;
    let server = Server::start(&database, &FLAGS);
    let probes = probes_of(&server).await;
    for (path, status) in [("/health", "healthy"), ("/ready", "ready"), ("/live", "alive")] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
            let answer = ask(probes, method, path);
            assert_eq!(answer.code, 200, "{answer:?}");
            assert!(answer.headers.contains("content-type: application/json"), "{answer:?}");
            assert!(answer.body.ends_with("}\n"), "{answer:?}");
            let json = answer.json();
            assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
            assert_eq!(json["status"], status);
            let timestamp = json["timestamp"].as_str().unwrap();
            let shape = timestamp.replace(|letter: char| letter.is_ascii_digit(), "0");
            assert_eq!(shape, "0000-00-00T00:00:00Z");
        }
        let head = ask(probes, "HEAD", path);
        assert_eq!((head.code, head.body.as_str()), (200, ""));
    }
    for path in ["/", "/healthz", "/health/", "/live/x"] {
        let answer = ask(probes, "GET", path);
        assert_eq!((answer.code, answer.body.as_str()), (404, "404 page not found\n"), "{path}");
    }
    let port = probes.port().to_string();
    for endpoint in ["health", "ready", "live"] {
        let output = health_check(&[], &["--health-check-port", &port, "--endpoint", endpoint]);
        assert_ends(&output, 0, &[]);
        assert!(output.stderr.is_empty());
    }
    assert_ends(&health_check(&[("BATON_HEALTH_CHECK_PORT", port.as_str())], &[]), 0, &[]);
}

#[tokio::test]
async fn a_down_database_fails_only_the_health_probe() {
    let server = Server::start_at(NOWHERE, &FLAGS);
    let probes = probes_of(&server).await;
    let answer = ask(probes, "GET", "/health");
    assert_eq!(answer.code, 503);
    assert!(answer.headers.contains("content-type: application/json"), "{answer:?}");
    let json = answer.json();
    assert_eq!(json["status"], "unhealthy");
    assert_eq!(json["details"]["error"], "connector validation failed");
    let reason = json["details"]["validation_error"].as_str().unwrap();
    assert!(reason.contains("cannot connect to the Retool database"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
    assert_eq!(ask(probes, "GET", "/ready").code, 200);
    assert_eq!(ask(probes, "GET", "/live").code, 200);

    let port = probes.port().to_string();
    let check = |endpoint: &str| health_check(&[], &["--health-check-port", &port, "--endpoint", endpoint]);
    assert_ends(&check("health"), 1, &["health check returned status 503"]);
    assert_ends(&check("ready"), 0, &[]);
    assert_ends(&check("live"), 0, &[]);
}

#[tokio::test]
async fn a_refused_password_is_reported_at_once_and_the_server_is_not_ready_until_it_is_accepted() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let wrong = Role { name: role.name.clone(), password: "hunter2".to_owned() };
    let server = Server::start_at(&database.url_as(&wrong), &FLAGS);
    let line = server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let probes: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
    let mut connector = ConnectorServiceClient::new(server.channel().await);
    let status = connector.validate(ConnectorServiceValidateRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("check user and password"), "{status}");
    let logged = server.logs();
    assert!(!logged.iter().any(|line| line["msg"] == "the database does not answer; retrying"));

    let answer = ask(probes, "GET", "/ready");
    let json = answer.json();
    assert_eq!((answer.code, json["status"].as_str()), (503, Some("not_ready")), "{json}");
    assert_eq!(json["details"]["error"], "the database does not accept the password");
    assert!(!answer.body.contains("hunter2"), "{json}");
    assert_eq!(ask(probes, "GET", "/live").code, 200);

    database.execute(&format!("ALTER ROLE {} PASSWORD 'hunter2'", role.name)).await;
    eventually("readiness", async || (ask(probes, "GET", "/ready").code == 200).then_some(())).await;
}

// The call continues while this thread waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopping_is_alive_and_not_ready() {
    let server = Server::start_at(NOWHERE, &FLAGS);
    let probes = probes_of(&server).await;
    // A slow call, because no server answers at the database's address.
    let channel = server.channel().await;
    let call = tokio::spawn(async move {
        ConnectorServiceClient::new(channel).validate(ConnectorServiceValidateRequest::default()).await
    });
    server.wait_for_log(|line| line["msg"] == "the database does not answer; retrying");
    server.terminate();
    let answer = eventually("a server that is not ready", async || {
        let answer = ask(probes, "GET", "/ready");
        (answer.code != 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.code, 503);
    let json = answer.json();
    assert_eq!(json["status"], "not_ready");
    assert!(json["details"]["error"].as_str().unwrap().contains("stopping"), "{json}");
    assert_eq!(ask(probes, "GET", "/live").code, 200);
    let port = probes.port().to_string();
    let output = health_check(&[], &["--health-check-port", &port, "--endpoint=ready"]);
    assert_ends(&output, 1, &["health check returned status 503"]);
    // After a second signal, the server stops at once.
    assert!(server.stop().0.success());
    assert!(call.await.unwrap().is_err());
}

#[test]
fn a_probe_port_in_use_ends_the_program() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = tempfile::tempdir().unwrap();
    let output = program()
        .args(["serve", "--connection-string", NOWHERE, "--listen", "127.0.0.1:0", "--health-check"])
        .arg(format!("--health-check-port={port}"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_ends(
        &output,
        1,
        &[&format!("cannot listen on 127.0.0.1:{port}"), "--health-check-port", "in use"],
    );
}

#[test]
fn without_health_check_no_port_is_opened() {
    let server = Server::start_at(NOWHERE, &["--health-check-port=0"]);
    server.wait_for_log(|line| line["msg"] == "listening");
    let log = server.logs();
    assert!(!log.iter().any(|line| line["msg"] == "health endpoints listening"), "{log:?}");
}

#[test]
fn a_health_check_that_cannot_connect_reports_the_reason() {
    let closed = ClosedPort::new();
    let output = health_check(&[], &["--health-check-port", &closed.port().to_string()]);
    let url = format!("http://{}/health", closed.address());
    assert_ends(&output, 1, &["health check failed: GET ", &url, "refused"]);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let output = health_check(&[], &["--health-check-port", &port, "--timeout", "1"]);
    assert_ends(&output, 1, &["health check failed: no answer within 1 s"]);

    let output = health_check(&[], &["--endpoint", "nope"]);
    assert_ends(&output, 2, &["nope", "health", "ready", "live"]);
    assert_ends(&health_check(&[], &["--timeout", "0"]), 2, &["--timeout"]);
    assert_ends(&health_check(&[], &["--health-check-port", "x"]), 2, &["health-check-port"]);
}

#[tokio::test]
async fn the_grpc_health_service_knows_every_service_by_name() {
    /// A health check request for a service, with the name in field 1.
    fn about(service: &str) -> Vec<u8> {
        [&[10, u8::try_from(service.len()).unwrap()], service.as_bytes()].concat()
    }
    /// The answer: field 1 is 1.
    const SERVING: [u8; 2] = [8, 1];
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    for service in [
        "",
        "c1.connector.v2.ConnectorService",
        "c1.connector.v2.ResourceTypesService",
        "c1.connector.v2.ResourcesService",
        "c1.connector.v2.EntitlementsService",
        "c1.connector.v2.GrantsService",
        "c1.connector.v2.TicketsService",
        "c1.ratelimit.v1.RateLimiterService",
    ] {
        assert_eq!(
            wire.raw("grpc.health.v1.Health/Check", about(service)).await.unwrap(),
            SERVING,
            "{service}"
        );
    }
    for service in ["c1.connector.v2.SchemaService", "no.such.Service"] {
        let answer = wire.raw("grpc.health.v1.Health/Check", about(service)).await;
        assert_refused(answer, Code::NotFound, &[]);
    }
}

//! Each limit with its flag: connections, streams, calls, bytes and time.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse, Resource,
    ResourcesServiceListResourcesRequest,
};
use baton_retool::proto::ratelimit::DoRequest;
use futures_util::FutureExt;
use prost::Message;
use tokio_postgres::{Client, Transaction};
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use crate::support::parent::Pki;
use crate::support::postgres::{Database, Sizes};
use crate::support::raw::{GREETING, Raw};
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, eventually, id};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const LIST_RESOURCES: &str = "c1.connector.v2.ResourcesService/ListResources";
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";

/// This call needs no database.
async fn metadata(wire: &Wire) -> Result<(), Status> {
    let request = ConnectorServiceGetMetadataRequest::default();
    wire.call::<ConnectorServiceGetMetadataResponse>("ConnectorService/GetMetadata", &request).await.map(drop)
}

/// Blocks statements on organizations until the transaction is dropped or rolled back.
async fn lock(client: &mut Client) -> Transaction<'_> {
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    transaction
}

type Call = tokio::task::JoinHandle<Result<Vec<Resource>, Status>>;

fn ask(wire: &Wire) -> Call {
    let wire = wire.clone();
    tokio::spawn(async move { wire.organizations().await })
}

fn organizations() -> ResourcesServiceListResourcesRequest {
    ResourcesServiceListResourcesRequest { resource_type_id: "org".to_owned(), ..Default::default() }
}

/// Waits until the server closes the connection.
async fn closed(mut stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    tokio::task::spawn_blocking(move || {
        let mut heard = Vec::new();
        match stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "still open"),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_call_is_unavailable_while_calls_use_all_connections() {
    let database = Database::small().await;
    // One connection is left to callers that have made no call.
    let server = Server::start(&database, &["--max-connections", "3"]);
    let (first, second) = (Wire::to(&server).await, Wire::to(&server).await);
    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    let calls = [ask(&first), ask(&second)];
    database.wait_until_blocked(2).await;
    for _ in 0..3 {
        let third = Wire::to(&server).await;
        HealthClient::new(third.channel()).check(HealthCheckRequest::default()).await.unwrap();
        assert_refused(metadata(&third).await, Code::Unavailable, &["2 connections", "--max-connections"]);
    }
    locked.rollback().await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    // The connections are now idle and can be closed for a new one.
    let third = Wire::to(&server).await;
    eventually("room for another connection", async || metadata(&third).await.ok()).await;
}

#[tokio::test]
async fn a_stream_over_the_limit_waits_in_the_client() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--max-streams", "2"]);
    let (full, other) = (Wire::to(&server).await, Wire::to(&server).await);
    metadata(&full).await.unwrap();
    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    let calls = [ask(&full), ask(&full)];
    database.wait_until_blocked(2).await;
    let waiting = tokio::spawn(async move { metadata(&full).await });
    for _ in 0..20 {
        metadata(&other).await.unwrap();
    }
    assert!(!waiting.is_finished(), "a third stream was accepted");
    locked.rollback().await.unwrap();
    waiting.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_call_over_the_limit_is_refused_except_probes() {
    let database = Database::small().await;
    // One address gets two of four.
    let server = Server::start(&database, &["--max-requests", "4"]);
    let (busy, busy_too, other) = (Wire::to(&server).await, Wire::to(&server).await, Wire::to(&server).await);
    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    let calls = [ask(&busy), ask(&busy_too)];
    database.wait_until_blocked(2).await;
    assert_refused(metadata(&other).await, Code::Unavailable, &["2 calls", "--max-requests", "retry"]);
    let probe = HealthClient::new(other.channel()).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(probe.into_inner().status(), ServingStatus::Serving);
    locked.rollback().await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    eventually("room for a call", async || metadata(&other).await.ok()).await;
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_bounded_by_its_deadline() {
    let database = Database::seeded(Sizes::SEVERAL_PAGES).await;
    let server = Server::start(&database, &["--max-requests", "2", "--request-timeout-seconds", "5"]);
    // One address gets one of two slots.
    let greedy = Raw::to(server.address()).await;
    let other = Wire::to(&server).await;
    let users = ResourcesServiceListResourcesRequest {
        resource_type_id: "user".to_owned(),
        parent_resource_id: Some(id("org", "o1")),
        page_size: 250,
        ..Default::default()
    };
    let mut unread = Vec::new();
    // The window of the connection takes the first bytes, so more than two answers may be sent completely.
    let refused = loop {
        unread.push(greedy.unread(LIST_RESOURCES, &users).await.unwrap());
        match metadata(&other).await {
            Ok(()) => assert!(unread.len() < 2_000, "unread answers do not count as calls"),
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    eventually("room for a call", async || metadata(&other).await.ok()).await;
}

#[tokio::test]
async fn a_client_that_reads_its_answers_keeps_its_connection() {
    let server = Server::start_at(NOWHERE, &["--request-timeout-seconds", "3", "--max-requests", "1"]);
    let wire = Wire::to(&server).await;
    let mut health = HealthClient::new(wire.channel());
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    // Like grpcurl: one request, and the stream stays open.
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let question = ServerReflectionRequest { message_request, ..Default::default() };
    let questions = tokio_stream::once(question).chain(tokio_stream::pending());
    let mut reflection = ServerReflectionClient::new(wire.channel());
    let mut answers = reflection.server_reflection_info(questions).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    // The stream takes no slot of other calls.
    metadata(&wire).await.unwrap();
    assert_refused(answers.message().await, Code::DeadlineExceeded, &["longer than 3 s"]);
    // The watch began before this call, and its end would have arrived before the answer.
    metadata(&wire).await.unwrap();
    assert!(watch.message().now_or_never().is_none(), "no watch");
    let logs = server.logs();
    assert!(
        !logs.iter().any(|line| line.to_string().contains("closed the connection of a client")),
        "{logs:?}"
    );
    let peers: BTreeSet<_> = logs.iter().filter_map(|line| line["peer.address"].as_str()).collect();
    assert_eq!(peers.len(), 1, "the client had to connect again: {logs:?}");
    let ended = logs.iter().find(|line| line["grpc.method"] == "ServerReflectionInfo").unwrap();
    assert_eq!(ended["grpc.code"], "DeadlineExceeded", "{ended}");
}

#[tokio::test]
async fn messages_over_the_limits_are_resource_exhausted() {
    let server = Server::start_at(NOWHERE, &["--max-request-bytes", "1024"]);
    let wire = Wire::to(&server).await;
    let refused = wire.raw(GET_METADATA, vec![0; 1025]).await;
    assert_refused(refused, Code::ResourceExhausted, &["more than 1 KiB"]);
    metadata(&wire).await.unwrap();

    // Listings limit their own size; this is the only call whose answer is as long as its request.
    let server =
        Server::start_at(NOWHERE, &["--max-response-bytes", "2097152", "--max-request-bytes", "4194304"]);
    let wire = Wire::to(&server).await;
    let request = DoRequest { request_token: "x".repeat(3_000_000), ..Default::default() };
    let refused = wire.raw("c1.ratelimit.v1.RateLimiterService/Do", request.encode_to_vec()).await;
    assert_refused(refused, Code::ResourceExhausted, &["2097152"]);
    metadata(&wire).await.unwrap();
    let logged = server.wait_for_log(|line| line["error"].as_str().is_some_and(|it| it.contains("2097152")));
    assert_eq!(logged["grpc.code"], "ResourceExhausted");
}

#[tokio::test]
async fn headers_over_the_limit_fail_the_call_and_not_the_connection() {
    let server = Server::start_at(NOWHERE, &["--max-header-bytes", "1024"]);
    let raw = Raw::to(server.address()).await;
    let none = ConnectorServiceGetMetadataRequest::default();
    let ending = raw.call(GET_METADATA, &[("x-large", &"x".repeat(2_000))], &none).await;
    assert!(ending.as_ref().is_ok_and(|ending| ending.http == 431), "{ending:?}");
    let ending = raw.call(GET_METADATA, &[("x-small", "x")], &none).await.unwrap();
    assert_eq!(ending.code.as_deref(), Some("0"), "{ending:?}");
}

#[tokio::test]
async fn a_call_over_the_request_timeout_is_deadline_exceeded_and_its_statement_cancelled() {
    const DEADLINE_EXCEEDED: &str = "4";
    let database = Database::small().await;
    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    for (flags, headers, seconds) in [
        (&["--request-timeout-seconds", "1"][..], &[][..], "longer than 1 s"),
        (&[], &[("grpc-timeout", "2S")], "longer than 2 s"),
        (&["--request-timeout-seconds", "1"], &[("grpc-timeout", "5H")], "longer than 1 s"),
    ] {
        let server = Server::start(&database, flags);
        let raw = Raw::to(server.address()).await;
        let ending = raw.call(LIST_RESOURCES, headers, &organizations()).await.unwrap();
        assert_eq!(ending.code.as_deref(), Some(DEADLINE_EXCEEDED), "{ending:?}");
        assert!(ending.message.contains(&seconds.replace(' ', "%20")), "{ending:?}");
        let logged = server.wait_for_log(|line| line["grpc.method"] == "ListResources");
        assert_eq!(logged["grpc.code"], "DeadlineExceeded", "{logged}");
        eventually("the end of the statement", async || {
            (database.statements_in_progress().await == 0).then_some(())
        })
        .await;
    }
    locked.rollback().await.unwrap();
}

#[tokio::test]
async fn only_a_caller_that_answers_pings_stays_connected() {
    let server =
        Server::start_at(NOWHERE, &["--keepalive-interval-seconds", "1", "--keepalive-timeout-seconds", "4"]);
    let live = Wire::to(&server).await;
    metadata(&live).await.unwrap();
    let mut dead = TcpStream::connect(server.address()).unwrap();
    dead.write_all(GREETING).unwrap();
    closed(dead).await;
    metadata(&live).await.unwrap();
    let peers = eventually("two lines", async || {
        let logs = server.logs();
        let calls = logs.iter().filter(|line| line["grpc.method"] == "GetMetadata");
        let peers: Vec<_> = calls.map(|line| line["peer.address"].clone()).collect();
        (peers.len() == 2).then_some(peers)
    })
    .await;
    assert_eq!(peers[0], peers[1], "the live one had to connect again");
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::start_at(NOWHERE, &[]);
    closed(TcpStream::connect(server.address()).unwrap()).await;
    metadata(&Wire::to(&server).await).await.unwrap();
    // A port scan is no reason for a line of the log.
    let logs = server.logs();
    assert!(!logs.iter().any(|line| line.to_string().contains("closed the connection")), "{logs:?}");
}

#[tokio::test]
async fn a_failed_tls_handshake_is_logged_only_if_the_client_has_sent_something() {
    let pki = Pki::new();
    let folder = tempfile::tempdir().unwrap();
    let signed = pki.sign("server");
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, &signed.cert_pem).unwrap();
    std::fs::write(&key, signed.key.serialize_pem()).unwrap();
    let arguments = [format!("--tls-cert={}", certificate.display()), format!("--tls-key={}", key.display())];
    let server = Server::start_at(NOWHERE, &arguments.each_ref().map(String::as_str));
    let failed = |line: &serde_json::Value| line["msg"] == "a TLS handshake failed";
    // The first probe closes the connection, and the second is closed by the server.
    TcpStream::connect(server.address()).unwrap().shutdown(std::net::Shutdown::Write).unwrap();
    closed(TcpStream::connect(server.address()).unwrap()).await;
    let mut http = TcpStream::connect(server.address()).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.wait_for_log(failed);
    assert_eq!(server.logs().iter().filter(|line| failed(line)).count(), 1, "{:?}", server.logs());
}

#[tokio::test]
async fn a_busy_pool_is_unavailable_after_the_wait() {
    let database = Database::small().await;
    let url = format!("{}?pool_max_conns=1", database.url());
    let server = Server::start_at(&url, &["--pool-wait-seconds", "1"]);
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    let holder = ask(&wire);
    database.wait_until_blocked(1).await;
    let waiting: Vec<Call> = (0..20).map(|_| ask(&wire)).collect();
    for call in waiting {
        let words = ["within 1 s", "all 1 are busy", "pool_max_conns"];
        assert_refused(call.await.unwrap(), Code::Unavailable, &words);
    }
    assert!(!holder.is_finished());
    locked.rollback().await.unwrap();
    holder.await.unwrap().unwrap();
    wire.organizations().await.unwrap();
}

#[tokio::test]
async fn the_grace_period_bounds_the_drain() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--shutdown-grace-seconds", "1"]);
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let _locked = lock(&mut client).await;
    let call = ask(&wire);
    database.wait_until_blocked(1).await;
    server.terminate();
    let (status, logs) = tokio::task::spawn_blocking(|| server.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let said = |text: &str| logs.iter().any(|line| line["msg"] == text);
    assert!(said("calls were still in progress when the grace period ended"), "{logs:?}");
    assert!(call.await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_makes_no_call_does_not_delay_the_end() {
    // The keepalive does not end the connection before the test fails.
    let arguments = ["--shutdown-grace-seconds", "3600", "--keepalive-interval-seconds", "3600"];
    let server = Server::start_at(NOWHERE, &arguments);
    let mut silent = TcpStream::connect(server.address()).unwrap();
    silent.write_all(GREETING).unwrap();
    // The server has read the greeting.
    let mut settings = [0; 9];
    silent.read_exact(&mut settings).unwrap();
    server.terminate();
    let (status, logs) = tokio::task::spawn_blocking(|| server.ended()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    let unfinished =
        logs.iter().find(|line| line["msg"].to_string().contains("calls were still in progress"));
    assert_eq!(unfinished, None);
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--shutdown-grace-seconds", "3600"]);
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let _locked = lock(&mut client).await;
    let call = ask(&wire);
    database.wait_until_blocked(1).await;
    server.terminate();
    server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.starts_with("stopping;")));
    let (status, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(logs.iter().any(|line| line["msg"] == "stopping at once"), "{logs:?}");
    assert!(call.await.unwrap().is_err());
}

/// The status line of the HTTP endpoint `/ready`.
fn readiness(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_readiness_first_and_notifies_health_watchers() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--health-check", "--health-check-port", "0"]);
    let health = server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let health = health["address"].as_str().unwrap().to_owned();
    let wire = Wire::to(&server).await;
    let mut watch =
        HealthClient::new(wire.channel()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let ready = eventually("readiness", async || readiness(&health)).await;
    assert!(ready.contains("200"), "{ready}");

    let mut client = database.client().await;
    let locked = lock(&mut client).await;
    let call = ask(&wire);
    database.wait_until_blocked(1).await;
    server.terminate();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none(), "the watch did not end");
    let ready = readiness(&health).unwrap();
    assert!(ready.contains("503"), "{ready}");
    assert!(!call.is_finished());
    locked.rollback().await.unwrap();
    call.await.unwrap().unwrap();
    let (status, _) = server.ended();
    assert_eq!(status.code(), Some(0));
}

//! Slots for calls and connections, and who gets them when hostile callers request all of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::headers::{self, call};
use super::unauthenticated::seen;
use crate::support::http::ask;
use crate::support::postgres::Database;
use crate::support::raw::{DATA, END_HEADERS, GREETING, HEADERS, Raw, frame};
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, assert_refused, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";
const HEALTH: &str = "grpc.health.v1.Health/Check";
const TOKEN: &str = "a-token-0123456789";

/// Sends the start of a message of 1,000 bytes.
async fn half_a_message(body: &mpsc::Sender<Bytes>) {
    body.send(Bytes::from_static(&[0, 0, 0, 3, 232])).await.unwrap();
    // The channel has a capacity of one: when it accepts another piece, the first has been sent.
    body.send(Bytes::from_static(&[8])).await.unwrap();
}

fn with_a_token() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, TOKEN).unwrap();
    let flag = format!("--auth-token-file={}", path.display());
    (directory, flag)
}

async fn watch(wire: &Wire) -> Result<Streaming<HealthCheckResponse>, tonic::Status> {
    let answers = HealthClient::new(wire.channel()).watch(HealthCheckRequest::default()).await?;
    Ok(answers.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_message_take_no_slot() {
    let server = Server::start_at(NOWHERE, &["--max-requests", "2", "--stall-timeout-seconds", "3600"]);
    let honest = Wire::to(&server).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let raw = Raw::to(server.address()).await;
        for _ in 0..7 {
            let (body, ending) = raw.slowly(GET_METADATA);
            let ending = tokio::spawn(ending);
            half_a_message(&body).await;
            slow.push((body, ending));
        }
        // The connection answers this call, so the server has processed everything sent before it.
        let message = baton_retool::proto::connector::ConnectorServiceGetMetadataRequest::default();
        assert_eq!(raw.call(GET_METADATA, &[], &message).await.unwrap().code.as_deref(), Some("0"));
        for _ in 0..20 {
            honest.metadata().await.unwrap();
        }
    }
    assert!(slow.iter().all(|(_, ending)| !ending.is_finished()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_message_ends_its_call_within_seconds() {
    let server = Server::start_at(NOWHERE, &["--stall-timeout-seconds", "1"]);
    let raw = Raw::to(server.address()).await;
    let (body, ending) = raw.slowly(GET_METADATA);
    let ending = tokio::spawn(ending);
    half_a_message(&body).await;
    let ending = ending.await.unwrap().unwrap();
    assert_eq!(ending.code.as_deref(), Some("4"), "{ending:?}");
    assert!(ending.message.contains("--stall-timeout-seconds"), "{ending:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_aborts_its_message_is_logged_as_cancelled() {
    let server = Server::start_at(NOWHERE, &[]);
    let raw = Raw::to(server.address()).await;
    let (body, ending) = raw.slowly(GET_METADATA);
    let ending = tokio::spawn(ending);
    half_a_message(&body).await;
    let message = baton_retool::proto::connector::ConnectorServiceGetMetadataRequest::default();
    raw.call(GET_METADATA, &[], &message).await.unwrap();
    ending.abort();
    let broken = |line: &serde_json::Value| line["grpc.method"] == "GetMetadata" && line["grpc.code"] != "Ok";
    let line = server.wait_for_log(broken);
    assert_eq!((&line["grpc.code"], &line["level"]), (&"Cancelled".into(), &"info".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_a_message_is_not_logged_as_an_internal_error() {
    const GZIP: &[(&str, &str)] = &[("grpc-encoding", "gzip")];
    let server = Server::start_at(NOWHERE, &[]);
    let raw = Raw::to(server.address()).await;
    for path in [GET_METADATA, HEALTH] {
        for (what, headers, body, code) in [
            ("nothing", &[][..], &[][..], "3"),
            ("a part of the head", &[], &[0, 0], "1"),
            ("a part of the message", &[], &[0, 0, 0, 3, 232, 8], "1"),
            ("an unknown flag", &[], &[7, 0, 0, 0, 0], "3"),
            ("compressed without an encoding", &[], &[1, 0, 0, 0, 1, 2], "3"),
            ("not compressed as announced", GZIP, &[1, 0, 0, 0, 3, 1, 2, 3], "3"),
            ("two messages", &[], &[0; 10], "3"),
        ] {
            let ending = raw.send(path, headers, Bytes::from_static(body)).await.unwrap();
            // Health checks do not support compression.
            let code = if path == HEALTH && headers == GZIP { "12" } else { code };
            assert_eq!(ending.code.as_deref(), Some(code), "{path}, {what}: {ending:?}");
        }
    }
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let codes: Vec<&str> = logs.iter().filter_map(|line| line["grpc.code"].as_str()).collect();
    assert_eq!(codes.len(), 14, "{codes:?}");
    assert!(!codes.contains(&"Internal") && !codes.contains(&"Unknown"), "{codes:?}");
}

#[tokio::test]
async fn one_connection_gets_no_more_than_its_share_of_calls() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--max-requests", "8"]);
    let (greedy, other) = (Wire::to(&server).await, Wire::to(&server).await);
    let mut client = database.client().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE organizations").await.unwrap();
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let greedy = greedy.clone();
            tokio::spawn(async move { greedy.organizations().await })
        })
        .collect();
    database.wait_until_blocked(4).await;
    assert_refused(
        greedy.metadata().await,
        Code::Unavailable,
        &["4 calls", "this connection", "--max-requests"],
    );
    other.metadata().await.unwrap();
    locked.rollback().await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

/// Other systems have only one loopback address.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_use_their_whole_share_leave_a_call_to_another_token() {
    const SECOND: &str = "b-token-0123456789";
    const OTHER: &str = "c-token-0123456789";
    let database = Database::small().await;
    let (directory, flag) = with_a_token();
    std::fs::write(directory.path().join("tokens"), [TOKEN, SECOND, OTHER].join("\n")).unwrap();
    let flags = ["--max-requests", "8", "--pool-wait-seconds", "300", &flag];
    let server = Server::start(&database, &flags);
    let from = async |last: u8| Wire::over(server.channel_from([127, 0, 0, last].into()).await);
    let mut client = database.client().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE organizations").await.unwrap();
    let mut calls = Vec::new();
    // The first token has two connections on one address, because one connection gets half of the limit.
    for (token, last, in_progress) in
        [(TOKEN, 2, 4), (TOKEN, 2, 5), (TOKEN, 3, 5), (TOKEN, 4, 5), (SECOND, 2, 6), (SECOND, 3, 6)]
    {
        let wire = from(last).await.showing(token);
        calls.extend((0..8).map(|_| {
            let wire = wire.clone();
            tokio::spawn(async move { wire.organizations().await })
        }));
        eventually("the refusals", async || {
            let refused = calls.iter().filter(|call| call.is_finished()).count();
            (refused == calls.len() - in_progress).then_some(())
        })
        .await;
    }
    for last in [2, 9] {
        from(last).await.showing(OTHER).metadata().await.unwrap();
    }
    let words = ["1 calls", "callers with this token", "--max-requests"];
    assert_refused(from(9).await.showing(SECOND).metadata().await, Code::Unavailable, &words);
    locked.rollback().await.unwrap();
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap().is_ok());
    }
    assert_eq!(answered, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_out_callers_with_a_token() {
    let (_directory, flag) = with_a_token();
    let server = Server::start_at(NOWHERE, &["--max-connections", "64", &flag]);
    let regular = Wire::to(&server).await.showing(TOKEN);
    regular.metadata().await.unwrap();
    let mut idle = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(GREETING).unwrap();
        idle.push(stream);
        if number % 20 == 0 {
            let newcomer = Wire::to(&server).await;
            newcomer.showing(TOKEN).metadata().await.unwrap();
            newcomer.raw(HEALTH, vec![]).await.unwrap();
            regular.metadata().await.unwrap();
        }
    }
    let calls = server.logs().into_iter().filter(|line| line["grpc.method"] == "GetMetadata");
    let mut peers: Vec<_> = calls.map(|line| line["peer.address"].to_string()).collect();
    peers.sort();
    peers.dedup();
    assert_eq!(peers.len(), 11, "the regular caller had to connect again");
}

/// Begins a call with this token on a new connection, and sends half of its message.
fn stalled(server: &Server, token: &str) -> TcpStream {
    let authorization = format!("Bearer {token}");
    let length = u8::try_from(authorization.len()).unwrap();
    let field = [b"\0\x0dauthorization", &[length][..], authorization.as_bytes()].concat();
    let begin = frame(HEADERS, END_HEADERS, 1, &[call(headers::GET_METADATA), field].concat());
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(&[GREETING, &begin, &frame(DATA, 0, 1, &[0, 0, 0, 3, 232, 8])].concat()).unwrap();
    // The server closes connections over the limit.
    let _ = seen(&mut stream);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_does_not_keep_out_others_by_connections_with_calls() {
    const OTHER: &str = "b-token-0123456789";
    let (directory, flag) = with_a_token();
    std::fs::write(directory.path().join("tokens"), format!("{TOKEN}\n{OTHER}\n")).unwrap();
    let flags = ["--max-connections", "32", "--stall-timeout-seconds", "3600", &flag];
    let server = Server::start_at(NOWHERE, &flags);
    let agent = Wire::to(&server).await.showing(OTHER);
    agent.metadata().await.unwrap();
    let mut greedy = Vec::new();
    for number in 1..=40 {
        greedy.push(tokio::task::block_in_place(|| stalled(&server, TOKEN)));
        if number % 10 == 0 {
            Wire::to(&server).await.raw(HEALTH, vec![]).await.unwrap();
            Wire::to(&server).await.showing(OTHER).metadata().await.unwrap();
            agent.metadata().await.unwrap();
        }
    }
    let calls = server.logs().into_iter().filter(|line| line["grpc.method"] == "GetMetadata");
    let answered = calls.filter(|line| line["grpc.code"] == "Ok");
    let peers: BTreeSet<_> = answered.map(|line| line["peer.address"].to_string()).collect();
    assert_eq!(peers.len(), 5, "the agent had to connect again");
}

/// A server with a low limit on open files, killed when dropped, and its log.
struct Poor {
    process: Child,
    log: tempfile::NamedTempFile,
}

impl Poor {
    fn start() -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let program = program();
        let mut shell = Command::new("sh");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let process = shell
            .args(["-c", r#"ulimit -n 80 && exec "$0" "$@""#])
            .arg(program.get_program())
            .args(["serve", "--listen=127.0.0.1:0", "--log-format=json", "--connection-string", NOWHERE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { process, log }
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.log.path()).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Poor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_new_callers_are_served_and_the_log_stays_short() {
    const LINES: u64 = 5;
    const WINDOW_SECONDS: u64 = 10;
    let server = Poor::start();
    let address: SocketAddr = eventually("the address", async || {
        let lines = server.lines();
        let line = lines.iter().find(|line| line["msg"] == "listening")?;
        line["address"].as_str()?.parse().ok()
    })
    .await;
    let begun = Instant::now();
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        // It may be closed already.
        let _ = stream.write_all(GREETING);
        idle.push(stream);
    }
    let failed = |line: &&serde_json::Value| line["msg"] == "could not accept a connection";
    eventually("a lack of file descriptors", async || server.lines().iter().find(failed).map(drop)).await;
    eventually("an answer to a newcomer", async || {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
        Wire::over(endpoint.connect().await.ok()?).metadata().await.ok()
    })
    .await;
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    let lines = server.lines().iter().filter(failed).count() as u64;
    assert!(lines <= LINES * windows, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_watches_are_bounded_and_health_checks_continue() {
    const TOTAL_OF_AN_ADDRESS: usize = 80;
    const OF_A_CONNECTION: usize = 4;
    let (_directory, flag) = with_a_token();
    let server = Server::start_at(NOWHERE, &[&flag]);
    let mut watches = Vec::new();
    let mut refused = 0;
    for _ in 0..25 {
        let wire = Wire::to(&server).await;
        for number in 0..=OF_A_CONNECTION {
            match watch(&wire).await {
                Ok(watch) => watches.push(watch),
                Err(status) => {
                    let words = ["health watches", "retry"];
                    assert_refused(Err::<(), _>(status), Code::Unavailable, &words);
                    refused += 1;
                }
            }
            assert!(number < OF_A_CONNECTION || refused > 0, "a connection has {number} watches");
        }
        wire.raw(HEALTH, vec![]).await.unwrap();
    }
    assert_eq!((watches.len(), refused), (TOTAL_OF_AN_ADDRESS, 125 - TOTAL_OF_AN_ADDRESS));
    for watch in &mut watches {
        assert!(watch.message().await.unwrap().is_some());
    }
    drop(watches);
    let wire = Wire::to(&server).await;
    eventually("room for a watch", async || watch(&wire).await.ok()).await;
}

/// The address in the log line with this message.
fn address(server: &Server, said: &str) -> SocketAddr {
    let line = server.wait_for_log(|line| line["msg"] == said);
    line["address"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_of_the_database_share_one_check() {
    let database = Database::small().await;
    let server = Server::start(
        &database,
        &["--health-check", "--health-check-port=0", "--metrics-listen=127.0.0.1:0"],
    );
    let (probes, metrics) =
        (address(&server, "health endpoints listening"), address(&server, "metrics listening"));
    let statements = || -> u64 {
        const NAME: &str = "baton_retool_database_statement_duration_seconds_count";
        let text = ask(metrics, "GET", "/metrics").body;
        let counts = text.lines().filter(|line| line.starts_with(NAME));
        counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    assert_eq!(ask(probes, "GET", "/health").code, 200);
    // The start and one check made this number of statements.
    let (begun, before) = (Instant::now(), statements());
    for _ in 0..100 {
        assert_eq!(ask(probes, "GET", "/health").code, 200);
    }
    let checks = begun.elapsed().as_secs() / 3 + 1;
    assert!(statements() - before <= before * checks, "{} statements", statements() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_disconnects_does_not_cancel_the_check() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--health-check", "--health-check-port=0"]);
    let probes = address(&server, "health endpoints listening");
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let mut client = database.client().await;
    let locked = client.transaction().await.unwrap();
    // The check reads nothing but catalogs.
    locked.batch_execute("LOCK TABLE pg_policy").await.unwrap();
    let observer = database.client().await;
    let probe = || {
        let mut stream = TcpStream::connect(probes).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: probe\r\n\r\n").unwrap();
        stream
    };
    // The session and the start of the statement that waits for the lock.
    let waiting = async || {
        let sql = "SELECT pid, query_start::text FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        eventually("a statement that waits for the lock", async || {
            let row = observer.query_opt(sql, &[]).await.unwrap()?;
            Some((row.get::<_, i32>(0), row.get::<_, String>(1)))
        })
        .await
    };
    let first_probe = probe();
    database.wait_until_blocked(1).await;
    let first = waiting().await;
    drop(first_probe);
    for _ in 1..20 {
        let _stream = probe();
        // The server accepts connections in order, so its answer shows that it has accepted the probe.
        let live = tokio::task::spawn_blocking(move || ask(probes, "GET", "/live"));
        assert_eq!(live.await.unwrap().code, 200);
        assert_eq!(first, waiting().await, "the check began again");
    }
    let patient = tokio::task::spawn_blocking(move || ask(probes, "GET", "/health"));
    assert_eq!(first, waiting().await, "the check began again");
    locked.rollback().await.unwrap();
    assert_eq!(patient.await.unwrap().code, 200);
}

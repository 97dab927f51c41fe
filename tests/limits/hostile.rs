//! Hostile callers: the server continues to serve other callers, in bounded memory. `make fuzz-smoke` runs
//! these tests with more cases.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message;
use prost::bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tonic::Code;

use crate::support::http::ask;
use crate::support::messages::{methods, random};
use crate::support::postgres::Database;
use crate::support::raw::{GREETING, Raw, frame, framed};
use crate::support::server::Server;
use crate::support::wire::Wire;

/// More than the server needs in these tests, and far less than the amount of data sent to it.
const MEMORY: u64 = 400 * 1024 * 1024;
const LIST_RESOURCES: &str = "c1.connector.v2.ResourcesService/ListResources";

/// A server under attack, and a client of it that lists the organizations continuously.
struct Attacked {
    server: Server,
    over: Arc<AtomicBool>,
    client: tokio::task::JoinHandle<u32>,
    // This is dropped last.
    _database: Database,
}

impl Attacked {
    async fn start(flags: &[&str]) -> Self {
        let database = Database::small().await;
        let server = Server::start(&database, flags);
        let over = Arc::new(AtomicBool::new(false));
        let (wire, stop) = (Wire::to(&server).await, Arc::clone(&over));
        wire.organizations().await.unwrap();
        let client = tokio::spawn(async move {
            let mut answered = 0;
            while answered == 0 || !stop.load(Ordering::Relaxed) {
                assert_eq!(wire.organizations().await.unwrap().len(), 2);
                answered += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            answered
        });
        Self { server, over, client, _database: database }
    }

    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Checks that the client received all answers, a new client is served, no resource was exhausted, and
    /// nothing failed.
    async fn assert_unharmed(self) {
        if let Some(memory) = self.server.memory() {
            assert!(memory < MEMORY, "{memory} bytes");
        }
        Wire::to(&self.server).await.organizations().await.unwrap();
        self.over.store(true, Ordering::Relaxed);
        self.client.await.expect("the well-behaved client was not served");
        for line in self.server.logs() {
            assert!(line.is_object() && line["msg"] != "a call panicked; the server continues", "{line}");
        }
    }
}

/// Runs this many cases, or the number in `PROPTEST_CASES`.
fn runner(usual: u32) -> TestRunner {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let cases = asked.unwrap_or(usual);
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_and_frames_do_not_disturb_other_callers() {
    let attacked = Attacked::start(&[]).await;
    let address = attacked.address();
    let frames = prop::collection::vec(
        (any::<u8>(), any::<u8>(), 0..8_u32, prop::collection::vec(any::<u8>(), 0..300)),
        1..12,
    );
    let frames = frames.prop_map(|frames| {
        let known = |(kind, flags, stream, payload): (u8, u8, u32, Vec<u8>)| {
            frame(kind % 11, flags, stream, &payload)
        };
        let frames: Vec<u8> = frames.into_iter().flat_map(known).collect();
        [GREETING, &frames].concat()
    });
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..4_096), frames];
    let mut open = Vec::new();
    tokio::task::block_in_place(|| {
        runner(200)
            .run(&(bytes, 0..3_u8), |(bytes, end)| {
                let mut stream = connect(address);
                // The server may have closed the connection at the first byte.
                let _ = stream.write_all(&bytes);
                let _ = match end {
                    0 => stream.shutdown(Shutdown::Both),
                    1 => stream.shutdown(Shutdown::Write),
                    _ => Ok(()),
                };
                if end == 1 {
                    // Reads the answers that the server still sends on a half-closed connection.
                    let _ = stream.read_to_end(&mut Vec::new());
                }
                Ok(())
            })
            .unwrap();
        for _ in 0..50 {
            let mut stream = connect(address);
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            open.push(stream);
        }
    });
    attacked.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_and_slow_callers_do_not_block_others() {
    let attacked = Attacked::start(&["--request-timeout-seconds", "20"]).await;
    let address = attacked.address();
    let mut silent = Vec::new();
    let mut slow_headers = Vec::new();
    let mut slow_bodies = Vec::new();
    for number in 0..50 {
        let mut stream = connect(address);
        match number % 3 {
            0 => {}
            1 => stream.write_all(&GREETING[..number % GREETING.len()]).unwrap(),
            _ => {
                stream.write_all(GREETING).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
        }
        silent.push(stream);
        let mut stream = connect(address);
        stream.write_all(GREETING).unwrap();
        // The start of a HEADERS frame of 16,000 bytes.
        stream.write_all(&[0, 0x3e, 0x80, 1, 4, 0, 0, 0, 1]).unwrap();
        slow_headers.push(stream);
        let raw = Raw::to(address).await;
        // Before its first call, a connection can be replaced by the next ones.
        raw.send(LIST_RESOURCES, &[], framed(&[])).await.unwrap();
        let (body, ending) = raw.slowly(LIST_RESOURCES);
        slow_bodies.push((body, tokio::spawn(ending)));
    }
    let wire = Wire::to(&attacked.server).await;
    // The head of a message of 1,000 bytes, followed by single bytes.
    for round in 0..20 {
        for stream in &mut slow_headers {
            let _ = stream.write_all(&[0]);
        }
        for (body, _) in &slow_bodies {
            let piece = if round == 0 { &[0, 0, 0, 3, 232][..] } else { &[8] };
            let _ = body.send(Bytes::copy_from_slice(piece)).await;
        }
        assert_eq!(wire.organizations().await.unwrap().len(), 2);
    }
    for (body, ending) in slow_bodies {
        let ending = ending.await.unwrap().unwrap();
        assert_eq!(ending.code.as_deref(), Some("4"), "no deadline for a slow body: {ending:?}");
        drop(body);
    }
    attacked.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_headers_and_messages_use_bounded_memory() {
    const PIECE: usize = 16_000;
    const PIECES: usize = 4_000;
    let attacked = Attacked::start(&[]).await;
    let address = attacked.address();
    // 64 MB of endless headers, written directly, because no client sends this.
    let piece = vec![0; PIECE];
    for _ in 0..4 {
        let mut stream = connect(address);
        stream.write_all(GREETING).unwrap();
        let _ = stream.write_all(&frame(1, 0, 1, &piece));
        let mut sent = 0;
        while sent < PIECES && stream.write_all(&frame(9, 0, 1, &piece)).is_ok() {
            sent += 1;
        }
        assert!(sent < PIECES, "the server keeps reading headers");
    }
    let raw = Raw::to(address).await;
    // Messages that announce 4 GiB and 5 MiB.
    for head in [[0, 255, 255, 255, 255], [0, 0, 80, 0, 0]] {
        let (body, ending) = raw.slowly(LIST_RESOURCES);
        let ending = tokio::spawn(ending);
        let _ = body.send(Bytes::copy_from_slice(&head)).await;
        let ending = ending.await.unwrap().unwrap();
        assert_eq!(ending.code.as_deref(), Some("8"), "{ending:?}");
    }
    let wire = Wire::to(&attacked.server).await;
    let refused = wire.raw(LIST_RESOURCES, vec![0; 32 * 1024 * 1024]).await.unwrap_err();
    assert!(matches!(refused.code(), Code::ResourceExhausted | Code::Unknown), "{refused:?}");
    attacked.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_do_not_disturb_other_callers() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| {
        line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok()
    });
    // The other tests of this process also need file descriptors.
    let count = files.map_or(500, |files| files.saturating_sub(800).clamp(100, 3_000));
    let attacked = Attacked::start(&[]).await;
    let idle: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = connect(attacked.address());
            stream.write_all(GREETING).unwrap();
            stream
        })
        .collect();
    // Streams that received the server's settings were open on the server. Older ones were closed to make
    // room for new ones.
    let heard = idle.iter().filter(|stream| (&mut &**stream).read_exact(&mut [0; 9]).is_ok()).count();
    assert!(heard >= 100, "{heard} of {count}");
    attacked.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_and_prometheus_ports_limit_connections_in_number_and_time() {
    const MOST: usize = 32;
    let flags = ["--metrics-listen=127.0.0.1:0", "--health-check", "--health-check-port=0"];
    let attacked = Attacked::start(&flags).await;
    for (said, path) in [("metrics listening", "/metrics"), ("health endpoints listening", "/live")] {
        let line = attacked.server.wait_for_log(|line| line["msg"] == said);
        let address: SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
        assert_eq!(ask(address, "GET", path).code, 200);
        let mut idle: Vec<TcpStream> = Vec::new();
        for number in 0..200 {
            let mut stream = connect(address);
            // Some connections start a request.
            if number % 2 == 0 {
                // It may be closed already.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: ");
            }
            idle.push(stream);
            if number % 10 == 0 {
                assert_eq!(
                    ask(address, "GET", path).code,
                    200,
                    "{number} silent connections block a new one"
                );
            }
        }
        // The oldest connections were closed at once, long before the time limit of slow ones.
        for stream in &mut idle[..200 - MOST] {
            assert!(!is_open(stream, Duration::from_secs(20)), "the connection was not closed within 20 s");
        }
        let is_reported =
            |line: &Value| line["msg"].as_str().unwrap_or_default().contains("over HTTP, an old one");
        let line = attacked.server.wait_for_log(is_reported);
        assert_eq!(line["most"], MOST, "{line}");
        for stream in &mut idle[200 - MOST..] {
            assert!(!is_open(stream, Duration::from_secs(20)), "the connection was not closed within 20 s");
        }
        assert_eq!(ask(address, "GET", path).code, 200);
    }
    attacked.assert_unharmed().await;
}

/// Whether the server keeps the connection open for this long.
fn is_open(stream: &mut TcpStream, max_wait: Duration) -> bool {
    stream.set_read_timeout(Some(max_wait)).unwrap();
    let read = stream.read_to_end(&mut Vec::new());
    read.is_err_and(|error| error.kind() != ErrorKind::ConnectionReset)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_survives_random_messages() {
    const TEXTS: [&str; 14] = [
        "",
        "o1",
        "u1",
        "g1",
        "p1",
        "r1",
        "user",
        "group",
        "page",
        "resource",
        "org",
        "é\u{0}\u{202e}",
        "'; DROP",
        "x@example.com",
    ];
    let attacked = Attacked::start(&["--ticketing"]).await;
    let wire = Wire::to(&attacked.server).await;
    let methods = methods();
    tokio::task::block_in_place(|| {
        let case = (any::<u64>(), prop::collection::vec(any::<u8>(), 0..200));
        runner(30)
            .run(&case, |(seed, bytes)| {
                let mut chance = StdRng::seed_from_u64(seed);
                for (path, request) in &methods {
                    for sent in [random(&mut chance, request, &TEXTS).encode_to_vec(), bytes.clone()] {
                        let call = wire.raw(path, sent);
                        // The result is in the log.
                        let _ = tokio::runtime::Handle::current().block_on(call);
                    }
                }
                Ok(())
            })
            .unwrap();
    });
    for line in attacked.server.logs() {
        let code = line["grpc.code"].as_str().unwrap_or_default();
        assert!(!["Internal", "Unknown", "Unavailable"].contains(&code), "{line}");
    }
    attacked.assert_unharmed().await;
}

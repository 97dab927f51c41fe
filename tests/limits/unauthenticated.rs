//! The resources of callers that have not sent a token.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::raw::{
    CONTINUATION, DATA, END_HEADERS, GREETING, HEADERS, PING, call_headers, frame, hpack_length,
};
use crate::support::server::Server;
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const TOKEN: &str = "a-token-0123456789";
/// A quarter of the connections that are allowed.
const CONNECTIONS: u64 = 100;
/// The most memory per connection.
const EACH: u64 = 160 * 1024;

const ACK: u8 = 1;

/// The headers of a call, plus a header of this many bytes.
fn headers(path: &str, beside: usize) -> Vec<u8> {
    call_headers(path, &[("x-large", &"x".repeat(beside))])
}

/// The same headers with a Huffman-coded authority and a Huffman-coded long header: the letter `a`, and
/// zeros. Five bytes encode eight zeros.
fn compressed_headers(path: &str, bytes: usize) -> Vec<u8> {
    let mut long = hpack_length(bytes);
    long[0] |= 0x80;
    let fixed =
        [&[0x83, 0x86, 0x41, 0x81, 0x1f, 0x04], &hpack_length(path.len())[..], path.as_bytes()].concat();
    // The name is entry 31 of HPACK's static table, and the value has 16 bytes.
    let content_type = b"\x0f\x10\x10application/grpc".to_vec();
    [fixed, content_type, vec![0, 1, b'x'], long, vec![0; bytes]].concat()
}

/// This many calls with these headers.
fn calls(count: u32, headers: &[u8]) -> Vec<u8> {
    (0..count).flat_map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, headers)).collect()
}

/// Waits until the server has read everything that was sent; an error if the server closes the connection.
pub(super) fn seen(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&frame(PING, 0, 0, b"12345678"))?;
    let mut head = [0; 9];
    loop {
        stream.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; size as usize])?;
        if head[3] == PING && head[4] & ACK != 0 {
            return Ok(());
        }
    }
}

/// The expected state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The connection stays open, and the server has read everything.
    Kept,
    /// The connection stays open, in the middle of a frame or call.
    Unfinished,
    HungUp,
}

/// Connects to the server and sends these bytes.
fn connect(server: &Server, bytes: &[u8], fate: Fate) -> TcpStream {
    for _ in 0..20 {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let sent = stream.write_all(&[GREETING, bytes].concat());
        match fate {
            Fate::Unfinished => sent.unwrap(),
            Fate::Kept => match sent.and_then(|()| seen(&mut stream)) {
                Ok(()) => {}
                // The server closes a connection that has spent its allowance and is idle for a second.
                Err(_) if begun.elapsed() > Duration::from_secs(1) => continue,
                Err(error) => panic!("{error}"),
            },
            Fate::HungUp => {
                let kept = sent.and_then(|()| seen(&mut stream)).is_ok();
                assert!(!kept, "the server reads everything that an unauthenticated connection sends");
            }
        }
        return stream;
    }
    panic!("the server closes every connection");
}

/// The memory of the server for each connection that sends these bytes.
async fn held_by_each(bytes: &[u8], fate: Fate) -> Option<u64> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, TOKEN).unwrap();
    let most = (4 * CONNECTIONS).to_string();
    let flag = format!("--auth-token-file={}", path.display());
    let server =
        Server::start_at(NOWHERE, &["--max-connections", &most, "--stall-timeout-seconds=3600", &flag]);
    let regular = Wire::to(&server).await.showing(TOKEN);
    for _ in 0..100 {
        regular.metadata().await.unwrap();
    }
    let before = server.data_memory()?;
    let open: Vec<TcpStream> = tokio::task::block_in_place(|| match fate {
        // The server closes the connections after seconds, so all wait at the same time.
        Fate::HungUp => std::thread::scope(|scope| {
            let connections: Vec<_> =
                (0..CONNECTIONS).map(|_| scope.spawn(|| connect(&server, bytes, fate))).collect();
            connections.into_iter().map(|connection| connection.join().unwrap()).collect()
        }),
        // One after the other, because the server replaces the connection that is idle for longest.
        Fate::Kept | Fate::Unfinished => (0..CONNECTIONS).map(|_| connect(&server, bytes, fate)).collect(),
    });
    for _ in 0..20 {
        regular.metadata().await.unwrap();
    }
    let after = server.data_memory()?;
    // One more connection replaces the oldest one.
    let _newcomer = TcpStream::connect(server.address()).unwrap();
    let mut oldest = &open[0];
    oldest.set_nonblocking(true).unwrap();
    eventually("the end of the oldest connection", async || match oldest.read(&mut [0; 4096]) {
        Ok(0) => Some(()),
        Err(error) if error.kind() != ErrorKind::WouldBlock => Some(()),
        _ => None,
    })
    .await;
    regular.metadata().await.unwrap();
    Some(after.saturating_sub(before) / CONNECTIONS)
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_connections_use_bounded_memory() {
    const GET_METADATA: &str = "/c1.connector.v2.ConnectorService/GetMetadata";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    // Close to the largest header that fits into one frame.
    const LARGE: usize = 15_000;
    let (large, small) = (headers(HEALTH, LARGE), headers(HEALTH, 0));
    let half_a_block = frame(HEADERS, 0, 1, &large);
    // A header that announces a longer value than is sent.
    let long = [&[0][..], &hpack_length(1), b"x", &hpack_length(200_000)].concat();
    let piece = frame(CONTINUATION, 0, 1, &vec![b'x'; LARGE]);
    let half_a_header = [frame(HEADERS, 0, 1, &[small.clone(), long].concat()), piece.repeat(3)].concat();
    let half_a_frame = frame(DATA, 0, 1, &[7; 16_000])[..LARGE].to_vec();
    for (what, bytes, fate) in [
        ("nothing", vec![], Fate::Kept),
        ("health checks without a message", calls(3, &large), Fate::Kept),
        ("compressed headers", calls(5, &compressed_headers(HEALTH, 9_000)), Fate::Kept),
        ("more health checks than they may", calls(100, &small), Fate::Kept),
        ("calls that need a token", calls(100, &headers(GET_METADATA, 0)), Fate::Kept),
        ("more bytes than they may", calls(100, &large), Fate::HungUp),
        ("headers without an end", half_a_block, Fate::Unfinished),
        ("a header without an end", half_a_header, Fate::Unfinished),
        ("a frame without an end", [calls(1, &large), half_a_frame].concat(), Fate::Unfinished),
    ] {
        let Some(each) = held_by_each(&bytes, fate).await else { return };
        eprintln!("{what}: {} KiB for each connection", each / 1024);
        assert!(each <= EACH, "{what}: {each} bytes for each connection");
    }
}

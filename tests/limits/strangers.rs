//! What callers hold who have shown no token.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::raw::{GREETING, frame};
use crate::support::server::Server;
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const TOKEN: &str = "a-token-0123456789";
/// A quarter of the connections that there may be.
const STRANGERS: u64 = 100;
/// How much memory one may hold.
const EACH: u64 = 320 * 1024;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const PING: u8 = 6;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A length in HPACK, with seven bits in its first byte.
fn length(mut length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![u8::try_from(length).unwrap()];
    }
    let mut encoded = vec![127];
    length -= 127;
    while length >= 128 {
        encoded.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    encoded.push(u8::try_from(length).unwrap());
    encoded
}

/// The headers of a call, with as many bytes beside them as fit into a frame.
fn headers(path: &str) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        [&[0], &length(name.len())[..], name.as_bytes(), &length(value.len()), value.as_bytes()].concat()
    };
    // POST and http are in the table of HPACK, and so is the name of the path.
    let path = [&[0x83, 0x86, 0x04], &length(path.len())[..], path.as_bytes()].concat();
    [path, field("content-type", "application/grpc"), field("x-large", &"x".repeat(15_000))].concat()
}

fn calls(path: &str, count: u32) -> Vec<u8> {
    (0..count).flat_map(|number| frame(HEADERS, END_HEADERS, 2 * number + 1, &headers(path))).collect()
}

/// Waits until the server has seen what was sent.
fn seen(stream: &mut TcpStream) {
    stream.write_all(&frame(PING, 0, 0, b"12345678")).unwrap();
    let mut head = [0; 9];
    loop {
        stream.read_exact(&mut head).unwrap();
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; size as usize]).unwrap();
        if head[3] == PING && head[4] & ACK != 0 {
            return;
        }
    }
}

/// How much memory each stranger holds who sends these bytes.
async fn held_by_each(bytes: &[u8], complete: bool) -> Option<u64> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, TOKEN).unwrap();
    let most = (4 * STRANGERS).to_string();
    let flag = format!("--auth-token-file={}", path.display());
    let server =
        Server::start_at(NOWHERE, &["--max-connections", &most, "--stall-timeout-seconds=3600", &flag]);
    let regular = Wire::to(&server).await.showing(TOKEN);
    for _ in 0..100 {
        regular.metadata().await.unwrap();
    }
    let before = server.data_memory()?;
    let open: Vec<_> = tokio::task::block_in_place(|| {
        let open = (0..STRANGERS).map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(&[GREETING, bytes].concat()).unwrap();
            if complete {
                seen(&mut stream);
            }
            stream
        });
        open.collect()
    });
    for _ in 0..20 {
        regular.metadata().await.unwrap();
    }
    let after = server.data_memory()?;
    // One more takes the place of the oldest.
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
    Some(after.saturating_sub(before) / STRANGERS)
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_hold_little_memory_whatever_they_send() {
    const GET_METADATA: &str = "/c1.connector.v2.ConnectorService/GetMetadata";
    const HEALTH: &str = "/grpc.health.v1.Health/Check";
    let half_a_block = frame(HEADERS, 0, 1, &headers(HEALTH));
    let half_a_frame = frame(DATA, 0, 1, &[7; 16_000]);
    for (what, bytes, complete) in [
        ("nothing", vec![], true),
        ("health checks without a message", calls(HEALTH, 8), true),
        ("more health checks than they may", calls(HEALTH, 100), true),
        ("calls that need a token", calls(GET_METADATA, 100), true),
        ("headers without an end", half_a_block, false),
        ("a frame without an end", [calls(HEALTH, 1), half_a_frame[..15_000].to_vec()].concat(), false),
    ] {
        let Some(each) = held_by_each(&bytes, complete).await else { return };
        eprintln!("{what}: {} KiB for each connection", each / 1024);
        assert!(each <= EACH, "{what}: {each} bytes for each connection");
    }
}

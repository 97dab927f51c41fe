//! HTTP/2 headers that are small on the wire and would be large in memory, or never end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::unauthenticated::seen;
use crate::support::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GREETING, HEADERS, RST_STREAM, frame,
};
use crate::support::server::Server;
use crate::support::wire::{Wire, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
pub(super) const GET_METADATA: &[u8] = b"/c1.connector.v2.ConnectorService/GetMetadata";
const HEALTH: &[u8] = b"/grpc.health.v1.Health/Check";

const CANCEL: [u8; 4] = [0, 0, 0, 8];
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The headers of a call: POST, http, an authority and the path, in HPACK.
pub(super) fn call(path: &[u8]) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    [&[0x83, 0x86, 0x01, 1, b'a', 0x04, length], path, b"\x0f\x10\x10application/grpc"].concat()
}

fn connect(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_write_timeout(Some(MAX_WAIT)).unwrap();
    stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
    stream.write_all(GREETING).unwrap();
    stream
}

/// Sends the bytes of `make` for each number from 0 on until the server closes the connection. Reads the
/// answers in the meantime.
#[track_caller]
fn assert_ends(stream: &mut TcpStream, what: &str, make: impl Fn(u32) -> Vec<u8>) {
    let mut reading = stream.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut answers = [0; 16 * 1024];
        while reading.read(&mut answers).is_ok_and(|length| length > 0) {}
    });
    let begun = Instant::now();
    for number in 0.. {
        if let Err(error) = stream.write_all(&make(number)) {
            assert_ne!(
                error.kind(),
                ErrorKind::WouldBlock,
                "{what}: the server does not close the connection"
            );
            break;
        }
        assert!(begun.elapsed() < MAX_WAIT, "{what}: the server keeps reading them");
    }
    reader.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_never_end_close_the_connection_within_seconds() {
    const TOKEN: &str = "a-token-0123456789";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, TOKEN).unwrap();
    let flag = format!("--auth-token-file={}", path.display());
    // The server sends no ping that the caller would have to answer.
    let server = Server::start_at(NOWHERE, &["--keepalive-interval-seconds=3600", &flag]);
    let regular = Wire::to(&server).await.showing(TOKEN);
    regular.metadata().await.unwrap();
    let authorization = [b"\0\x0dauthorization\x19Bearer ", TOKEN.as_bytes()].concat();
    let whole = frame(HEADERS, END_HEADERS, 1, &[call(GET_METADATA), authorization].concat());
    let answered = [whole, frame(DATA, END_STREAM, 1, &[0; 5])].concat();
    let block = frame(HEADERS, 0, 3, &call(GET_METADATA));
    let half_a_frame = &block[..block.len() / 2];
    let continued = [&block[..], &frame(CONTINUATION, 0, 3, b"")].concat();
    let sent: [(&[u8], &[u8]); 4] =
        [(&[], half_a_frame), (&[], &continued), (&answered, half_a_frame), (&answered, &continued)];
    let peers: Vec<_> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let ended = sent.map(|(first, rest)| {
                let mut stream = connect(&server);
                scope.spawn(move || {
                    stream.write_all(first).unwrap();
                    seen(&mut stream).unwrap();
                    stream.write_all(rest).unwrap();
                    let end = stream.read_to_end(&mut Vec::new());
                    let is_open = end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
                    assert!(!is_open, "the connection stays open");
                    stream.local_addr().unwrap().to_string()
                })
            });
            ended.map(|ended| ended.join().unwrap()).into()
        })
    });
    for peer in peers {
        server.wait_for_log(|line| {
            line["msg"] == "closed the connection of a client that does not finish a frame or its headers"
                && line["peer.address"] == peer
        });
    }
    regular.metadata().await.unwrap();
    let calls = server.logs().into_iter().filter(|line| line["grpc.code"] == "Ok");
    let peers: std::collections::BTreeSet<_> = calls.map(|line| line["peer.address"].to_string()).collect();
    assert_eq!(peers.len(), 3, "the regular caller had to connect again");
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_headers_and_immediately_reset_calls_end_the_connection() {
    let server = Server::start_at(NOWHERE, &[]);
    let regular = Wire::to(&server).await;
    tokio::task::block_in_place(|| {
        let mut stream = connect(&server);
        stream.write_all(&frame(HEADERS, 0, 1, &call(GET_METADATA))).unwrap();
        assert_ends(&mut stream, "empty CONTINUATION", |_| frame(CONTINUATION, 0, 1, &[]));
        let mut stream = connect(&server);
        stream.write_all(&frame(HEADERS, 0, 1, &call(GET_METADATA))).unwrap();
        // Each frame adds one header.
        assert_ends(&mut stream, "short CONTINUATION", |_| frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y"));
        for path in [GET_METADATA, HEALTH] {
            assert_ends(&mut connect(&server), "calls that are reset", |number| {
                let stream = 2 * number + 1;
                let begin = frame(HEADERS, END_HEADERS, stream, &call(path));
                [begin, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
            });
        }
    });
    regular.metadata().await.unwrap();
    // The library logs a warning about it, and a caller can open any number of connections.
    let of_library = |line: &serde_json::Value| {
        line["level"] == "warn" && line["caller"].as_str().is_some_and(|file| file.starts_with("streams/"))
    };
    let logs = server.logs();
    assert!(!logs.iter().any(of_library), "{logs:?}");
}

/// A web page can make a browser send such requests, with the client certificate of the user.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_requests_that_are_not_grpc() {
    const METHODS: [&[u8]; 3] = [b"\x82", b"\x83", b"\x42\x07OPTIONS"];
    const TYPES: [&[u8]; 3] = [b"\x0f\x10\x10application/grpc", b"\x0f\x10\x0atext/plain", b""];
    let server = Server::start_at(NOWHERE, &[]);
    let path = [&[0x04, u8::try_from(GET_METADATA.len()).unwrap()], GET_METADATA].concat();
    let mut open = Vec::new();
    for method in METHODS {
        for content_type in TYPES {
            let headers = [method, b"\x86\x01\x01a", &path, content_type].concat();
            let mut stream = connect(&server);
            stream.write_all(&frame(HEADERS, END_HEADERS, 1, &headers)).unwrap();
            stream.write_all(&frame(0, 1, 1, &[0; 5])).unwrap();
            open.push(stream);
        }
    }
    let codes = eventually("nine lines", async || {
        let logs = server.logs().into_iter().filter(|line| line["grpc.method"] == "GetMetadata");
        let mut codes: Vec<_> = logs.map(|line| line["grpc.code"].as_str().unwrap().to_owned()).collect();
        codes.sort();
        (codes.len() == METHODS.len() * TYPES.len()).then_some(codes)
    })
    .await;
    assert!(codes[..8].iter().all(|code| code == "InvalidArgument") && codes[8] == "Ok", "{codes:?}");
}

/// One header of 4,000 bytes is added to the HPACK table, and each of 12,000 bytes refers to it.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_refer_to_each_other_use_bounded_memory() {
    const ADDED: u64 = 16 * 1024 * 1024;
    const CALLS: u32 = 20;
    let server = Server::start_at(NOWHERE, &[]);
    let regular = Wire::to(&server).await;
    for _ in 0..100 {
        regular.metadata().await.unwrap();
    }
    let Some(before) = server.data_memory() else { return };
    let long = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000]].concat();
    let bomb = [call(GET_METADATA), long, vec![0xbe; 12_000]].concat();
    let mut open = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&server);
        for number in 0..CALLS {
            // The stream may be closed already.
            let _ = stream.write_all(&frame(HEADERS, END_HEADERS, 2 * number + 1, &bomb));
        }
        open.push(stream);
    }
    // The memory is measured after each stream has been answered or closed.
    for stream in &mut open {
        stream.set_nonblocking(true).unwrap();
        eventually("an answer", async || match stream.read(&mut [0; 4096]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            _ => Some(()),
        })
        .await;
    }
    for _ in 0..20 {
        regular.metadata().await.unwrap();
    }
    let added = server.peak_data_memory().unwrap_or_default().saturating_sub(before);
    assert!(added < ADDED, "{added} bytes");
}

/// A short header in the HPACK table keeps the frame in which it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn headers_of_an_authenticated_caller_use_bounded_memory() {
    const EACH: u64 = 2 * 1024 * 1024;
    const CONNECTIONS: u64 = 4;
    /// More than fit into the table.
    const CALLS: u32 = 130;
    let server = Server::start_at(NOWHERE, &[]);
    let regular = Wire::to(&server).await;
    for _ in 0..100 {
        regular.metadata().await.unwrap();
    }
    let Some(before) = server.data_memory() else { return };
    // The first header is added to the table, the second one of 15,000 bytes is not.
    let header = |value: u8| [0x40, 1, b'x', 1, value, 0, 1, b'y', 0x7f, 0x99, 0x74];
    let frames = (0..CALLS).flat_map(|number| {
        let value = b' ' + u8::try_from(number % 64).unwrap();
        let headers = [call(GET_METADATA), header(value).to_vec(), vec![b'y'; 15_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &headers)
    });
    let frames: Vec<u8> = frames.collect();
    let open: Vec<TcpStream> = tokio::task::block_in_place(|| {
        let send = || {
            let mut stream = connect(&server);
            stream.write_all(&frames).unwrap();
            seen(&mut stream).unwrap();
            stream
        };
        (0..CONNECTIONS).map(|_| send()).collect()
    });
    for _ in 0..20 {
        regular.metadata().await.unwrap();
    }
    let each = server.data_memory().unwrap_or_default().saturating_sub(before) / CONNECTIONS;
    eprintln!("{} KiB for each connection", each / 1024);
    assert!((EACH / 4..EACH).contains(&each), "{each} bytes for each connection");
    drop(open);
}

//! Callers that send frames with little or no data at the highest rate.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::headers::{GET_METADATA, call};
use super::unauthenticated::seen;
use crate::support::raw::{GREETING, frame};
use crate::support::server::Server;
use crate::support::wire::Wire;

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
const GOAWAY: u8 = 7;
/// The longest time until the server closes the connection.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The types of the frames received before the server closed the connection.
fn flooded(server: &Server, first: &[u8], frame: &[u8], reads: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_write_timeout(Some(MAX_WAIT)).unwrap();
    stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
    stream.write_all(&[GREETING, first].concat()).unwrap();
    let reader = reads.then(|| {
        let mut stream = stream.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut types = Vec::new();
            let mut head = [0; 9];
            while stream.read_exact(&mut head).is_ok() {
                types.push(head[3]);
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                if stream.read_exact(&mut vec![0; length as usize]).is_err() {
                    break;
                }
            }
            types
        })
    });
    let (many, begun) = (frame.repeat(100), Instant::now());
    let end = loop {
        if let Err(error) = stream.write_all(&many) {
            break error.kind();
        }
        assert!(begun.elapsed() < MAX_WAIT, "the server keeps reading frames of type {}", frame[3]);
    };
    assert!(
        matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "the server does not close the connection: {end:?}"
    );
    reader.map(|reader| reader.join().unwrap()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_control_frames_ends_the_connection_with_goaway() {
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    tokio::task::block_in_place(|| {
        for frame in [
            frame(6, 0, 0, &[7; 8]),
            frame(6, 1, 0, &[7; 8]),
            frame(4, 0, 0, &[]),
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 9]),
            frame(8, 0, 0, &[0, 0, 0, 1]),
            frame(2, 0, 3, &[0, 0, 0, 0, 1]),
            frame(99, 0, 0, b"unknown"),
        ] {
            // A reset can overtake the GOAWAY, but does not always do so.
            let said = (0..10).any(|_| flooded(&server, &[], &frame, true).contains(&GOAWAY));
            assert!(said, "no GOAWAY for frames of type {}", frame[3]);
        }
        // This caller does not read the answers.
        flooded(&server, &[], &frame(6, 0, 0, &[7; 8]), false);
    });
    wire.metadata().await.unwrap();
    Wire::to(&server).await.metadata().await.unwrap();
    let said = |line: &serde_json::Value| {
        line["msg"].as_str().is_some_and(|text| text.contains("too many frames with little or no data"))
    };
    let line = server.wait_for_log(said);
    let peer: SocketAddr = line["peer.address"].as_str().unwrap().parse().unwrap();
    assert!(peer.ip().is_loopback(), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_short_data_frames_ends_the_connection_with_goaway() {
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    // The start of a message of 1 MiB.
    let begin = [frame(1, 4, 1, &call(GET_METADATA)), frame(0, 0, 1, &[0, 0, 15, 255, 255])].concat();
    // The last one has one byte of data and 254 bytes of padding.
    let padded = [&[254, 7][..], &[0; 254]].concat();
    tokio::task::block_in_place(|| {
        for frame in [frame(0, 0, 1, &[]), frame(0, 0, 1, &[7]), frame(0, 8, 1, &padded)] {
            // A reset can overtake the GOAWAY, but does not always do so.
            let said = (0..10).any(|_| flooded(&server, &begin, &frame, true).contains(&GOAWAY));
            assert!(said, "no GOAWAY for frames of {} bytes", frame.len());
        }
    });
    // The server has read all frames before it gets more, so they never wait in a queue.
    tokio::task::block_in_place(|| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(MAX_WAIT)).unwrap();
        stream.write_all(&[GREETING, &begin].concat()).unwrap();
        let many = frame(0, 0, 1, &[7]).repeat(500);
        let mut send = || stream.write_all(&many).and_then(|()| seen(&mut stream));
        assert!((0..100).any(|_| send().is_err()), "the server keeps reading frames of one byte");
    });
    server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.contains("frames with little or no data"))
    });
    wire.metadata().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_send_many_control_frames_with_its_calls() {
    let server = Server::start_at(NOWHERE, &[]);
    let wire = Wire::to(&server).await;
    // For each call, the client sends a HEADERS, a DATA and several WINDOW_UPDATE frames.
    for _ in 0..3_000 {
        wire.metadata().await.unwrap();
    }
    let logs = server.logs();
    let peers: std::collections::BTreeSet<_> =
        logs.iter().filter_map(|line| line["peer.address"].as_str()).collect();
    assert_eq!(peers.len(), 1, "the client had to connect again");
}

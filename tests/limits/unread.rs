//! Callers that leave a part of an answer unread.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tonic::Code;

use super::headers::{GET_METADATA, call};
use crate::support::raw::{DATA, END_HEADERS, END_STREAM, GREETING, HEADERS, SETTINGS, WINDOW_UPDATE, frame};
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, eventually};

const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";
/// The window of a stream without settings.
const DEFAULT_WINDOW: u32 = 65_535;

/// Makes a call on a new connection whose streams have this window.
fn ask(server: &Server, window: u32) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let setting = [&[0, 4][..], &window.to_be_bytes()].concat();
    let request = [
        GREETING,
        &frame(SETTINGS, 0, 0, &setting),
        &frame(HEADERS, END_HEADERS, 1, &call(GET_METADATA)),
        &frame(DATA, END_STREAM, 1, &[0; 5]),
    ];
    stream.write_all(&request.concat()).unwrap();
    stream
}

/// Reads the answer up to this number of bytes or to its end, and returns the number of bytes.
fn read(stream: &mut TcpStream, most: usize) -> usize {
    let mut read = 0;
    while read < most {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        stream.read_exact(&mut vec![0; length]).unwrap();
        match head[3] {
            DATA => read += length,
            HEADERS if head[4] & END_STREAM != 0 => break,
            _ => {}
        }
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_in_progress_until_the_last_byte_of_its_answer_is_read() {
    let server = Server::start_at(NOWHERE, &["--max-requests", "1", "--stall-timeout-seconds", "3600"]);
    let wire = Wire::to(&server).await;
    let length = tokio::task::block_in_place(|| read(&mut ask(&server, DEFAULT_WINDOW), usize::MAX));
    for unread in [length - 1, 1] {
        eventually("room for a call", async || wire.metadata().await.ok()).await;
        let window = length - unread;
        let mut stream = tokio::task::block_in_place(|| {
            let mut stream = ask(&server, u32::try_from(window).unwrap());
            assert_eq!(read(&mut stream, window), window);
            stream
        });
        for _ in 0..20 {
            assert_refused(wire.metadata().await, Code::Unavailable, &["1 calls", "--max-requests"]);
        }
        tokio::task::block_in_place(|| {
            stream.write_all(&frame(WINDOW_UPDATE, 0, 1, &DEFAULT_WINDOW.to_be_bytes())).unwrap();
            assert_eq!(read(&mut stream, usize::MAX), unread);
        });
        eventually("room for a call", async || wire.metadata().await.ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_one_byte_unread_is_disconnected() {
    let server = Server::start_at(NOWHERE, &["--stall-timeout-seconds", "1"]);
    tokio::task::block_in_place(|| {
        let length = read(&mut ask(&server, DEFAULT_WINDOW), usize::MAX);
        for window in [1, length - 1] {
            let mut stream = ask(&server, u32::try_from(window).unwrap());
            let end = stream.read_to_end(&mut Vec::new());
            assert!(
                end.as_ref().is_ok()
                    || end.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset),
                "{end:?}"
            );
        }
    });
    server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.contains("does not read its responses"))
    });
}

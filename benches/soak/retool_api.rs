//! A double of Retool's REST API whose answers have no end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
/// The start of each kind of answer, and what is then repeated.
const ANSWERS: [(&[u8], &[u8]); 4] = [
    (br#"{"success":true,"data":["#, br#"{"a":[]},"#),
    (br#"{"success":true,"message":""#, b"long "),
    (br#"{"success":true,"data":"#, b"["),
    (br#"{"success":true,"data":[{"email":"a@b.example","metadata":"#, br#"{"a":"#),
];
/// The bytes that are written at a time.
const PIECE: usize = 64 * 1024;

/// Listens on a free port, and returns the address.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        for number in 0_usize.. {
            let Ok((stream, _)) = listener.accept().await else { continue };
            tokio::spawn(answer(stream, number));
        }
    });
    address
}

/// Answers until the client disconnects. Of six answers, the fifth has endless headers, and the sixth arrives
/// byte by byte.
async fn answer(mut stream: TcpStream, number: usize) {
    // The request is short.
    let _ = stream.read(&mut [0; 4096]).await;
    match number % 6 {
        4 => write(&mut stream, b"HTTP/1.1 200 OK\r\n", b"x-header: value\r\n").await,
        5 => {
            let mut sent = stream.write_all(HEAD).await;
            while sent.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
                sent = stream.write_all(b" ").await;
            }
        }
        kind => {
            let (start, repeated) = ANSWERS[kind];
            write(&mut stream, &[HEAD, start].concat(), repeated).await;
        }
    }
}

async fn write(stream: &mut TcpStream, start: &[u8], repeated: &[u8]) {
    let piece = repeated.repeat(PIECE / repeated.len());
    let mut sent = stream.write_all(start).await;
    while sent.is_ok() {
        sent = stream.write_all(&piece).await;
    }
}

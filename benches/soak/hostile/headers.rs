//! Large headers.

use tokio::io::AsyncWriteExt;

use crate::hostile::{Attack, HOSTILE_TOKEN, Kind, Target, connect, discard};
use crate::raw::{CONTINUATION, END_HEADERS, END_STREAM, GREETING, HEADERS, call_headers, frame};

pub(super) const KINDS: [Kind; 4] = [
    Kind { name: "large headers without a token", callers: 2, attack: |target| large(target, None) },
    Kind {
        name: "large headers with a token",
        callers: 2,
        attack: |target| large(target, Some(HOSTILE_TOKEN)),
    },
    Kind { name: "headers without an end", callers: 2, attack: endless },
    Kind { name: "headers that the table of HPACK keeps", callers: 1, attack: kept },
];

/// How many calls one attack makes.
const CALLS: u32 = 20;
/// Fits into one frame and is below `--max-header-bytes`.
const LARGE: usize = 15_000;
/// Exceeds `--max-header-bytes`.
const TOO_LARGE: usize = 60_000;
/// The longest frame.
const FRAME: usize = 16 * 1024;
/// How many connections keep headers in memory.
const KEEPING: usize = 4;
/// More than fit into the table of HPACK.
const KEPT: u32 = 130;

const GET_METADATA: &str = "/c1.connector.v2.ConnectorService/GetMetadata";

/// The frames of a call with these headers and without a message.
fn call(stream: u32, headers: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let pieces: Vec<_> = headers.chunks(FRAME).collect();
    for (number, piece) in pieces.iter().enumerate() {
        let (kind, ends_stream) = if number == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let ends_headers = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
        frames.extend(frame(kind, ends_stream | ends_headers, stream, piece));
    }
    frames
}

/// Sends the bytes on a new connection, and reads until the server closes it.
async fn send(target: Target, bytes: &[u8]) {
    let Some(mut stream) = connect(target.grpc).await else { return };
    let (reading, mut writing) = stream.split();
    let write = async {
        let _ = writing.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => {}
        () = discard(reading) => {}
    }
}

fn large(target: Target, token: Option<&'static str>) -> Attack {
    Box::pin(async move {
        let authorization = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
        let mut bytes = GREETING.to_vec();
        for number in 0..CALLS {
            let length = if number % 2 == 0 { LARGE } else { TOO_LARGE };
            let others = [("authorization", authorization.as_str()), ("x-large", &"x".repeat(length))];
            bytes.extend(call(2 * number + 1, &call_headers(GET_METADATA, &others)));
        }
        send(target, &bytes).await;
    })
}

fn endless(target: Target) -> Attack {
    Box::pin(async move {
        let mut bytes = GREETING.to_vec();
        bytes.extend(frame(HEADERS, 0, 1, &call_headers(GET_METADATA, &[])));
        bytes.extend(frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y").repeat(10_000));
        send(target, &bytes).await;
    })
}

/// Each call adds a short header to the table of HPACK, which keeps the frame in which it was sent.
fn kept(target: Target) -> Attack {
    Box::pin(async move {
        let authorization = format!("Bearer {HOSTILE_TOKEN}");
        let others = [("authorization", authorization.as_str()), ("x-large", &"x".repeat(LARGE))];
        let headers = call_headers(GET_METADATA, &others);
        let mut bytes = GREETING.to_vec();
        for number in 0..KEPT {
            let value = b' ' + u8::try_from(number % 64).unwrap_or_default();
            let added = [0x40, 1, b'x', 1, value];
            bytes.extend(call(2 * number + 1, &[&added[..], &headers].concat()));
        }
        let open = (0..KEEPING).map(|_| send(target, &bytes));
        futures_util::future::join_all(open).await;
    })
}

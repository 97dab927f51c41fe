//! Callers that have a token and do not complete the bodies of their requests.

use std::future::pending;
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::sync::mpsc::Sender;

use crate::hostile::{Attack, Kind, Target, with_token};
use crate::raw::Raw;

pub(super) const KINDS: [Kind; 2] = [
    Kind { name: "incomplete request bodies", callers: 2, attack: incomplete },
    Kind { name: "request bodies sent one byte at a time", callers: 2, attack: byte_by_byte },
];

/// How many calls are made on one connection.
const CALLS: usize = 32;
/// How many of them send a byte every [`BYTE`]. More of them would exceed the number of frames that the server
/// allows.
const SLOW_CALLS: usize = 16;
const BYTE: Duration = Duration::from_millis(100);
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";
/// This announces a message of 1,000 bytes.
const START: &[u8] = &[0, 0, 0, 3, 232, 8];

/// Begins up to this many calls, and returns the senders of their bodies.
async fn begin(raw: &Raw, calls: usize) -> Vec<Sender<Bytes>> {
    let mut bodies = Vec::new();
    for _ in 0..calls {
        let (body, ending) = raw.slowly(GET_METADATA);
        tokio::spawn(ending);
        if body.send(Bytes::from_static(START)).await.is_err() {
            break;
        }
        bodies.push(body);
    }
    bodies
}

fn incomplete(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = with_token(target).await else { return };
        let _bodies = begin(&raw, CALLS).await;
        pending().await
    })
}

fn byte_by_byte(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = with_token(target).await else { return };
        let mut bodies = begin(&raw, SLOW_CALLS).await;
        while !bodies.is_empty() {
            tokio::time::sleep(BYTE).await;
            // A body that the server no longer reads is full or closed.
            bodies.retain(|body| body.try_send(Bytes::from_static(b"x")).is_ok());
        }
    })
}

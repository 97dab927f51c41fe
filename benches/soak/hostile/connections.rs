//! Callers without a valid token that open connections and make calls on them.

use std::future::pending;

use tokio::io::AsyncWriteExt;

use crate::hostile::{Attack, Kind, Target, connect, without_token};
use crate::raw::{END_HEADERS, GREETING, HEADERS, call_headers, frame, framed};

pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "silent connections", callers: 2, attack: |target| open(target, b"") },
    Kind { name: "idle connections", callers: 2, attack: |target| open(target, GREETING) },
    Kind { name: "connections with many calls without a token", callers: 2, attack: calls },
    Kind { name: "wrong tokens", callers: 2, attack: wrong_tokens },
    Kind { name: "health checks", callers: 2, attack: health_checks },
];

/// How many connections one attack opens.
const CONNECTIONS: usize = 100;
/// How many calls one attack makes on a connection.
const CALLS: u32 = 32;
const GET_METADATA: &str = "c1.connector.v2.ConnectorService/GetMetadata";
const HEALTH_CHECK: &str = "grpc.health.v1.Health/Check";

/// Opens connections, sends the same bytes on each, and keeps them open.
fn open(target: Target, bytes: &'static [u8]) -> Attack {
    Box::pin(async move {
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let Some(mut stream) = connect(target.grpc).await else { return };
            // The server may have closed it already.
            let _ = stream.write_all(bytes).await;
            open.push(stream);
        }
        pending().await
    })
}

/// Half of the calls are health checks, which need no token. None of them has a message.
fn calls(target: Target) -> Attack {
    Box::pin(async move {
        let mut bytes = GREETING.to_vec();
        for number in 0..CALLS {
            let path = [GET_METADATA, HEALTH_CHECK][number as usize % 2];
            let headers = call_headers(&format!("/{path}"), &[]);
            bytes.extend(frame(HEADERS, END_HEADERS, 2 * number + 1, &headers));
        }
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            let Some(mut stream) = connect(target.grpc).await else { return };
            let _ = stream.write_all(&bytes).await;
            open.push(stream);
        }
        pending().await
    })
}

fn wrong_tokens(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = without_token(target).await else { return };
        let raw = raw.with_token("hostile-but-not-accepted");
        for _ in 0..CALLS {
            if raw.send(GET_METADATA, &[], framed(&[])).await.is_err() {
                return;
            }
        }
    })
}

fn health_checks(target: Target) -> Attack {
    Box::pin(async move {
        let Some(raw) = without_token(target).await else { return };
        while raw.send(HEALTH_CHECK, &[], framed(&[])).await.is_ok() {}
    })
}

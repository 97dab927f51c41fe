//! Callers of the ports for probes and Prometheus.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hostile::{Attack, Kind, connect};

pub(super) const KINDS: [Kind; 8] = [
    Kind { name: "silent connections to the probe port", callers: 2, attack: |target| silent(target.probes) },
    Kind {
        name: "silent connections to the metrics port",
        callers: 2,
        attack: |target| silent(target.metrics),
    },
    Kind { name: "slow requests to the probe port", callers: 2, attack: |target| slow(target.probes) },
    Kind { name: "slow requests to the metrics port", callers: 2, attack: |target| slow(target.metrics) },
    Kind { name: "requests for /live", callers: 2, attack: |target| flood(target.probes, "/live") },
    Kind { name: "requests for /ready", callers: 2, attack: |target| flood(target.probes, "/ready") },
    Kind { name: "requests for /health", callers: 2, attack: |target| flood(target.probes, "/health") },
    Kind { name: "requests for /metrics", callers: 2, attack: |target| flood(target.metrics, "/metrics") },
];

/// How many connections one attack opens: more than the server keeps.
const CONNECTIONS: usize = 50;
/// How many requests one attack makes.
const REQUESTS: usize = 100;
/// How long a silent connection is kept after all others are open.
const PAUSE: Duration = Duration::from_millis(5);
const BYTE: Duration = Duration::from_millis(50);

/// Opens connections, and then replaces the oldest one again and again.
fn silent(port: SocketAddr) -> Attack {
    Box::pin(async move {
        let mut open = std::collections::VecDeque::new();
        while let Some(stream) = connect(port).await {
            open.push_back(stream);
            if open.len() > CONNECTIONS {
                open.pop_front();
                tokio::time::sleep(PAUSE).await;
            }
        }
    })
}

/// Sends the heads of requests byte by byte.
fn slow(port: SocketAddr) -> Attack {
    Box::pin(async move {
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS {
            open.extend(connect(port).await);
        }
        for byte in b"GET /live HTTP/1.1\r\nx-header: ".iter().chain([b'x'].iter().cycle()) {
            for stream in &mut open {
                // The server may have closed it already.
                let _ = stream.write_all(&[*byte]).await;
            }
            tokio::time::sleep(BYTE).await;
        }
    })
}

/// Makes requests one after the other, and reads every second answer.
fn flood(port: SocketAddr, path: &'static str) -> Attack {
    Box::pin(async move {
        let request = format!("GET {path} HTTP/1.1\r\nhost: server\r\n\r\n");
        for number in 0..REQUESTS {
            let Some(mut stream) = connect(port).await else { return };
            let sent = stream.write_all(request.as_bytes()).await;
            if sent.is_ok() && number % 2 == 0 {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        }
    })
}

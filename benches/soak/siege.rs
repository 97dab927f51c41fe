//! Fifteen clients list grants, first alone and then next to hostile callers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::postgres::{Database, Role};
use crate::support::server::Server;
use crate::{MIB, Met, hostile, list};

const CLIENTS: u32 = 15;
/// The flags of the chart.
const FLAGS: [&str; 2] = ["--max-requests", "64"];
/// How much slower the slowest hundredth of the calls may be than without hostile callers.
const SLOWDOWN: f64 = 5.0;
/// The most memory of the server.
const MEMORY: u64 = 128 * MIB;

/// Runs both halves, and returns the missed targets.
pub(crate) async fn siege(database: &Database, role: &Role, length: Duration) -> Vec<String> {
    let server = Server::start_quietly(&database.url_as(role), &FLAGS);
    let mut alone = honest(&server, length).await;
    let end = Instant::now() + length;
    let address: SocketAddr = server.address();
    let attacks: Vec<_> =
        hostile::kinds().map(|kind| tokio::spawn(hostile::attack(kind, address, end))).collect();
    let mut besieged = honest(&server, length).await;

    let (before, during) = (p99(&mut alone), p99(&mut besieged));
    println!("15 clients beside hostile callers, {} s", length.as_secs());
    println!("  calls: {} alone, {} besieged", alone.latencies.len(), besieged.latencies.len());
    println!("  p99, ms: {:.1} alone, {:.1} besieged", before * 1000.0, during * 1000.0);
    for attack in attacks {
        let (name, count) = attack.await.expect("the end of an attack");
        println!("  {name}: {count} attacks");
    }
    let peak = server.peak_memory().unwrap_or_default();
    println!("  highest RSS, MiB: {}", peak / MIB);

    let mut complaints = Vec::new();
    for failure in alone.failures.iter().chain(&besieged.failures) {
        complaints.push(format!("an honest call failed: {:?}: {}", failure.code, failure.message));
    }
    complaints.sort();
    complaints.dedup();
    if besieged.latencies.is_empty() || during > SLOWDOWN * before {
        complaints.push(format!("honest calls take more than {SLOWDOWN} times as long beside hostile ones"));
    }
    if peak > MEMORY {
        complaints.push(format!("the server took more than {} MiB", MEMORY / MIB));
    }
    complaints
}

async fn honest(server: &Server, length: Duration) -> Met {
    let end = Instant::now() + length;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(tokio::spawn(list(server.channel().await, number, end)));
    }
    let mut met = Met::default();
    for client in clients {
        let one = client.await.expect("a client's end");
        met.latencies.extend(one.latencies);
        met.failures.extend(one.failures);
    }
    met
}

/// The 99th percentile in seconds; 0 without a call.
fn p99(met: &mut Met) -> f64 {
    met.latencies.sort();
    let index = met.latencies.len().saturating_sub(1) * 99 / 100;
    met.latencies.get(index).map_or(0.0, Duration::as_secs_f64)
}

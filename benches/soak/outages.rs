//! Two hundred clients list grants for a while, then again while Postgres is restarted twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::Code;

use crate::MIB;
use crate::clients::{self, Calls, Failure};
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Role};
use crate::support::server::Server;

const CLIENTS: u32 = 200;
/// How long Postgres stays down each time.
const OUTAGE: Duration = Duration::from_secs(2);
/// Calls that start within this time after an outage may still fail because of it.
const AFTERMATH: Duration = Duration::from_millis(500);
/// How much the memory may grow from the middle of a run to its end, in MiB: fluctuation of the allocator.
const GROWTH: u64 = 16;

/// The start and end of each outage of Postgres.
type Outages = Vec<(Instant, Instant)>;

/// Runs without and with outages, and returns the missed targets.
pub(crate) async fn run(
    cluster: &Arc<Cluster>,
    database: &Database,
    role: &Role,
    length: Duration,
) -> Vec<String> {
    let server = Server::start_quietly(&database.url_as(role), &[]);
    let mut missed = measure("undisturbed", &server, length, async { Outages::new() }).await;
    let restarts = async {
        let mut outages = Outages::new();
        for _ in 0..2 {
            tokio::time::sleep(length / 4).await;
            let began = Instant::now();
            control(cluster, Cluster::stop).await;
            tokio::time::sleep(OUTAGE).await;
            control(cluster, Cluster::start).await;
            outages.push((began, Instant::now()));
        }
        outages
    };
    missed.extend(measure("Postgres restarted twice", &server, length, restarts).await);
    missed
}

async fn control(cluster: &Arc<Cluster>, action: fn(&Cluster)) {
    let cluster = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || action(&cluster)).await.expect("Postgres stops and starts");
}

async fn measure(
    name: &str,
    server: &Server,
    length: Duration,
    outages: impl Future<Output = Outages>,
) -> Vec<String> {
    let end = Instant::now() + length;
    // Everything is warm after a fifth of the time.
    let memory = async {
        let mut sizes = Vec::new();
        for share in [5, 2, 1] {
            tokio::time::sleep_until((end - length + length / share).into()).await;
            sizes.push(server.memory().expect("the status in /proc") / MIB);
        }
        sizes
    };
    let (mut calls, outages, memory) =
        tokio::join!(clients::run(server, CLIENTS, None, end), outages, memory);
    report(name, length, &mut calls, &memory, &outages)
}

/// Prints the results and returns the missed targets.
fn report(name: &str, length: Duration, calls: &mut Calls, memory: &[u64], outages: &Outages) -> Vec<String> {
    let (count, seconds) = (calls.latencies.len(), length.as_secs());
    println!("{name}: {CLIENTS} clients, {seconds} s, {count} calls, {} a second", count as u64 / seconds);
    let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| calls.percentile(share));
    println!("  latency, ms: p50 {p50:.1}, p95 {p95:.1}, p99 {p99:.1}, max {max:.1}");
    println!("  RSS, MiB: {} after a fifth, {} half-way, {} at the end", memory[0], memory[1], memory[2]);

    let mut missed = Vec::new();
    if count == 0 {
        missed.push(format!("{name}: no call succeeded"));
    }
    if memory[2] > memory[1] + GROWTH {
        missed.push(format!("{name}: memory grows"));
    }
    let during = |failure: &Failure| {
        let overlaps =
            |(from, to): &(Instant, Instant)| failure.ended >= *from && failure.began <= *to + AFTERMATH;
        failure.code == Code::Unavailable && outages.iter().any(overlaps)
    };
    let (expected, others): (Vec<_>, Vec<_>) = calls.failures.iter().partition(|failure| during(failure));
    for (from, to) in outages {
        println!("  Postgres was down for {:.1} s", (*to - *from).as_secs_f64());
    }
    println!("  failed calls: {} while Postgres was down, {} others", expected.len(), others.len());
    let mut kinds = BTreeMap::<String, usize>::new();
    for failure in others {
        *kinds.entry(format!("{:?}: {}", failure.code, failure.message)).or_default() += 1;
    }
    missed.extend(kinds.into_iter().map(|(kind, count)| format!("{name}: {count} times {kind}")));
    missed
}

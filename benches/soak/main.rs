//! Two hundred clients list grants for a while, then again while Postgres is restarted twice; then fifteen
//! clients list grants next to hostile callers. Run with `make soak`, see `README.md`. Exits with 1 if the
//! server misses a target.

// A benchmark has to print, and it cannot recover from errors.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile;
#[allow(dead_code)]
#[path = "../../tests/support/raw.rs"]
mod raw;
mod siege;
#[path = "../../tests/support/fixture/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baton_retool::proto::connector::grants_service_client::GrantsServiceClient;
use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource, ResourceId};
use clap::{Arg, ArgAction, Command, value_parser};
use tonic::Code;
use tonic::transport::Channel;

use support::cluster::Cluster;
use support::postgres::{Database, Sizes};
use support::server::Server;

const CLIENTS: u32 = 200;
const SIZES: Sizes = Sizes { users: 2_000, groups: 60, pages: 400, resources: 120 };
/// How long Postgres stays down each time.
const OUTAGE: Duration = Duration::from_secs(2);
/// Calls that start within this time after an outage may still fail because of it.
const AFTERMATH: Duration = Duration::from_millis(500);
/// How much the memory may grow from the middle of a run to its end: fluctuation of the allocator.
const GROWTH: u64 = 16 * MIB;
const MIB: u64 = 1024 * 1024;

/// The results of one client.
#[derive(Default)]
struct Met {
    latencies: Vec<Duration>,
    failures: Vec<Failure>,
}

/// A call that failed.
struct Failure {
    began: Instant,
    ended: Instant,
    code: Code,
    message: String,
}

/// The start and end of each outage of Postgres.
type Outages = Vec<(Instant, Instant)>;

fn main() -> ExitCode {
    // `cargo test --benches` also runs this.
    if cfg!(debug_assertions) {
        println!("only a release build is worth a soak: make soak");
        return ExitCode::SUCCESS;
    }
    let arguments = Command::new("soak")
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_parser(value_parser!(u64).range(6..))
                .default_value("60"),
        )
        // `cargo bench` adds this flag.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .get_matches();
    let seconds = arguments.get_one::<u64>("seconds").copied().unwrap_or(60);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let complaints = runtime.block_on(soak(Duration::from_secs(seconds)));
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all parts, and returns the missed targets.
async fn soak(length: Duration) -> Vec<String> {
    let cluster = Cluster::private();
    let database = Database::seeded_on(Arc::clone(&cluster), SIZES).await;
    let role = database.documented_role(&[]).await;
    // Postgres writes data late and is stopped without warning.
    database.execute("VACUUM ANALYZE").await;
    database.execute("CHECKPOINT").await;
    let server = Server::start_quietly(&database.url_as(&role), &[]);

    let mut complaints = half("undisturbed", &server, length, async { Outages::new() }).await;
    let restarts = async {
        let mut outages = Outages::new();
        for _ in 0..2 {
            tokio::time::sleep(length / 4).await;
            let began = Instant::now();
            order(&cluster, Cluster::stop).await;
            tokio::time::sleep(OUTAGE).await;
            order(&cluster, Cluster::start).await;
            outages.push((began, Instant::now()));
        }
        outages
    };
    complaints.extend(half("Postgres restarted twice", &server, length, restarts).await);
    drop(server);
    complaints.extend(siege::siege(&database, &role, length).await);
    complaints
}

async fn order(cluster: &Arc<Cluster>, order: fn(&Cluster)) {
    let cluster = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || order(&cluster)).await.expect("Postgres obeys");
}

async fn half(
    name: &str,
    server: &Server,
    length: Duration,
    trouble: impl Future<Output = Outages>,
) -> Vec<String> {
    let end = Instant::now() + length;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(tokio::spawn(list(server.channel().await, number, end)));
    }
    // Everything is warm after a fifth of the time.
    let memory = async {
        let mut sizes = Vec::new();
        for share in [5, 2] {
            tokio::time::sleep_until((end - length + length / share).into()).await;
            sizes.push(server.memory());
        }
        tokio::time::sleep_until(end.into()).await;
        sizes.push(server.memory());
        sizes
    };
    let (outages, memory) = tokio::join!(trouble, memory);
    let mut met = Met::default();
    for client in clients {
        let one = client.await.expect("a client's end");
        met.latencies.extend(one.latencies);
        met.failures.extend(one.failures);
    }
    report(name, length, &mut met, &memory, &outages)
}

/// Prints the results and returns the missed targets.
fn report(
    name: &str,
    length: Duration,
    met: &mut Met,
    memory: &[Option<u64>],
    outages: &Outages,
) -> Vec<String> {
    met.latencies.sort();
    let at = |share: f64| {
        let index = (met.latencies.len() as f64 * share) as usize;
        let latency = met.latencies.get(index.min(met.latencies.len().saturating_sub(1)));
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    let (count, seconds) = (met.latencies.len(), length.as_secs());
    println!("{name}: {CLIENTS} clients, {seconds} s, {count} calls, {} a second", count as u64 / seconds);
    println!(
        "  latency, ms: p50 {:.1}, p95 {:.1}, p99 {:.1}, max {:.1}",
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
    let memory: Vec<u64> = memory.iter().map(|size| size.unwrap_or_default() / MIB).collect();
    println!("  RSS, MiB: {} after a fifth, {} half-way, {} at the end", memory[0], memory[1], memory[2]);

    let mut complaints = Vec::new();
    if count == 0 {
        complaints.push(format!("{name}: no call succeeded"));
    }
    if memory[2] > memory[1] + GROWTH / MIB {
        complaints.push(format!("{name}: memory grows"));
    }
    let during = |failure: &Failure| {
        let overlaps =
            |(from, to): &(Instant, Instant)| failure.ended >= *from && failure.began <= *to + AFTERMATH;
        failure.code == Code::Unavailable && outages.iter().any(overlaps)
    };
    let (expected, others): (Vec<_>, Vec<_>) = met.failures.iter().partition(|failure| during(failure));
    for (from, to) in outages {
        println!("  Postgres was down for {:.1} s", (*to - *from).as_secs_f64());
    }
    println!("  failed calls: {} while Postgres was down, {} others", expected.len(), others.len());
    let mut kinds = BTreeMap::<String, usize>::new();
    for failure in others {
        *kinds.entry(format!("{:?}: {}", failure.code, failure.message)).or_default() += 1;
    }
    complaints.extend(kinds.into_iter().map(|(kind, count)| format!("{name}: {count} times {kind}")));
    complaints
}

/// Lists the grants of one resource after the other, all pages, until the end. A failed call is retried after
/// a short pause, as agents do.
async fn list(channel: Channel, number: u32, end: Instant) -> Met {
    let mut client = GrantsServiceClient::new(channel);
    let mut met = Met::default();
    for step in number.. {
        let on = match step % 3 {
            0 => resource("group", format!("g{}", step % SIZES.groups + 1)),
            1 => resource("page", format!("p{}", step % SIZES.pages + 1)),
            _ => resource("resource", format!("r{}", step % SIZES.resources + 1)),
        };
        let mut page_token = String::new();
        loop {
            let began = Instant::now();
            if began >= end {
                return met;
            }
            let request = GrantsServiceListGrantsRequest {
                resource: Some(on.clone()),
                page_token: page_token.clone(),
                ..Default::default()
            };
            match client.list_grants(request).await {
                Ok(answer) => {
                    met.latencies.push(began.elapsed());
                    page_token = answer.into_inner().next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
                Err(status) => {
                    let (code, message) = (status.code(), status.message().to_owned());
                    met.failures.push(Failure { began, ended: Instant::now(), code, message });
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    met
}

fn resource(kind: &str, id: String) -> Resource {
    let id_of =
        |kind: &str, resource| ResourceId { resource_type: kind.to_owned(), resource, ..Default::default() };
    Resource {
        id: Some(id_of(kind, id)),
        parent_resource_id: Some(id_of("org", "o1".to_owned())),
        ..Default::default()
    }
}

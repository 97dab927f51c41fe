//! Fifteen clients list grants, first alone and then beside hostile callers, with the settings of the chart.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::clients::{self, Calls, Failure};
use crate::hostile::{self, HOSTILE_TOKEN, ORDINARY_TOKEN, Target};
use crate::probes::{self, Probes};
use crate::support::postgres::{Database, Role};
use crate::support::server::Server;
use crate::{MIB, SIZES, chart, retool_api};

const CLIENTS: u32 = 15;
/// How many times as high the 99th percentile of the latency may be as without hostile callers.
const SLOWDOWN: f64 = 5.0;
/// The most memory of the server, in MiB.
const MEMORY: u64 = 128;

/// What was measured beside hostile callers.
struct Attacked {
    calls: Calls,
    /// When the hostile callers began.
    began: Instant,
    /// By path.
    probes: [(&'static str, Probes); 3],
    /// The name of each kind of hostile caller, and how often it attacked.
    attacks: Vec<(&'static str, usize)>,
    /// Log lines that were dropped while the reader of the log stalled, and calls that were answered with
    /// Internal; `None` if the metrics cannot be read.
    counts: Option<(u64, u64)>,
}

/// Runs without and with hostile callers, and returns the missed targets.
pub(crate) async fn run(database: &Database, role: &Role, length: Duration) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder for the tokens");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("{ORDINARY_TOKEN}\n{HOSTILE_TOKEN}\n")).expect("the file of the tokens");
    let mut flags = chart::flags();
    flags.extend([
        format!("--auth-token-file={}", tokens.display()),
        format!("--retool-api-base-url=http://{}", retool_api::start().await),
        "--retool-api-token=retool_01-of-the-double".to_owned(),
        "--health-check".to_owned(),
        "--health-check-port=0".to_owned(),
        "--metrics-listen=127.0.0.1:0".to_owned(),
    ]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let server = Server::start_quietly(&database.url_as(role), &flags);

    let mut alone = clients::run(&server, CLIENTS, Some(ORDINARY_TOKEN), Instant::now() + length).await;
    let attacked = attack(&server, length).await;
    let peak = server.peak_memory().expect("the status in /proc") / MIB;
    report(length, &mut alone, attacked, peak)
}

async fn attack(server: &Server, length: Duration) -> Attacked {
    let target = Target {
        grpc: server.address(),
        probes: address(server, "health endpoints listening"),
        metrics: address(server, "metrics listening"),
    };
    let (large, size) = clients::largest(server, Some(ORDINARY_TOKEN), SIZES).await;
    hostile::prepare(large, size);
    let began = Instant::now();
    let end = began + length;
    let attacks = hostile::start(target, end);
    let stall = async {
        tokio::time::sleep(length / 5).await;
        server.stall_log(true);
        tokio::time::sleep(length * 3 / 5).await;
        server.stall_log(false);
    };
    let (calls, live, ready, metrics, ()) = tokio::join!(
        clients::run(server, CLIENTS, Some(ORDINARY_TOKEN), end),
        probes::run(target.probes, "/live", end),
        probes::run(target.probes, "/ready", end),
        probes::run(target.metrics, "/metrics", end),
        stall,
    );
    let attacks = tokio::task::spawn_blocking(move || attacks.join().expect("the end of the attacks"));
    let attacks = attacks.await.expect("the end of the attacks");
    Attacked {
        calls,
        began,
        probes: [("/live", live), ("/ready", ready), ("/metrics", metrics)],
        attacks,
        counts: probes::counts(target.metrics).await,
    }
}

/// The address in the line with this message.
fn address(server: &Server, message: &str) -> SocketAddr {
    let line = server.wait_for_log(|line| line["msg"] == message);
    line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// Prints the results and returns the missed targets.
fn report(length: Duration, alone: &mut Calls, attacked: Attacked, peak: u64) -> Vec<String> {
    let Attacked { mut calls, began, probes, attacks, counts } = attacked;
    let (before, during) = (alone.percentile(0.99), calls.percentile(0.99));
    println!("{CLIENTS} clients beside hostile callers, {} s", length.as_secs());
    println!("  calls: {} alone, {} beside hostile callers", alone.latencies.len(), calls.latencies.len());
    println!("  failed: {} alone, {} beside hostile callers", alone.failures.len(), calls.failures.len());
    let after = |failure: &Failure| failure.began.saturating_duration_since(began).as_secs_f64();
    if let (Some(first), Some(last)) = (
        calls.failures.iter().map(after).min_by(f64::total_cmp),
        calls.failures.iter().map(after).max_by(f64::total_cmp),
    ) {
        println!("    the first failed after {first:.1} s, the last one after {last:.1} s");
    }
    println!(
        "  p99, ms: {before:.1} alone, {during:.1} beside hostile callers, {:.1} times",
        during / before
    );
    println!("  highest RSS, MiB: {peak}");
    let mut missed = Vec::new();
    for (path, probes) in probes {
        let failed: usize = probes.failures.values().sum();
        let slowest = probes.slowest.as_millis();
        println!("  {path}: {} answered, {failed} failed, slowest {slowest} ms", probes.answered);
        let failures = probes.failures.into_iter();
        missed.extend(failures.map(|(problem, count)| format!("{path} failed {count} times: {problem}")));
    }
    match counts {
        Some((lines, _)) => println!("  log lines dropped while the reader of the log stalled: {lines}"),
        None => missed.push("the metrics cannot be read after the attacks".to_owned()),
    }
    for (name, count) in attacks {
        println!("  {name}: {count} attacks");
        if count == 0 {
            missed.push(format!("{name}: no attack opened a connection"));
        }
    }

    let mut failures = BTreeMap::<String, usize>::new();
    for failure in alone.failures.iter().chain(&calls.failures) {
        *failures.entry(format!("{:?}: {}", failure.code, failure.message)).or_default() += 1;
    }
    let failures = failures.into_iter();
    missed.extend(failures.map(|(kind, count)| format!("an ordinary call failed {count} times: {kind}")));
    if calls.latencies.is_empty() || during > SLOWDOWN * before {
        missed.push(format!("p99 is {:.1} times as high beside hostile callers", during / before));
    }
    if peak > MEMORY {
        missed.push(format!("the server used {peak} MiB, more than {MEMORY} MiB"));
    }
    if counts.is_some_and(|(lines, _)| lines == 0) {
        missed.push("no log line was dropped, because the reader of the log stalled too briefly: use a larger --seconds".to_owned());
    }
    if let Some((_, internal @ 1..)) = counts {
        missed.push(format!("{internal} calls were answered with Internal"));
    }
    missed
}

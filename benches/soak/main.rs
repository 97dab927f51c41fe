//! Checks that the server stays available under load: while 200 clients list grants, while Postgres is
//! restarted twice, beside hostile callers, and while clients read no answers. Run with `make soak`, see
//! `README.md`. Exits with 1 if the server misses a target.

// A benchmark has to print, and it cannot recover from errors.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attack;
mod chart;
mod clients;
mod hostile;
mod outages;
mod probes;
#[allow(dead_code)]
#[path = "../../tests/support/raw.rs"]
mod raw;
mod retool_api;
#[path = "../../tests/support/fixture/mod.rs"]
mod support;
mod unread;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, value_parser};

use support::cluster::Cluster;
use support::postgres::{Database, Sizes};

const SIZES: Sizes = Sizes { users: 2_000, groups: 60, pages: 400, resources: 120 };
const MIB: u64 = 1024 * 1024;
/// Open files of the clients and the hostile callers.
const OPEN_FILES: u64 = 4096;
/// The parts, in this order.
const PARTS: [&str; 3] = ["outages", "hostile", "unread"];

fn main() -> ExitCode {
    // `cargo test --benches` also runs this.
    if cfg!(debug_assertions) {
        println!("only a release build is worth a soak: make soak");
        return ExitCode::SUCCESS;
    }
    if cfg!(not(target_os = "linux")) {
        eprintln!(
            "the soak needs Linux: it reads /proc, and its clients have several addresses of 127.0.0.0/8"
        );
        return ExitCode::FAILURE;
    }
    let arguments = Command::new("soak")
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_parser(value_parser!(u64).range(10..))
                .default_value("60"),
        )
        .arg(Arg::new("part").long("part").value_parser(PARTS).action(ArgAction::Append))
        // `cargo bench` adds this flag.
        .arg(Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true))
        .get_matches();
    let seconds = arguments.get_one::<u64>("seconds").copied().unwrap_or(60);
    let only: Vec<_> = arguments.get_many::<String>("part").unwrap_or_default().cloned().collect();
    rlimit::increase_nofile_limit(OPEN_FILES).expect("the limit on open files");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let missed = runtime.block_on(soak(Duration::from_secs(seconds), &only));
    for target in &missed {
        println!("FAILED: {target}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs these parts, or all, and returns the missed targets.
async fn soak(length: Duration, only: &[String]) -> Vec<String> {
    let cluster = Cluster::private();
    let database = Database::seeded_on(Arc::clone(&cluster), SIZES).await;
    let role = database.documented_role(&[]).await;
    // Postgres writes data late and is stopped without warning.
    database.execute("VACUUM ANALYZE").await;
    database.execute("CHECKPOINT").await;
    let mut missed = Vec::new();
    for part in PARTS.into_iter().filter(|part| only.is_empty() || only.iter().any(|name| name == part)) {
        missed.extend(match part {
            "outages" => outages::run(&cluster, &database, &role, length).await,
            "hostile" => attack::run(&database, &role, length).await,
            _ => unread::run(&cluster, length).await,
        });
    }
    missed
}

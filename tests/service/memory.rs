//! The memory use of syncs.
//!
//! `docs/service-mode.md` and the chart contain the figures of a release build: RETOOL_MEASURED names another
//! binary to measure.

use std::process::Command;
use std::time::Duration;

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};

use crate::support::c1::{C1, Finished};
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

/// The memory limit that the chart sets for service mode, in bytes.
const LIMIT: u64 = 1024 * 1024 * 1024;

/// The peak resident memory, in bytes, after three syncs in sequence and three in parallel.
async fn peak(sizes: Sizes) -> (u64, usize) {
    let (c1, database) = (C1::start().await, Database::seeded(sizes).await);
    let program = c1.program(&database.url());
    let measured = std::env::var_os("RETOOL_MEASURED").unwrap_or(program.get_program().to_owned());
    let mut command = Command::new(measured);
    command.current_dir(program.get_current_dir().unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("BATON_LOG_LEVEL", "info");
    let server = Server::run(command);
    let sync = || c1.give(TaskType::SyncFull(SyncFullTask::default()));
    for together in [1, 1, 1, 3] {
        let ids: Vec<String> = (0..together).map(|_| sync()).collect();
        for id in &ids {
            let ended = c1.finished_within(Duration::from_secs(600), id).await;
            assert!(matches!(ended, Finished::Success(_)), "{ended:?}");
        }
        let peak = server.peak_memory().unwrap_or_default();
        eprintln!("{sizes:?}: {} KiB after {together} at a time", peak / 1024);
    }
    (server.peak_memory().unwrap_or_default(), c1.uploads()[0].bytes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_parallel_syncs_fit_into_the_memory_limit_of_the_chart() {
    let (bytes, _) = peak(Sizes { users: 300, groups: 20, pages: 40, resources: 15 }).await;
    assert!(bytes < LIMIT / 2, "{} MiB", bytes / 1024 / 1024);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, which takes minutes"]
async fn a_large_organization_fits_into_the_memory_limit_of_the_chart() {
    let sizes = Sizes { users: 2000, groups: 60, pages: 400, resources: 120 };
    let (bytes, uploaded) = peak(sizes).await;
    eprintln!("{} MiB for an upload of {uploaded} bytes", bytes / 1024 / 1024);
    assert!(bytes < LIMIT, "{} MiB", bytes / 1024 / 1024);
}

//! Service mode: the real program between a stand-in of ConductorOne and a Postgres.

#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod manifests;
mod memory;
mod polling;
mod sdk;
mod soak;
mod start;
mod stopping;
mod sync;
mod tasks;
mod token;

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use baton_retool::proto::connectorapi::Task;
use baton_retool::proto::connectorapi::task::{ActionListSchemasTask, TaskType};
use serde_json::Value;

use crate::support::c1::C1;
use crate::support::postgres::Database;
use crate::support::server::Server;

/// A database that nobody reaches: for what needs none.
const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";

/// The program at work. Dropped from the program down.
struct Stage {
    server: Server,
    c1: C1,
    database: Database,
}

impl Stage {
    /// The small organization, served with these flags.
    async fn new(flags: &[&str]) -> Self {
        Self::planned(flags, C1::start().await).await
    }

    async fn planned(flags: &[&str], c1: C1) -> Self {
        let database = Database::small().await;
        let server = c1.serve(&database.url(), flags);
        Self { server, c1, database }
    }
}

/// A task that needs no database.
fn small() -> TaskType {
    TaskType::ActionListSchemas(ActionListSchemasTask::default())
}

/// The program's last words, how it ended and how long that took.
fn end(server: Server) -> (ExitStatus, String, Duration) {
    let begun = Instant::now();
    let (status, lines) = server.ended();
    let said =
        |line: &Value| line.as_str().filter(|text| text.starts_with("baton-retool: ")).map(str::to_owned);
    (status, lines.iter().rev().find_map(said).unwrap_or_default(), begun.elapsed())
}

/// A task of no kind that this program knows.
fn unknown(id: String) -> Task {
    Task { id, ..Default::default() }
}

//! Service mode: the real program between a double of ConductorOne and a Postgres.

mod debug_log;
#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod heartbeats;
mod manifests;
mod memory;
mod planted;
mod polling;
mod proxy;
mod sdk;
mod soak;
mod start;
mod stopping;
mod sync;
mod tasks;
mod token;
mod transport;
mod watched;

use std::process::ExitStatus;

use baton_retool::proto::connectorapi::Task;
use baton_retool::proto::connectorapi::task::{ActionListSchemasTask, TaskType};
use serde_json::{Value, json};

use crate::support::c1::C1;
use crate::support::postgres::Database;
use crate::support::server::Server;

/// The URL of an unreachable database, for tests that need none.
const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";

/// The running program with its dependencies. Fields drop in order, the program first.
struct Stage {
    server: Server,
    c1: C1,
    database: Database,
}

impl Stage {
    /// Serves the small organization with these flags.
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

/// The exit status and the full reason. The reason is in the last line of the log, or after it if the log leaves
/// out a part of it.
fn end(server: Server) -> (ExitStatus, String) {
    let (status, lines) = server.ended();
    let logged = lines.iter().rfind(|line| line["msg"] != "reason of the failure").unwrap_or(&Value::Null);
    assert_eq!((&logged["level"], &logged["msg"]), (&json!("error"), &json!("command failed")), "{lines:?}");
    let last = lines.last().unwrap_or(&Value::Null);
    assert_eq!(last["exit_code"].as_i64(), status.code().map(i64::from), "{last}");
    (status, last["error"].as_str().unwrap().to_owned())
}

/// A task of a kind that this program does not know.
fn unknown(id: String) -> Task {
    Task { id, ..Default::default() }
}

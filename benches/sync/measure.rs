//! One organization: its database, a sync by this program, and a sync by the SDK.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::peak_memory as peak_memory_of;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::{Server, program};

/// A sync of this duration in seconds does not need to be repeated.
const LONG: f64 = 20.0;

/// The storage engine that the SDK uses for new files. The other engine, `sqlite`, is many times slower.
const ENGINE: &str = "pebble";

/// How often the memory of the SDK's agent is sampled.
const TICK: Duration = Duration::from_millis(20);

/// An organization to sync, and its targets.
pub(crate) struct Organization {
    pub(crate) name: &'static str,
    pub(crate) sizes: Sizes,
    /// The target in seconds, if it does not depend on the SDK's agent.
    pub(crate) most_seconds: Option<f64>,
    /// How many times faster than the SDK's agent a sync should be.
    pub(crate) times_faster: Option<f64>,
}

/// The cost of syncing an organization.
pub(crate) struct Measured {
    pub(crate) organization: Organization,
    pub(crate) ours: Ours,
    /// The SDK's agent; `None` unless requested.
    pub(crate) theirs: Option<Theirs>,
}

/// One run of this program.
pub(crate) struct Ours {
    /// From exec to exit, in seconds.
    pub(crate) wall: f64,
    /// The report that the program prints at the end.
    pub(crate) report: Value,
}

/// One run of the SDK's agent, which reads from this program's server.
pub(crate) struct Theirs {
    /// From exec to exit, in seconds.
    pub(crate) wall: f64,
    /// In bytes; `None` if the platform does not report it.
    pub(crate) peak_memory: Option<u64>,
    /// In bytes.
    pub(crate) file: u64,
}

/// Seeds the organization on the throwaway server and syncs it with the documented role.
pub(crate) async fn measure(organization: Organization, syncs: usize, beside_sdk: bool) -> Measured {
    let database = Database::seeded(organization.sizes).await;
    // In a database in use, autovacuum would already have done this.
    database.execute("VACUUM ANALYZE").await;
    let role = database.documented_role(&[]).await;
    let folder = tempfile::tempdir().expect("a folder for the files");

    let mut runs = vec![ours(&database, &role, folder.path())];
    while runs.len() < syncs && runs.iter().map(|run| run.wall).sum::<f64>() < LONG {
        runs.push(ours(&database, &role, folder.path()));
    }
    runs.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    let median = runs.swap_remove(runs.len() / 2);
    let theirs = beside_sdk.then(|| {
        let server = Server::start_quietly(&database.url_as(&role), &[]);
        theirs(&server, folder.path())
    });
    Measured { organization, ours: median, theirs }
}

fn ours(database: &Database, role: &Role, folder: &Path) -> Ours {
    let file = folder.join("ours.c1z");
    // Each run writes a new file, as in the SDK.
    let _ = std::fs::remove_file(&file);
    let started = Instant::now();
    let output = program()
        .args(["sync", "--output", "json", "--log-level", "warn", "-f"])
        .arg(&file)
        .env("BATON_CONNECTION_STRING", database.url_as(role))
        .output()
        .expect("the program starts");
    let wall = started.elapsed().as_secs_f64();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ours { wall, report: serde_json::from_slice(&output.stdout).expect("a report") }
}

fn theirs(server: &Server, folder: &Path) -> Theirs {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sdk-tool");
    let built = Command::new(script)
        .args(["agent", "--optimized"])
        .stderr(Stdio::inherit())
        .output()
        .expect("a shell");
    assert!(built.status.success(), "the SDK's agent was not built");
    let agent = String::from_utf8(built.stdout).expect("a path");

    let file = folder.join("theirs.c1z");
    let started = Instant::now();
    let mut running = Command::new(agent.trim_end())
        .args(["-address", &server.address().to_string(), "-engine", ENGINE, "-file"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the agent starts");
    let mut peak_memory = None;
    let status = loop {
        if let Some(status) = running.try_wait().expect("the agent is our child") {
            break status;
        }
        peak_memory = peak_memory_of(running.id()).or(peak_memory);
        std::thread::sleep(TICK);
    };
    let wall = started.elapsed().as_secs_f64();
    assert!(status.success(), "the SDK's agent failed");
    Theirs { wall, peak_memory, file: std::fs::metadata(&file).expect("the file").len() }
}

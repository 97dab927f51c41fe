//! The whole command, killed at arbitrary times.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use baton_retool::agent::c1z::{DecodeLimits, GrantFilter, Reader};

use crate::support::postgres::{Database, Sizes};
use crate::support::server::program;

const ROUNDS: u32 = 20;

fn sync(database: &Database, file: &Path, temporary: &Path) -> Command {
    let mut command = program();
    command
        .args(["sync", "--log-level", "warn", "-f"])
        .arg(file)
        .env("BATON_CONNECTION_STRING", database.url())
        .env("BATON_TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// The ids of the finished syncs in a file, and the number of grants of the last one.
fn finished(file: &Path) -> (Vec<String>, usize) {
    let reader = Reader::open(file, None, DecodeLimits::default()).unwrap();
    let runs = reader.runs().unwrap();
    assert!(runs.iter().all(|run| run.ended_at.is_some()), "{runs:?}");
    let grants = reader.grants(&GrantFilter::default(), None, usize::MAX).unwrap().rows;
    (runs.into_iter().map(|run| run.sync_id).collect(), grants.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sync_leaves_a_complete_file_and_the_next_succeeds() {
    let database = Database::seeded(Sizes { users: 20, groups: 4, pages: 8, resources: 3 }).await;
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let file = folder.path().join("sync.c1z");
    let begun = Instant::now();
    assert!(sync(&database, &file, &temporary).status().unwrap().success());
    let whole = begun.elapsed();
    let (_, grants) = finished(&file);
    assert!(grants > 0);

    for round in 0..ROUNDS {
        let (before, _) = finished(&file);
        let mut running = sync(&database, &file, &temporary).spawn().unwrap();
        // The times are spread over the duration of a sync. The duration depends on the machine, and any time
        // is valid.
        let moment = Instant::now() + whole * round / ROUNDS;
        while Instant::now() < moment {
            std::thread::yield_now();
        }
        running.kill().unwrap();
        running.wait().unwrap();
        let (after, count) = finished(&file);
        assert_eq!(count, grants, "killed in round {round}");
        assert!(after == before || after.iter().filter(|sync| !before.contains(sync)).count() == 1);

        assert!(sync(&database, &file, &temporary).status().unwrap().success(), "after round {round}");
        assert_eq!(finished(&file).1, grants);
        // The files of the killed process are removed.
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "after round {round}");
    }
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

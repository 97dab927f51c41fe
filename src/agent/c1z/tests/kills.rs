//! Runs that are killed at arbitrary times.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::c1z::SyncKind;
use crate::agent::c1z::tests::support::{
    Organization, Outcome, TOKEN, database, integrity, number, open, rows,
};

/// The environment variable with the path of the file for [`writes_until_killed`].
const FILE: &str = "C1Z_TESTS_FILE";

/// Writes the file repeatedly and reports its progress on standard output. Runs only as a child of the test
/// below.
#[test]
#[ignore = "runs until it is killed; `a_killed_run_leaves_a_whole_file` starts it"]
fn writes_until_killed() -> Outcome {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return Ok(()) };
    let made = Organization::wide(150, 5, 12);
    let mut out = std::io::stdout();
    loop {
        let mut store = open(&path)?;
        writeln!(out, "step")?;
        store.start(SyncKind::Full)?;
        made.put(&mut store)?;
        store.checkpoint(TOKEN)?;
        writeln!(out, "step")?;
        store.expand(&mut |_, _| ControlFlow::Continue(()))?;
        store.finish(TOKEN)?;
        writeln!(out, "step")?;
        store.close()?;
    }
}

#[test]
fn a_killed_run_leaves_a_whole_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sync.c1z");
    let made = Organization::wide(150, 5, 12);
    let grants = i64::try_from(made.sync(&path)?.grants)?;
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "agent::c1z::tests::kills::writes_until_killed", "--ignored", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut steps = lines.map_while(Result::ok).filter(|line| line.ends_with("step"));
        for _ in 0..=round % 7 {
            steps.next().ok_or("the process exited before it was killed")?;
        }
        // Kill at a point within the next step; the points are spread over the duration of a step.
        let moment = Instant::now() + Duration::from_micros(round * 7919 % 100_000);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        child.kill()?;
        child.wait()?;

        let file = database(&path)?;
        assert_eq!(integrity(&file)?, ["ok"], "round {round}");
        let finished = rows(&file, "SELECT sync_id FROM v1_sync_runs WHERE ended_at IS NOT NULL")?;
        assert!((1..=2).contains(&finished.len()), "{finished:?}");
        assert_eq!(number(&file, "SELECT count(*) FROM v1_grants")?, grants * finished.len() as i64);
    }
    // The next run succeeds and leaves no other files.
    made.sync(&path)?;
    drop(database(&path)?);
    fs::remove_file(path.with_extension("unpacked.db"))?;
    let names: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["sync.c1z"]);
    Ok(())
}

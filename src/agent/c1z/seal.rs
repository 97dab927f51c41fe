//! Builds the database of the new file from the kept syncs of the old file and this sync.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::agent::c1z::container::Target;
use crate::agent::c1z::database::{CURRENT, OLD, attach, failed, tune};
use crate::agent::c1z::expand::Expansion;
use crate::agent::c1z::image::{Grants, Image, Sources};
use crate::agent::c1z::options::StoreOptions;
use crate::agent::c1z::prune::{self, Candidate};
use crate::agent::c1z::stats::{self, GrantCounts};
use crate::agent::c1z::workspace::Workspace;
use crate::agent::c1z::{Error, clock, schema};

/// The result of writing a file.
pub(super) struct Sealed {
    /// The size of the file in bytes.
    pub(super) bytes: u64,
    /// The number of grants of this sync in the file.
    pub(super) grants: u64,
}

/// Writes the file. All rows are written again, so that nothing is deleted and no page is free. The `replaced` syncs
/// of the old file are left out.
pub(super) fn seal(
    target: &Target,
    workspace: &Workspace,
    options: &StoreOptions,
    sync_id: &str,
    replaced: &[Option<String>],
    expansion: Option<Expansion>,
) -> Result<Sealed, Error> {
    let path = workspace.file("sealed.db");
    let copied = copy(&path, workspace, options, replaced).map_err(failed("write", workspace))?;
    let sources = Sources {
        old: workspace.file(OLD),
        kept: copied.kept,
        current: workspace.file(CURRENT),
        sync_id: sync_id.to_owned(),
        now: copied.now,
        expansion,
    };
    let grants = Grants::read(&sources, workspace)?;
    let counts = grants.counts();
    if copied.finished {
        write_stats(&path, sync_id, &counts).map_err(failed("write", workspace))?;
    }
    let ranks = grants.ranks();
    let image = Image::complete(&path, &grants, &ranks)?;
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
    let bytes = target.replace(image.size(), threads, |put| image.write(threads, put))?;
    Ok(Sealed { bytes, grants: counts.values().sum() })
}

struct Copied {
    /// The syncs of the old file that are kept.
    kept: Vec<String>,
    /// Whether this sync is finished.
    finished: bool,
    now: String,
}

/// Creates the database with all rows except grants.
fn copy(
    path: &Path,
    workspace: &Workspace,
    options: &StoreOptions,
    replaced: &[Option<String>],
) -> rusqlite::Result<Copied> {
    let database = Connection::open(path)?;
    tune(&database)?;
    schema::create_tables(&database)?;
    attach(&database, &workspace.file(OLD), "old")?;
    attach(&database, &workspace.file(CURRENT), "current")?;
    let mut syncs = candidates(&database, "old")?;
    syncs.retain(|sync| !replaced.iter().flatten().any(|id| *id == sync.id));
    let current = candidates(&database, "current")?;
    let finished = current.iter().any(|sync| sync.ended_at.is_some());
    if finished && !options.skip_cleanup {
        let all: Vec<Candidate> = syncs.iter().chain(&current).cloned().collect();
        let dropped = prune::dropped(&all, options.keep_syncs);
        syncs.retain(|sync| !dropped.contains(&sync.id));
    }
    let kept: Vec<String> = syncs.into_iter().map(|sync| sync.id).collect();

    let transaction = database.unchecked_transaction()?;
    database.execute_batch("CREATE TEMP TABLE kept (sync_id text primary key)")?;
    for id in &kept {
        database.execute("INSERT OR IGNORE INTO kept VALUES (?1)", [id])?;
    }
    for (table, columns) in schema::tables().filter(|(table, _)| *table != schema::GRANTS) {
        let columns = columns.join(", ");
        database.execute_batch(&format!(
            "INSERT INTO main.{table} ({columns})
                 SELECT {columns} FROM old.{table} WHERE sync_id IN (SELECT sync_id FROM kept) ORDER BY id;
             INSERT INTO main.{table} ({columns}) SELECT {columns} FROM current.{table} ORDER BY id;"
        ))?;
    }
    schema::create_indexes(&database)?;
    transaction.commit()?;
    let now = clock::now(&database)?;
    Ok(Copied { kept, finished, now })
}

fn write_stats(path: &Path, sync_id: &str, grants: &GrantCounts) -> rusqlite::Result<()> {
    let database = Connection::open(path)?;
    tune(&database)?;
    let kind: String =
        database.query_row("SELECT sync_type FROM v1_sync_runs WHERE sync_id = ?1", [sync_id], |row| {
            row.get(0)
        })?;
    let stats = stats::stats(&database, sync_id, &kind, grants)?;
    database.execute("UPDATE v1_sync_runs SET stats = ?2 WHERE sync_id = ?1", params![sync_id, stats])?;
    Ok(())
}

fn candidates(database: &Connection, schema: &str) -> rusqlite::Result<Vec<Candidate>> {
    database
        .prepare(&format!(
            "SELECT sync_id, sync_type, started_at, ended_at, linked_sync_id FROM {schema}.v1_sync_runs"
        ))?
        .query_map([], |row| {
            Ok(Candidate {
                id: row.get(0)?,
                kind: row.get(1)?,
                started_at: row.get(2)?,
                ended_at: row.get(3)?,
                partner: row.get(4)?,
            })
        })?
        .collect()
}

//! Syncs in the file: start, resume, checkpoint and finish.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use svix_ksuid::{Ksuid, KsuidLike as _};

use crate::agent::c1z::{clock, schema};

/// An older unfinished sync is ignored, and a new sync is started.
const RESUMED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The scope of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// Everything.
    Full,
    /// Resource types and resources only.
    ResourcesOnly,
    /// Named resources with their children, entitlements and grants.
    Partial,
}

impl SyncKind {
    /// The name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ResourcesOnly => "resources_only",
            Self::Partial => "partial",
        }
    }
}

/// A running sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Its id, which connectors receive as `active_sync_id`. A KSUID, unless another program began the sync
    /// and chose another form.
    pub sync_id: String,
    /// The state of the last checkpoint; empty for a new sync, and for one that must start over.
    pub token: String,
    /// When the sync began, in the format of the file.
    pub started_at: String,
    /// Whether an earlier run began the sync, so that rows may exist.
    pub resumed: bool,
}

/// A running sync, and the unfinished one that it replaces.
pub(super) struct Begun {
    pub(super) started: Started,
    /// The id of the unfinished sync whose state was rejected.
    pub(super) rejected: Option<String>,
}

/// Starts a sync in `main`, or moves an unfinished one of the same kind from `old` if `resumes` accepts the state
/// of its last checkpoint.
pub(super) fn start(
    database: &Connection,
    kind: SyncKind,
    resumes: &dyn Fn(&str) -> bool,
) -> rusqlite::Result<Begun> {
    let mut rejected = None;
    if kind != SyncKind::Partial
        && let Some(started) = unfinished(database, kind)?
    {
        if resumes(&started.token) {
            take_over(database, &started.sync_id)?;
            return Ok(Begun { started, rejected });
        }
        rejected = Some(started.sync_id);
    }
    let parent = match kind {
        SyncKind::Partial => latest_full(database)?.unwrap_or_default(),
        SyncKind::Full | SyncKind::ResourcesOnly => String::new(),
    };
    let sync_id = Ksuid::new(None::<time::OffsetDateTime>, None).to_string();
    let started_at = clock::now(database)?;
    database.execute(
        "INSERT INTO main.v1_sync_runs
             (sync_id, started_at, sync_token, sync_type, parent_sync_id, grants_backfilled)
         VALUES (?1, ?2, '', ?3, ?4, 1)",
        params![sync_id, started_at, kind.as_str(), parent],
    )?;
    Ok(Begun { started: Started { sync_id, token: String::new(), started_at, resumed: false }, rejected })
}

/// Writes the state from which the sync can be resumed.
pub(super) fn checkpoint(database: &Connection, token: &str) -> rusqlite::Result<()> {
    database.prepare_cached("UPDATE main.v1_sync_runs SET sync_token = ?1")?.execute([token])?;
    Ok(())
}

/// Marks the sync as one that reached its expansion step.
pub(super) fn mark_expanded(database: &Connection) -> rusqlite::Result<()> {
    database.execute("UPDATE main.v1_sync_runs SET supports_diff = 1", [])?;
    Ok(())
}

/// Marks the sync as complete.
pub(super) fn finish(database: &Connection, token: &str) -> rusqlite::Result<()> {
    database.execute(
        "UPDATE main.v1_sync_runs SET sync_token = ?1, ended_at = coalesce(ended_at, ?2)",
        params![token, clock::now(database)?],
    )?;
    Ok(())
}

fn unfinished(database: &Connection, kind: SyncKind) -> rusqlite::Result<Option<Started>> {
    database
        .query_row(
            "SELECT sync_id, sync_token, started_at FROM old.v1_sync_runs
             WHERE ended_at IS NULL AND sync_type = ?1 AND started_at >= ?2
             ORDER BY started_at DESC, sync_id DESC LIMIT 1",
            params![kind.as_str(), clock::ago(database, RESUMED_FOR)?],
            |row| {
                Ok(Started {
                    sync_id: row.get(0)?,
                    token: row.get(1)?,
                    started_at: row.get(2)?,
                    resumed: true,
                })
            },
        )
        .optional()
}

fn latest_full(database: &Connection) -> rusqlite::Result<Option<String>> {
    database
        .query_row(
            "SELECT sync_id FROM old.v1_sync_runs WHERE ended_at IS NOT NULL AND sync_type = 'full'
             ORDER BY ended_at DESC, sync_id DESC LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()
}

/// Copies a sync's rows from `old` to `main`, in order.
fn take_over(database: &Connection, sync_id: &str) -> rusqlite::Result<()> {
    let transaction = database.unchecked_transaction()?;
    for (table, columns) in schema::tables() {
        let columns = columns.join(", ");
        transaction.execute(
            &format!(
                "INSERT INTO main.{table} ({columns})
                 SELECT {columns} FROM old.{table} WHERE sync_id = ?1 ORDER BY id"
            ),
            [sync_id],
        )?;
    }
    transaction.commit()
}

//! The private databases of a workspace.

use std::path::Path;

use rusqlite::Connection;

use crate::agent::c1z::workspace::Workspace;
use crate::agent::c1z::{Error, schema};

/// The database of the running sync in the workspace.
pub(super) const CURRENT: &str = "current.db";
/// The database of the old file.
pub(super) const OLD: &str = "old.db";

/// Adds the workspace to an error of one of its databases.
pub(super) fn failed(
    action: &'static str,
    workspace: &Workspace,
) -> impl FnOnce(rusqlite::Error) -> Error + use<> {
    let folder = workspace.path().to_owned();
    move |source| Error::Database { action, folder, source }
}

/// Upgrades a file's database: adds tables and columns that its writer did not know.
pub(super) fn adopt(database: &Path, file: &Path) -> Result<(), Error> {
    let adopted = || -> rusqlite::Result<()> {
        let database = Connection::open(database)?;
        tune(&database)?;
        schema::create_tables(&database)?;
        schema::move_expansions(&database)
    };
    adopted().map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::SystemIoFailure) => {
            let folder = database.parent().unwrap_or(database).to_owned();
            Error::Database { action: "open", folder, source: error }
        }
        _ => Error::damaged(file, error.to_string()),
    })
}

/// Settings of a private database: it need not survive a crash, and the content of its file is not trusted.
pub(super) fn tune(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "PRAGMA journal_mode = MEMORY;
         PRAGMA synchronous = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;
         PRAGMA cache_size = -16384;",
    )
}

/// Attaches another database under a name.
pub(super) fn attach(database: &Connection, path: &Path, name: &str) -> rusqlite::Result<()> {
    let path = path.to_string_lossy();
    database.execute(&format!("ATTACH DATABASE ?1 AS {name}"), [path.as_ref()])?;
    database.execute_batch(&format!("PRAGMA {name}.journal_mode = MEMORY; PRAGMA {name}.synchronous = OFF;"))
}

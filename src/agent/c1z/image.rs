//! Writing the grants of a new file.
//!
//! A large organization has millions of grants, and seven indexes over them: more than nine tenths of the
//! file. Inserting them row by row and letting the database sort each index takes several times as long as
//! everything else in a sync together (`benches/README.md` has figures), and none of it is needed, because the
//! new file is written once, in order, and everything about it is known.
//! So the database makes the file with everything else in it and the grants' table and indexes empty; then
//! their trees are written from the bottom up ([`tree`]) into the pages after it, as the published format of
//! SQLite 3 files has them ([`record`]), with only their roots where the database has put them. Tests let
//! the database check the result.

mod error;
mod keys;
mod pages;
mod record;
mod sorted;
mod sources;
mod table;
mod tree;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::agent::c1z::Error;
use crate::agent::c1z::database::failed;
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::Keys;
use crate::agent::c1z::image::pages::Pages;
use crate::agent::c1z::image::sorted::IndexKind;
use crate::agent::c1z::image::table::Table;
use crate::agent::c1z::schema;
use crate::agent::c1z::stats::GrantCounts;
use crate::agent::c1z::workspace::Workspace;

pub(super) use self::sources::Sources;

/// Fills the empty grants table of a database that nobody has open. Answers how many grants of this sync
/// there are, by the types of the resources that they are on.
pub(super) fn write_grants(
    database: &Path,
    workspace: &Workspace,
    sources: Sources<'_>,
) -> Result<GrantCounts, Error> {
    let layout = Layout::read(database).map_err(failed("read", workspace))?;
    let file =
        OpenOptions::new().read(true).write(true).open(database).map_err(Error::io("write", database))?;
    let pages = Pages::new(&file, layout.pages);
    let failed_write = |error: WriteError| match error {
        WriteError::Io(source) => Error::io("write", database)(source),
        WriteError::Read(source) => failed("read", workspace)(source),
        WriteError::TooManyPages => Error::TooManyPages,
        WriteError::SameId(id) => Error::GrantIds { id },
        WriteError::Row(row, source) => Error::Row { table: "v1_grants", row, source },
    };
    let (table, keys) = Table::begin(&pages, layout.table, sources).map_err(failed_write)?;
    write_rest(&pages, table, &layout.indexes, &keys).map_err(failed_write)?;
    pages.finish().map_err(Error::io("write", database))?;
    Ok(keys.counts())
}

/// Where the database has put the roots, and its number of pages.
struct Layout {
    pages: u32,
    table: u32,
    indexes: Vec<(IndexKind, u32)>,
}

impl Layout {
    fn read(path: &Path) -> rusqlite::Result<Self> {
        let database = Connection::open(path)?;
        let root = |name: &str| {
            database.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
        };
        let pages = database.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let indexes = IndexKind::ALL
            .iter()
            .map(|kind| Ok((*kind, root(kind.name())?)))
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { pages, table: root(schema::GRANTS)?, indexes })
    }
}

/// Writes the rest of the table and the indexes, on two threads: one begins with the table, the other with the
/// indexes, and both go on with the indexes that are left.
fn write_rest(
    pages: &Pages<'_>,
    table: Table<'_>,
    indexes: &[(IndexKind, u32)],
    keys: &Keys,
) -> Result<(), WriteError> {
    let ranks = keys.ranks();
    let pending: Mutex<VecDeque<_>> = Mutex::new(indexes.iter().copied().collect());
    let write_indexes = || loop {
        let next = pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((kind, root)) = next else { return Ok(()) };
        sorted::write(pages, kind, root, keys, &ranks)?;
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(write_indexes);
        let first = table.finish().and_then(|()| write_indexes());
        match second.join() {
            Ok(second) => first.and(second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

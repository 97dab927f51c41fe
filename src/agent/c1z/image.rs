//! Writes the grants of a new file.
//!
//! A large organization has millions of grants, which with their seven indexes occupy more than nine tenths
//! of the file. To insert them row by row and to let the database sort each index takes several times as long
//! as the rest of a sync. This is not necessary, because the new file is written once, in order, and its
//! content is known.
//!
//! So the database creates the file with everything else in it; the grants' table and indexes are empty. The
//! sizes of all rows and index entries determine the pages of their trees ([`layout`]), and therefore the number
//! of pages of the file and the references in its first part: the roots, at the page numbers that the
//! database chose, and the page count. Several threads ([`stream`]) then write the remaining pages in the
//! order of the file, in the published format of SQLite 3 files ([`pages`], [`record`]), and the pages are
//! compressed as they arrive. Uncompressed pages are never written to disk, which would double the time. Tests let
//! the database check the result.

mod coded;
mod derived;
mod encoded;
mod error;
mod index;
mod keys;
mod layout;
mod order;
mod pages;
mod record;
mod sources;
mod stored;
mod stream;
mod table;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;

use crate::agent::c1z::Error;
use crate::agent::c1z::image::coded::Codes;
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::index::{Index, IndexKind};
use crate::agent::c1z::image::keys::{Keys, Ranks};
use crate::agent::c1z::image::layout::{LOCK_PAGE, Layout, PAGE, advance};
use crate::agent::c1z::image::stream::Trees;
use crate::agent::c1z::image::table::Table;
use crate::agent::c1z::schema;
use crate::agent::c1z::stats::GrantCounts;
use crate::agent::c1z::workspace::Workspace;

pub(super) use self::sources::Sources;

/// The grants of a new file.
pub(super) struct Grants<'a> {
    workspace: &'a Workspace,
    table: Table<'a>,
    keys: Keys,
}

/// The database of a new file, ready to be written.
pub(super) struct Image<'a> {
    workspace: &'a Workspace,
    /// The first part of the file.
    database: PathBuf,
    trees: Trees<'a>,
    /// In pages.
    size: u64,
}

impl<'a> Grants<'a> {
    /// Reads the stored rows.
    pub(super) fn read(sources: &'a Sources, workspace: &'a Workspace) -> Result<Self, Error> {
        let (table, keys) = Table::read(sources).map_err(|error| error.named(&sources.current, workspace))?;
        Ok(Self { workspace, table, keys })
    }

    /// The number of grants of this sync for each type of resource that they are on.
    pub(super) fn counts(&self) -> GrantCounts {
        self.keys.counts()
    }

    /// The texts by which the indexes sort, in order.
    pub(super) fn ranks(&self) -> Ranks<'_> {
        self.keys.ranks()
    }
}

impl<'a> Image<'a> {
    /// Completes a database that contains everything but grants. No connection to it may be open.
    pub(super) fn complete(
        database: &Path,
        grants: &'a Grants<'a>,
        ranks: &Ranks<'_>,
    ) -> Result<Self, Error> {
        let named = |error: WriteError| error.named(database, grants.workspace);
        let roots = Roots::read(database).map_err(|error| named(error.into()))?;
        let (mut trees, size) = lay_out(grants, ranks, &roots).map_err(named)?;
        let size = place(&mut trees, size).map_err(named)?;
        write_roots(database, &trees, size).map_err(named)?;
        Ok(Self { workspace: grants.workspace, database: database.to_owned(), trees, size })
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size * PAGE as u64
    }

    /// Calls `put` with the whole database, piece by piece, in order.
    pub(super) fn write(
        &self,
        threads: usize,
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let refused = || Error::io("read", &self.database);
        let mut first = File::open(&self.database).map_err(refused())?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            match first.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => put(buffer.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refused()(error)),
            }
        }
        self.trees.write(threads, |error| error.named(&self.database, self.workspace), put)
    }
}

/// The root pages that the database assigned, and its number of pages.
struct Roots {
    pages: u32,
    table: u32,
    indexes: Vec<(IndexKind, u32)>,
}

impl Roots {
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

/// Computes the pages of each tree on two threads: one starts with the table, the other with the indexes, and
/// both continue with the remaining indexes. Also returns the number of the database's last page.
fn lay_out<'a>(
    grants: &'a Grants<'a>,
    ranks: &Ranks<'_>,
    roots: &Roots,
) -> Result<(Trees<'a>, u64), WriteError> {
    let Grants { table, keys, .. } = grants;
    let codes = Codes::new(ranks);
    let pending: Mutex<VecDeque<_>> = Mutex::new(roots.indexes.iter().copied().collect());
    let sort = || -> Result<Vec<Index>, WriteError> {
        let mut sorted = Vec::new();
        loop {
            let next = pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((kind, root)) = next else { return Ok(sorted) };
            sorted.push(Index::new(kind, root, keys, ranks, &codes)?);
        }
    };
    let (table_layout, mut indexes) = std::thread::scope(|scope| {
        let second = scope.spawn(sort);
        let first = table.lay_out(roots.table).and_then(|layout| Ok((layout, sort()?)));
        let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (layout, mut indexes) = first?;
        indexes.extend(second?);
        Ok::<(Layout, Vec<Index>), WriteError>((layout, indexes))
    })?;
    indexes.sort_unstable_by_key(|index| IndexKind::ALL.iter().position(|kind| *kind == index.kind));
    Ok((Trees { table, table_layout, indexes, keys, codes }, u64::from(roots.pages)))
}

/// Places the trees after page `last`. Returns the number of the last page of the file.
fn place(trees: &mut Trees<'_>, last: u64) -> Result<u64, WriteError> {
    let first = advance(last, 1);
    let mut next = trees.table_layout.place(first);
    for index in &mut trees.indexes {
        next = index.layout.place(next);
    }
    if next >= u64::from(u32::MAX) {
        return Err(WriteError::TooManyPages);
    }
    // The lock page cannot be the last page.
    Ok(if next == first { last } else { next - if next - 1 == LOCK_PAGE { 2 } else { 1 } })
}

/// Writes the references of the first part to the rest: the roots and the number of pages.
fn write_roots(database: &Path, trees: &Trees<'_>, size: u64) -> Result<(), WriteError> {
    let file = OpenOptions::new().read(true).write(true).open(database)?;
    for (number, root) in trees.roots()? {
        file.write_all_at(&root, u64::from(number.saturating_sub(1)) * PAGE as u64)?;
    }
    // SQLite trusts the page count only if it was written with the current change counter.
    let mut changes = [0; 4];
    file.read_exact_at(&mut changes, 24)?;
    let changes = u32::from_be_bytes(changes).wrapping_add(1).to_be_bytes();
    let size = u32::try_from(size).map_err(|_| WriteError::TooManyPages)?;
    file.write_all_at(&changes, 24)?;
    file.write_all_at(&size.to_be_bytes(), 28)?;
    file.write_all_at(&changes, 92)?;
    Ok(())
}

//! Writes the pages of all trees on several threads and delivers them in the order of the file.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use crate::agent::c1z::image::coded::Codes;
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::index::Index;
use crate::agent::c1z::image::keys::Keys;
use crate::agent::c1z::image::layout::{Layout, PAGE};
use crate::agent::c1z::image::pages::Pages;
use crate::agent::c1z::image::table::{Table, TableWriter};

/// How many pages are written at a time. They stay in the processor's cache until they are packed.
const AT_ONCE: u64 = 64;

/// How many finished pieces of each thread may wait.
const WAITING: usize = 4;

/// The trees with their places in the file.
pub(super) struct Trees<'a> {
    pub(super) table: &'a Table<'a>,
    pub(super) table_layout: Layout,
    pub(super) indexes: Vec<Index>,
    pub(super) keys: &'a Keys,
    pub(super) codes: Codes,
}

/// Adjacent pages of a tree.
#[derive(Debug, Clone)]
struct Piece {
    /// The index; `None` for the table.
    index: Option<usize>,
    level: usize,
    pages: Range<u32>,
}

impl Trees<'_> {
    /// The root pages and their page numbers.
    pub(super) fn roots(&self) -> Result<Vec<(u32, Vec<u8>)>, WriteError> {
        let mut table = TableWriter::new(self.table, &self.table_layout)?;
        let mut roots = vec![(self.table_layout.root, table.root()?)];
        for index in &self.indexes {
            let entries = index.entries(self.keys, &self.codes);
            roots.push((index.layout.root, Pages::new(&index.layout, entries).root()?));
        }
        Ok(roots)
    }

    /// Calls `put` with all pages except the roots, in order, many at a time. An error of `put` ends the
    /// call.
    pub(super) fn write<E>(
        &self,
        threads: usize,
        named: impl Fn(WriteError) -> E,
        put: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let pieces = self.pieces();
        let pieces = &pieces;
        let threads = threads.max(1);
        thread::scope(|scope| {
            // The pieces are assigned to the threads round-robin, so that the thread of the next piece is
            // known.
            let lines: Vec<(Receiver<_>, Sender<_>)> = (0..threads)
                .map(|first| {
                    let (done, written) = sync_channel(WAITING);
                    let (used, empty) = channel();
                    let own = pieces.iter().skip(first).step_by(threads);
                    scope.spawn(move || self.work(own, &done, &empty));
                    (written, used)
                })
                .collect();
            for ((written, used), _) in lines.iter().cycle().zip(pieces) {
                // A thread that ended without a result has panicked, and the scope passes on the panic.
                let Ok(piece) = written.recv() else { break };
                let piece: Vec<u8> = piece.map_err(&named)?;
                put(&piece)?;
                // The thread may have written its last piece.
                let _ = used.send(piece);
            }
            Ok(())
        })
    }

    /// The work of one thread. It ends when all its pieces are written or the receiver is dropped.
    fn work<'p>(
        &self,
        pieces: impl Iterator<Item = &'p Piece>,
        done: &SyncSender<Result<Vec<u8>, WriteError>>,
        empty: &Receiver<Vec<u8>>,
    ) {
        let mut table = match TableWriter::new(self.table, &self.table_layout) {
            Ok(table) => table,
            Err(error) => {
                let _ = done.send(Err(error));
                return;
            }
        };
        for piece in pieces {
            let mut out = empty.try_recv().unwrap_or_default();
            out.clear();
            let written = self.piece(piece, &mut table, &mut out);
            let failed = written.is_err();
            if done.send(written.map(|()| out)).is_err() || failed {
                return;
            }
        }
    }

    fn piece(&self, piece: &Piece, table: &mut TableWriter<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let Piece { index, level, pages } = piece.clone();
        let Some(index) = index.and_then(|index| self.indexes.get(index)) else {
            match level {
                0 => table.leaves(pages, out)?,
                _ => table.inner(level, pages, out)?,
            }
            self.table_layout.drop_root(level, out);
            return Ok(());
        };
        let mut of = Pages::new(&index.layout, index.entries(self.keys, &self.codes));
        for page in pages {
            match level {
                0 => of.leaf(page, out)?,
                _ => of.inner(level, page, out)?,
            }
        }
        index.layout.drop_root(level, out);
        Ok(())
    }

    fn pieces(&self) -> Vec<Piece> {
        let indexes = self.indexes.iter().enumerate();
        let indexes = indexes.map(|(number, index)| (Some(number), &index.layout));
        let mut pieces = Vec::new();
        for (index, layout) in std::iter::once((None, &self.table_layout)).chain(indexes) {
            for level in 0..=layout.top() {
                if level == layout.top() && (level > 0 || layout.leaf(1) == 0) {
                    // The root is written elsewhere, and it has no overflow pages here.
                    continue;
                }
                let mut start = 0;
                let mut weight = 0;
                for page in 0..layout.pages_at(level) {
                    weight += if level == 0 { layout.leaf(page + 1) - layout.leaf(page) } else { 1 };
                    if weight >= AT_ONCE {
                        pieces.push(Piece { index, level, pages: start..page + 1 });
                        start = page + 1;
                        weight = 0;
                    }
                }
                if start < layout.pages_at(level) {
                    pieces.push(Piece { index, level, pages: start..layout.pages_at(level) });
                }
            }
        }
        pieces
    }
}

impl Layout {
    /// Removes the page of a leaf that is the root from its overflow pages.
    fn drop_root(&self, level: usize, out: &mut Vec<u8>) {
        if level == self.top() {
            out.drain(..PAGE.min(out.len()));
        }
    }
}

//! The grants table: first the stored rows, then the derived ones.

use std::ops::Range;

use rusqlite::Connection;

use crate::agent::c1z::image::derived::Derivation;
use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::keys::Keys;
use crate::agent::c1z::image::layout::{Kind, Layout};
use crate::agent::c1z::image::pages::{Pages, Records};
use crate::agent::c1z::image::sources::Sources;
use crate::agent::c1z::image::stored::{QUERY, Reading, Stored, Updates};

/// The rows, by their numbers, which start at 0.
pub(super) struct Table<'a> {
    sources: &'a Sources,
    stored: Stored,
    derived: Option<Derivation<'a>>,
}

impl<'a> Table<'a> {
    /// Reads the stored rows and returns the keys of all rows for the indexes.
    pub(super) fn read(sources: &'a Sources) -> Result<(Self, Keys), WriteError> {
        let mut keys = Keys::default();
        keys.counted = keys.syncs.number(sources.sync_id.as_str());
        let stored = Stored::read(sources, &mut keys)?;
        let expansion = sources.expansion.as_ref();
        let derived = expansion.map(|expansion| Derivation::read(sources, expansion)).transpose()?;
        if let Some(derived) = &derived {
            derived.add_keys(&mut keys)?;
        }
        Ok((Self { sources, stored, derived }, keys))
    }

    /// Computes the pages of the rows.
    pub(super) fn lay_out(&self, root: u32) -> Result<Layout, WriteError> {
        let derived = self.derived.as_ref().map_or(0, Derivation::len);
        let count =
            u32::try_from(self.stored.len() as usize + derived).map_err(|_| WriteError::TooManyPages)?;
        Ok(Layout::new(Kind::Table, root, count, |row| self.record(row)))
    }

    fn record(&self, row: u32) -> usize {
        match (row.checked_sub(self.stored.len()), &self.derived) {
            (Some(number), Some(derived)) => derived.record(number as usize),
            _ => self.stored.record(row),
        }
    }
}

/// The state of a thread that writes the table.
pub(super) struct TableWriter<'a> {
    table: &'a Table<'a>,
    layout: &'a Layout,
    old: Connection,
    current: Connection,
    updates: Updates<'a>,
}

impl<'a> TableWriter<'a> {
    pub(super) fn new(table: &'a Table<'a>, layout: &'a Layout) -> Result<Self, WriteError> {
        let old = Connection::open(&table.sources.old)?;
        let current = Connection::open(&table.sources.current)?;
        Ok(Self { table, layout, old, current, updates: Updates::new(table.sources) })
    }

    /// The root page.
    pub(super) fn root(&mut self) -> Result<Vec<u8>, WriteError> {
        self.with_pages(0, |pages| pages.root())
    }

    /// Appends leaves and their overflow pages.
    pub(super) fn leaves(&mut self, leaves: Range<u32>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let first = self.layout.span(0, leaves.start).start;
        self.with_pages(first, |pages| {
            for leaf in leaves {
                pages.leaf(leaf, out)?;
            }
            Ok(())
        })
    }

    /// Appends pages above the leaves.
    pub(super) fn inner(
        &mut self,
        level: usize,
        pages: Range<u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        // Inner pages hold only keys.
        let none = self.table.stored.len();
        self.with_pages(none, |of| {
            for page in pages {
                of.inner(level, page, out)?;
            }
            Ok(())
        })
    }

    fn with_pages<T>(
        &mut self,
        first: u32,
        write: impl FnOnce(&mut Pages<'_, Rows<'_, 'a, '_>>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut old = self.old.prepare_cached(QUERY)?;
        let mut current = self.current.prepare_cached(QUERY)?;
        let stored = Reading::begin(&self.table.stored, first, &mut old, &mut current)?;
        write(&mut Pages::new(self.layout, Rows { table: self.table, stored, updates: &mut self.updates }))
    }
}

/// Provides the rows in order.
struct Rows<'w, 'a, 'q> {
    table: &'a Table<'a>,
    stored: Reading<'a, 'q>,
    updates: &'w mut Updates<'a>,
}

impl Records for Rows<'_, '_, '_> {
    fn len(&mut self, row: u32) -> usize {
        self.table.record(row)
    }

    fn put(&mut self, row: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
        match (row.checked_sub(self.table.stored.len()), &self.table.derived) {
            (Some(number), Some(derived)) => derived.put(number as usize, self.updates, out),
            _ => self.stored.put(row, self.updates, out),
        }
    }
}

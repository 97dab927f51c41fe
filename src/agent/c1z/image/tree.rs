//! Trees of pages, written from their leaves up out of entries that come in order.
//!
//! Each level has one page in the making. When the next entry does not fit, the page is written and the
//! level above gets an entry for it: for an index, the page's last entry moves up, since there an entry is in
//! one place only; for a table, the key of the last row is repeated there. The last page of each level is the
//! rightmost child of the level above, and the topmost one becomes the root.

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::pages::{PAGE, Pages, Writer};
use crate::agent::c1z::image::record::{put_varint, varint_len};

/// What a tree is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Index,
}

/// A tree in the making.
pub(super) struct Tree<'a> {
    kind: Kind,
    root: u32,
    out: Writer<'a>,
    /// From the leaves up.
    levels: Vec<Page>,
    /// The key of the last row that was added.
    last_row: u64,
    cell: Vec<u8>,
}

impl<'a> Tree<'a> {
    /// A tree whose root is to be page `root`.
    pub(super) fn new(pages: &'a Pages<'a>, kind: Kind, root: u32) -> Self {
        let levels = vec![Page::new(kind, 0)];
        Self { kind, root, out: Writer::new(pages), levels, last_row: 0, cell: Vec::new() }
    }

    /// Adds a row to a table. Keys ascend.
    pub(super) fn add_row(&mut self, key: u64, record: &[u8]) -> Result<(), WriteError> {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        put_varint(record.len() as u64, &mut cell);
        put_varint(key, &mut cell);
        self.put_payload(record, TABLE_LOCAL, &mut cell)?;
        let added = self.add(0, None, &cell);
        self.cell = cell;
        self.last_row = key;
        added
    }

    /// Adds an entry to an index. Entries ascend.
    pub(super) fn add_entry(&mut self, record: &[u8]) -> Result<(), WriteError> {
        let mut cell = std::mem::take(&mut self.cell);
        cell.clear();
        put_varint(record.len() as u64, &mut cell);
        self.put_payload(record, INDEX_LOCAL, &mut cell)?;
        let added = self.add(0, None, &cell);
        self.cell = cell;
        added
    }

    /// Writes what is left, and the root.
    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        let mut below = None;
        let levels = std::mem::take(&mut self.levels);
        let top = levels.len() - 1;
        for (level, mut page) in levels.into_iter().enumerate() {
            if let Some(child) = below {
                page.set_right_child(child);
            }
            let number = if level == top { self.root } else { self.out.pages.allocate()? };
            self.out.write(number, page.finished())?;
            below = Some(number);
        }
        self.out.flush()?;
        Ok(())
    }

    /// Adds a cell at a level, after the child that it belongs to above the leaves.
    fn add(&mut self, level: usize, child: Option<u32>, cell: &[u8]) -> Result<(), WriteError> {
        if level == self.levels.len() {
            self.levels.push(Page::new(self.kind, level));
        }
        let Some(page) = self.levels.get_mut(level) else { return Ok(()) };
        if page.add(child, cell) {
            return Ok(());
        }
        let number = self.out.pages.allocate()?;
        let separator = if level == 0 && self.kind == Kind::Table {
            let mut key = Vec::with_capacity(varint_len(self.last_row));
            put_varint(self.last_row, &mut key);
            key
        } else {
            page.take_last(level > 0)
        };
        self.out.write(number, page.finished())?;
        *page = Page::new(self.kind, level);
        page.add(child, cell);
        self.add(level + 1, Some(number), &separator)
    }

    /// Appends as much of a record as belongs into a cell, and writes the rest into pages of its own.
    fn put_payload(&mut self, record: &[u8], most: usize, cell: &mut Vec<u8>) -> Result<(), WriteError> {
        if record.len() <= most {
            cell.extend_from_slice(record);
            return Ok(());
        }
        // So that the last of those pages is full, if that leaves not too much in the cell.
        let filling = LEAST_LOCAL + (record.len() - LEAST_LOCAL) % OVERFLOW;
        let (local, rest) = record.split_at(if filling <= most { filling } else { LEAST_LOCAL });
        cell.extend_from_slice(local);
        let mut number = self.out.pages.allocate()?;
        cell.extend_from_slice(&number.to_be_bytes());
        let mut parts = rest.chunks(OVERFLOW).peekable();
        while let Some(part) = parts.next() {
            let next = if parts.peek().is_some() { self.out.pages.allocate()? } else { 0 };
            let mut page = [0; PAGE];
            let (head, body) = page.split_at_mut(PAGE - OVERFLOW);
            head.copy_from_slice(&next.to_be_bytes());
            if let Some(body) = body.get_mut(..part.len()) {
                body.copy_from_slice(part);
            }
            self.out.write(number, &page)?;
            number = next;
        }
        Ok(())
    }
}

/// The most bytes of a record in a cell, by the format's rules for the size of a page.
const TABLE_LOCAL: usize = PAGE - 35;
const INDEX_LOCAL: usize = (PAGE - 12) * 64 / 255 - 23;
/// The fewest, when the record does not fit.
const LEAST_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
/// How much of a record a page of its own takes.
const OVERFLOW: usize = PAGE - 4;

/// A page in the making: after its header a list of where the cells are, which fill it from the end.
struct Page {
    bytes: Box<[u8; PAGE]>,
    header: usize,
    cells: usize,
    /// Where the last cell begins.
    content: usize,
    /// Where the cell before it begins.
    starts: Vec<usize>,
}

impl Page {
    fn new(kind: Kind, level: usize) -> Self {
        let (code, header) = match (kind, level) {
            (Kind::Table, 0) => (0x0d, 8),
            (Kind::Table, _) => (0x05, 12),
            (Kind::Index, 0) => (0x0a, 8),
            (Kind::Index, _) => (0x02, 12),
        };
        let mut bytes = Box::new([0; PAGE]);
        bytes[0] = code;
        Self { bytes, header, cells: 0, content: PAGE, starts: Vec::new() }
    }

    /// Adds a cell if it fits.
    fn add(&mut self, child: Option<u32>, cell: &[u8]) -> bool {
        let length = cell.len() + child.map_or(0, |_| 4);
        let list_end = self.header + (self.cells + 1) * 2;
        if list_end + length > self.content {
            return false;
        }
        let start = self.content - length;
        self.starts.push(self.content);
        if let Some(place) = self.bytes.get_mut(start..self.content) {
            let (head, body) = place.split_at_mut(length - cell.len());
            if let Some(child) = child {
                head.copy_from_slice(&child.to_be_bytes());
            }
            body.copy_from_slice(cell);
        }
        self.set_u16(list_end - 2, start);
        self.content = start;
        self.cells += 1;
        true
    }

    /// Takes the last cell off. Above the leaves its child becomes the rightmost one.
    fn take_last(&mut self, has_child: bool) -> Vec<u8> {
        let Some(end) = self.starts.pop() else { return Vec::new() };
        let mut cell = self.bytes.get(self.content..end).unwrap_or_default().to_vec();
        if let Some(place) = self.bytes.get_mut(self.content..end) {
            place.fill(0);
        }
        self.cells -= 1;
        self.set_u16(self.header + self.cells * 2, 0);
        self.content = end;
        if has_child && cell.len() >= 4 {
            let body = cell.split_off(4);
            if let Some(place) = self.bytes.get_mut(8..12) {
                place.copy_from_slice(&cell);
            }
            return body;
        }
        cell
    }

    fn set_right_child(&mut self, child: u32) {
        if let Some(place) = self.bytes.get_mut(8..12) {
            place.copy_from_slice(&child.to_be_bytes());
        }
    }

    fn finished(&mut self) -> &[u8; PAGE] {
        self.set_u16(3, self.cells);
        self.set_u16(5, self.content);
        &self.bytes
    }

    fn set_u16(&mut self, at: usize, number: usize) {
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&(number as u16).to_be_bytes());
        }
    }
}

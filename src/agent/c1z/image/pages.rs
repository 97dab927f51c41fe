//! Encodes the pages of a tree.

use crate::agent::c1z::image::error::WriteError;
use crate::agent::c1z::image::layout::{
    CHILD, INNER_HEADER, Kind, LEAF_HEADER, LOCK_PAGE, Layout, OVERFLOW, PAGE, advance, key,
};
use crate::agent::c1z::image::record::put_varint;

/// The records of a tree, by entry number.
pub(super) trait Records {
    /// The size of a record.
    fn len(&mut self, entry: u32) -> usize;

    /// Appends a record, which has the size that `len` returns.
    fn put(&mut self, entry: u32, out: &mut Vec<u8>) -> Result<(), WriteError>;
}

/// Writes the pages of one tree.
pub(super) struct Pages<'a, R> {
    layout: &'a Layout,
    records: R,
    /// The sizes of the records on the current page.
    sizes: Vec<usize>,
    /// A record that does not fit into its cell.
    record: Vec<u8>,
    /// The overflow pages of the leaf.
    behind: Vec<u8>,
}

impl<'a, R: Records> Pages<'a, R> {
    pub(super) fn new(layout: &'a Layout, records: R) -> Self {
        Self { layout, records, sizes: Vec::new(), record: Vec::new(), behind: Vec::new() }
    }

    /// The root page.
    pub(super) fn root(&mut self) -> Result<Vec<u8>, WriteError> {
        let mut out = Vec::new();
        match self.layout.top() {
            0 => self.leaf(0, &mut out)?,
            top => self.inner(top, 0, &mut out)?,
        }
        // Its overflow pages are elsewhere in the file.
        out.truncate(PAGE);
        Ok(out)
    }

    /// Appends a leaf and its overflow pages.
    pub(super) fn leaf(&mut self, leaf: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let Self { layout, .. } = *self;
        let kind = layout.kind;
        let span = layout.span(0, leaf);
        let moves_up = kind == Kind::Index && !span.is_last;
        let cells = span.start..span.end - u32::from(moves_up);
        self.sizes.clear();
        let mut content = PAGE;
        for entry in cells.clone() {
            let size = self.records.len(entry);
            self.sizes.push(size);
            content = content.saturating_sub(kind.cell(entry, size, kind.divide(size)));
        }
        self.begin(layout.page(0, leaf), out);
        let begin = out.len();
        put_head(if kind == Kind::Table { 0x0d } else { 0x0a }, self.sizes.len(), content, out);
        let mut place = content;
        for (entry, size) in cells.clone().zip(&self.sizes) {
            put_u16(place, out);
            place += kind.cell(entry, *size, kind.divide(*size));
        }
        pad(begin + content, out)?;
        self.behind.clear();
        let mut overflow = layout.overflow_of_leaf(leaf);
        for (at, entry) in cells.clone().enumerate() {
            let size = self.sizes.get(at).copied().unwrap_or_default();
            put_varint(size as u64, out);
            if kind == Kind::Table {
                put_varint(key(entry), out);
            }
            overflow = self.record(entry, size, overflow, true, out)?;
        }
        pad(begin + PAGE, out)?;
        if moves_up {
            let size = self.records.len(cells.end);
            if kind.divide(size).pages > 0 {
                self.record(cells.end, size, overflow, true, &mut Vec::new())?;
            }
        }
        out.extend_from_slice(&self.behind);
        Ok(())
    }

    /// Appends a page above the leaves.
    pub(super) fn inner(&mut self, level: usize, page: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let Self { layout, .. } = *self;
        let kind = layout.kind;
        let span = layout.span(level, page);
        let cells = span.start..if span.is_last { span.end } else { span.end.saturating_sub(1) };
        self.begin(layout.page(level, page), out);
        let begin = out.len();
        let mut bodies = Vec::with_capacity(PAGE);
        let mut places = Vec::new();
        for number in cells.clone() {
            let separator = layout.separator(level, number);
            places.push(bodies.len());
            bodies.extend_from_slice(&layout.page(level - 1, number).to_be_bytes());
            match kind {
                Kind::Table => put_varint(key(separator.entry), &mut bodies),
                Kind::Index => {
                    let size = self.records.len(separator.entry);
                    let first = layout.overflow_of_separator(separator, kind.divide(size).pages);
                    put_varint(size as u64, &mut bodies);
                    self.record(separator.entry, size, first, false, &mut bodies)?;
                }
            }
        }
        let content = PAGE.saturating_sub(bodies.len());
        put_head(if kind == Kind::Table { 0x05 } else { 0x02 }, places.len(), content, out);
        out.extend_from_slice(&layout.page(level - 1, cells.end).to_be_bytes());
        debug_assert_eq!(out.len() - begin, LEAF_HEADER + CHILD);
        for place in &places {
            put_u16(content + place, out);
        }
        debug_assert_eq!(out.len() - begin, INNER_HEADER + 2 * places.len());
        pad(begin + content, out)?;
        out.extend_from_slice(&bodies);
        pad(begin + PAGE, out)
    }

    /// Appends the part of a record that belongs into its cell. With `with_rest`, also writes the rest to
    /// overflow pages that begin at page number `first`. Returns the number after them.
    fn record(
        &mut self,
        entry: u32,
        size: usize,
        first: u64,
        with_rest: bool,
        out: &mut Vec<u8>,
    ) -> Result<u64, WriteError> {
        let division = self.layout.kind.divide(size);
        if division.pages == 0 {
            let begin = out.len();
            self.records.put(entry, out)?;
            return if out.len() == begin + size { Ok(first) } else { Err(WriteError::Changed) };
        }
        self.record.clear();
        self.records.put(entry, &mut self.record)?;
        if self.record.len() != size {
            return Err(WriteError::Changed);
        }
        let (local, rest) = self.record.split_at(division.local);
        out.extend_from_slice(local);
        out.extend_from_slice(&short(first).to_be_bytes());
        if !with_rest {
            return Ok(first);
        }
        let mut number = first;
        let mut parts = rest.chunks(OVERFLOW).peekable();
        while let Some(part) = parts.next() {
            let next = advance(number, 1);
            skip_lock_page(number, &mut self.behind);
            let begin = self.behind.len();
            let named = if parts.peek().is_some() { short(next) } else { 0 };
            self.behind.extend_from_slice(&named.to_be_bytes());
            self.behind.extend_from_slice(part);
            pad(begin + PAGE, &mut self.behind)?;
            number = next;
        }
        Ok(number)
    }

    fn begin(&self, number: u32, out: &mut Vec<u8>) {
        // The root is written to its own place.
        if number != self.layout.root {
            skip_lock_page(u64::from(number), out);
        }
    }
}

/// Appends the lock page, which is never used, if `number` is the page after it.
fn skip_lock_page(number: u64, out: &mut Vec<u8>) {
    if number == LOCK_PAGE + 1 {
        out.resize(out.len() + PAGE, 0);
    }
}

/// The page header: its kind, no free blocks, the cell count, the start of the cells, no fragments.
fn put_head(kind: u8, cells: usize, content: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, 0]);
    put_u16(cells, out);
    put_u16(content, out);
    out.push(0);
}

/// Appends zeros up to a length. A longer page means that the rows changed after they were measured.
fn pad(length: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
    if out.len() > length {
        return Err(WriteError::Changed);
    }
    out.resize(length, 0);
    Ok(())
}

fn put_u16(number: usize, out: &mut Vec<u8>) {
    // All numbers are offsets within a page.
    out.extend_from_slice(&(number as u16).to_be_bytes());
}

fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of equal size.
    struct Same(usize);

    impl Records for Same {
        fn len(&mut self, _: u32) -> usize {
            self.0
        }

        fn put(&mut self, entry: u32, out: &mut Vec<u8>) -> Result<(), WriteError> {
            out.resize(out.len() + self.0, entry as u8);
            Ok(())
        }
    }

    #[test]
    fn nothing_is_written_to_the_lock_page() -> Result<(), WriteError> {
        let size = 13_000;
        assert_eq!(Kind::Table.divide(size).pages, 3);
        let mut layout = Layout::new(Kind::Table, 9, 4, |_| size);
        assert_eq!(layout.top(), 0);
        let first = LOCK_PAGE - 4;
        assert_eq!(layout.place(first), LOCK_PAGE + 9);
        let mut pages = Vec::new();
        Pages::new(&layout, Same(size)).leaf(0, &mut pages)?;
        // The root, three pages for each row, and the lock page.
        assert_eq!(pages.len(), (1 + 4 * 3 + 1) * PAGE);
        let page = |number: u64| {
            let begin = (number - first + 1) as usize * PAGE;
            pages.get(begin..begin + PAGE).unwrap_or_default()
        };
        let follows = |number: u64| page(number).first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        assert_eq!(follows(LOCK_PAGE - 2), Some(0));
        assert_eq!(follows(LOCK_PAGE - 1).map(u64::from), Some(LOCK_PAGE + 1));
        assert_eq!(page(LOCK_PAGE), [0; PAGE]);
        assert_eq!(follows(LOCK_PAGE + 1).map(u64::from), Some(LOCK_PAGE + 2));
        assert_eq!(follows(LOCK_PAGE + 2), Some(0));
        Ok(())
    }

    #[test]
    fn rejects_records_whose_size_differs() {
        let layout = Layout::new(Kind::Index, 9, 300, |_| 20);
        assert!(Pages::new(&layout, Same(20)).leaf(0, &mut Vec::new()).is_ok());
        assert!(matches!(Pages::new(&layout, Same(60)).leaf(0, &mut Vec::new()), Err(WriteError::Changed)));
    }
}

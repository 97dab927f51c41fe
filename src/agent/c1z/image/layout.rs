//! Computes the pages of a tree from the sizes of its records, before any page is written.
//!
//! A tree begins with its leaves, each followed by the overflow pages of its records. The levels above
//! follow, from the bottom up. The root is before all of them, at the page that the database assigned.
//!
//! Leaves are filled in the order of the entries. Between two leaves, there is a separator in the level
//! above. In an index, the separator is the last entry of the left leaf, which is stored only there. In a
//! table, it is the key of the left leaf's last row. The levels above are filled with separators in the same
//! way, and the last separator of a page moves up.

use crate::agent::c1z::image::record::varint_len;

/// The page size, which is the default of the database.
pub(super) const PAGE: usize = 4096;

/// The page at 1 GiB, whose bytes the database uses as locks. It is never used for data.
pub(super) const LOCK_PAGE: u64 = 0x4000_0000 / PAGE as u64 + 1;

/// How many bytes of a record an overflow page holds.
pub(super) const OVERFLOW: usize = PAGE - 4;

/// The maximum number of bytes of a record in a cell, by the rules of the format for this page size.
const TABLE_LOCAL: usize = PAGE - 35;
const INDEX_LOCAL: usize = (PAGE - 12) * 64 / 255 - 23;
/// The minimum number, if the record does not fit.
const LEAST_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;

/// The sizes of the page headers of leaves and of the levels above.
pub(super) const LEAF_HEADER: usize = 8;
pub(super) const INNER_HEADER: usize = 12;

/// The size of a child pointer in a cell above the leaves.
pub(super) const CHILD: usize = 4;

/// The kind of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Index,
}

/// The pages of a tree.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    /// The page number of its root.
    pub(super) root: u32,
    /// The page number of its first page besides the root.
    first: u64,
    entries: u32,
    /// From the leaves up: the first entry of each leaf, and the first separator of each page above the leaves.
    levels: Vec<Vec<u32>>,
    /// The leaves with records that need overflow pages, each with the number of overflow pages of all leaves
    /// up to and including it.
    overflowing: Vec<(u32, u64)>,
}

/// How a record is split between its cell and overflow pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Division {
    /// The number of bytes in the cell.
    pub(super) local: usize,
    /// The number of overflow pages.
    pub(super) pages: u64,
}

/// The range of entries or separators on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Whether it is the last page of its level. Nothing moves up from the last page.
    pub(super) is_last: bool,
}

/// A separator: the last entry of a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Separator {
    pub(super) entry: u32,
    leaf: u32,
}

impl Kind {
    /// How a record of this size is split.
    pub(super) fn divide(self, record: usize) -> Division {
        let most = match self {
            Self::Table => TABLE_LOCAL,
            Self::Index => INDEX_LOCAL,
        };
        if record <= most {
            return Division { local: record, pages: 0 };
        }
        // Fills the last overflow page, unless that leaves too much in the cell.
        let filling = LEAST_LOCAL + (record - LEAST_LOCAL) % OVERFLOW;
        let local = if filling <= most { filling } else { LEAST_LOCAL };
        Division { local, pages: (record - local).div_ceil(OVERFLOW) as u64 }
    }

    /// The size of a leaf cell.
    pub(super) fn cell(self, entry: u32, record: usize, division: Division) -> usize {
        let key = match self {
            Self::Table => varint_len(key(entry)),
            Self::Index => 0,
        };
        varint_len(record as u64) + key + division.local + if division.pages > 0 { 4 } else { 0 }
    }

    fn separator(self, entry: u32, record: impl FnOnce(u32) -> usize) -> usize {
        CHILD
            + match self {
                Self::Table => varint_len(key(entry)),
                Self::Index => {
                    let record = record(entry);
                    self.cell(entry, record, self.divide(record))
                }
            }
    }
}

/// The key of a table row: rows count from 1.
pub(super) fn key(entry: u32) -> u64 {
    u64::from(entry) + 1
}

/// The number of the page `pages` after page `number`.
pub(super) fn advance(number: u64, pages: u64) -> u64 {
    let there = number + pages;
    if number < LOCK_PAGE && there >= LOCK_PAGE { there + 1 } else { there }
}

impl Layout {
    /// Computes a tree of `entries` entries. `record` returns the size of each record.
    pub(super) fn new(kind: Kind, root: u32, entries: u32, mut record: impl FnMut(u32) -> usize) -> Self {
        let mut overflowing: Vec<(u32, u64)> = Vec::new();
        let mut leaves = Filling::new(LEAF_HEADER);
        for entry in 0..entries {
            let size = record(entry);
            let division = kind.divide(size);
            leaves.add(entry, kind.cell(entry, size, division));
            if division.pages > 0 {
                let leaf = leaves.page();
                let sum = overflowing.last().map_or(0, |(_, sum)| *sum) + division.pages;
                match overflowing.last_mut().filter(|(last, _)| *last == leaf) {
                    Some(last) => last.1 = sum,
                    None => overflowing.push((leaf, sum)),
                }
            }
        }
        let mut layout = Self { kind, root, first: 0, entries, levels: vec![leaves.starts], overflowing };
        while layout.pages_at(layout.levels.len() - 1) > 1 {
            let level = layout.levels.len();
            let mut filling = Filling::new(INNER_HEADER);
            for separator in 0..layout.items(level) {
                let entry = layout.separator(level, separator).entry;
                filling.add(separator, kind.separator(entry, &mut record));
            }
            layout.levels.push(filling.starts);
        }
        layout
    }

    /// Sets the number of the tree's first page. Returns the number after the last page.
    pub(super) fn place(&mut self, first: u64) -> u64 {
        self.first = first;
        self.number(self.above(self.top()))
    }

    /// The highest level, which holds the root.
    pub(super) fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// The number of pages of a level.
    pub(super) fn pages_at(&self, level: usize) -> u32 {
        // A page has at least one entry, and there are fewer than 2^32 entries.
        self.levels.get(level).map_or(0, |starts| starts.len() as u32)
    }

    /// The range of a page.
    pub(super) fn span(&self, level: usize, page: u32) -> Span {
        let starts = self.levels.get(level).map_or(&[][..], |starts| starts);
        let page = page as usize;
        let start = starts.get(page).copied().unwrap_or_default();
        match starts.get(page + 1) {
            Some(&end) => Span { start, end, is_last: false },
            None => Span { start, end: self.items(level), is_last: true },
        }
    }

    /// The separator with this number on a level above the leaves.
    pub(super) fn separator(&self, level: usize, number: u32) -> Separator {
        let mut below = number;
        for level in (1..level).rev() {
            below = self.span(level, below).end.saturating_sub(1);
        }
        Separator { entry: self.span(0, below).end.saturating_sub(1), leaf: below }
    }

    /// The page number of a page.
    pub(super) fn page(&self, level: usize, page: u32) -> u32 {
        if level == self.top() {
            return self.root;
        }
        let place = match level {
            0 => self.leaf(page),
            _ => self.above(level) + u64::from(page),
        };
        self.short(place)
    }

    /// How many pages the leaves before this one take, with their overflow pages.
    pub(super) fn leaf(&self, leaf: u32) -> u64 {
        let before = self.overflowing.partition_point(|(one, _)| *one < leaf);
        let overflow =
            before.checked_sub(1).and_then(|at| self.overflowing.get(at)).map_or(0, |(_, sum)| *sum);
        overflow + if self.top() == 0 { 0 } else { u64::from(leaf) }
    }

    /// The number of the first overflow page of a leaf.
    pub(super) fn overflow_of_leaf(&self, leaf: u32) -> u64 {
        self.number(self.leaf(leaf) + u64::from(self.top() > 0))
    }

    /// The number of the first overflow page of a separator's record that needs `pages` pages: the last pages
    /// of its leaf.
    pub(super) fn overflow_of_separator(&self, separator: Separator, pages: u64) -> u64 {
        self.number((self.leaf(separator.leaf + 1)).saturating_sub(pages))
    }

    /// The number of separators or entries of a level.
    fn items(&self, level: usize) -> u32 {
        match level.checked_sub(1) {
            None => self.entries,
            Some(below) => self.pages_at(below).saturating_sub(1),
        }
    }

    /// The number of pages before those of a level.
    fn above(&self, level: usize) -> u64 {
        let leaves = self.leaf(self.pages_at(0));
        leaves + (1..level).map(|level| u64::from(self.pages_at(level))).sum::<u64>()
    }

    fn number(&self, place: u64) -> u64 {
        advance(self.first, place)
    }

    fn short(&self, place: u64) -> u32 {
        // The last number of all trees is checked when they are placed.
        u32::try_from(self.number(place)).unwrap_or(u32::MAX)
    }
}

/// Distributes items over pages.
struct Filling {
    starts: Vec<u32>,
    header: usize,
    used: usize,
}

impl Filling {
    fn new(header: usize) -> Self {
        Self { starts: vec![0], header, used: header }
    }

    fn add(&mut self, item: u32, cell: usize) {
        // Two bytes for its entry in the cell list.
        let size = cell + 2;
        if self.used + size > PAGE {
            self.starts.push(item);
            self.used = self.header;
        }
        self.used += size;
    }

    fn page(&self) -> u32 {
        self.starts.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_page_is_skipped() {
        assert_eq!(LOCK_PAGE, 262_145);
        assert_eq!(advance(10, 5), 15);
        assert_eq!(advance(LOCK_PAGE - 1, 0), LOCK_PAGE - 1);
        assert_eq!(advance(LOCK_PAGE - 1, 1), LOCK_PAGE + 1);
        assert_eq!(advance(LOCK_PAGE - 5, 7), LOCK_PAGE + 3);
        assert_eq!(advance(LOCK_PAGE + 1, 1), LOCK_PAGE + 2);
    }

    #[test]
    fn pages_are_filled_to_the_last_byte() {
        // Cells of 1 + 1 + 100 bytes with their list entries: 39 cells leave 32 bytes of a page free.
        let of = |entries| Layout::new(Kind::Table, 7, entries, |_| 100);
        for (entries, pages) in [(0, 1), (1, 1), (39, 1), (40, 2), (78, 2), (79, 3)] {
            let mut layout = of(entries);
            assert_eq!(layout.pages_at(0), pages, "{entries}");
            assert_eq!(layout.top(), usize::from(pages > 1));
            assert_eq!(layout.place(20), if pages > 1 { 20 + u64::from(pages) } else { 20 });
        }
        // A record that fits exactly, and one that is one byte larger.
        let full = PAGE - LEAF_HEADER - 2 - 3;
        assert_eq!(Kind::Table.divide(TABLE_LOCAL).pages, 0);
        assert!(full > TABLE_LOCAL);
        assert_eq!(Kind::Table.divide(TABLE_LOCAL + 1).pages, 1);
        assert_eq!(Kind::Index.divide(INDEX_LOCAL + 1).pages, 1);
    }

    #[test]
    fn overflow_pages_follow_their_leaf() {
        // Every tenth record takes two overflow pages.
        let mut layout = Layout::new(Kind::Index, 3, 1000, |entry| if entry % 10 == 0 { 8_000 } else { 200 });
        let end = layout.place(50);
        let top = layout.top();
        assert!(top >= 1);
        let inner: u64 = (1..top).map(|level| u64::from(layout.pages_at(level))).sum();
        assert_eq!(end, 50 + u64::from(layout.pages_at(0)) + 100 * Kind::Index.divide(8_000).pages + inner);
        let mut next = 50;
        for leaf in 0..layout.pages_at(0) {
            let span = layout.span(0, leaf);
            assert_eq!(u64::from(layout.page(0, leaf)), next);
            assert_eq!(layout.overflow_of_leaf(leaf), next + 1);
            next += 1 + (span.start..span.end).filter(|entry| entry % 10 == 0).count() as u64 * 2;
            if !span.is_last {
                let separator = layout.separator(1, leaf);
                assert_eq!(separator.entry, span.end - 1);
                assert_eq!(layout.overflow_of_separator(separator, 2), next - 2);
            }
        }
    }
}

//! The pages of the file: giving out their numbers and writing them, from several threads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::agent::c1z::image::error::WriteError;

/// The size of a page, as the database makes them by default.
pub(super) const PAGE: usize = 4096;

/// The page at 1 GiB, whose bytes serve the database as locks. It is never used.
const LOCK_PAGE: u32 = 0x4000_0000 / PAGE as u32 + 1;

/// How many pages are written at once when their numbers follow each other.
const BATCH: usize = 64;

/// A database file that grows.
pub(super) struct Pages<'a> {
    file: &'a File,
    last: AtomicU32,
}

impl<'a> Pages<'a> {
    /// A file that has `count` pages.
    pub(super) fn new(file: &'a File, count: u32) -> Self {
        Self { file, last: AtomicU32::new(count) }
    }

    /// A new page's number.
    pub(super) fn allocate(&self) -> Result<u32, WriteError> {
        loop {
            let last = self.last.fetch_add(1, Ordering::Relaxed);
            // Far below the number at which the counter would begin again.
            if last >= u32::MAX - 1024 {
                return Err(WriteError::TooManyPages);
            }
            if last + 1 != LOCK_PAGE {
                return Ok(last + 1);
            }
        }
    }

    /// Makes the header say how many pages there are.
    pub(super) fn finish(&self) -> io::Result<()> {
        let count = self.last.load(Ordering::Relaxed);
        self.file.set_len(u64::from(count) * PAGE as u64)?;
        // The count is believed when the number of changes is the one that it was written with.
        let mut changes = [0; 4];
        self.file.read_exact_at(&mut changes, 24)?;
        let changes = u32::from_be_bytes(changes).wrapping_add(1).to_be_bytes();
        self.file.write_all_at(&changes, 24)?;
        self.file.write_all_at(&count.to_be_bytes(), 28)?;
        self.file.write_all_at(&changes, 92)
    }
}

/// Writes pages, those with adjoining numbers together.
pub(super) struct Writer<'a> {
    pub(super) pages: &'a Pages<'a>,
    first: u32,
    waiting: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(pages: &'a Pages<'a>) -> Self {
        Self { pages, first: 0, waiting: Vec::with_capacity(BATCH * PAGE) }
    }

    pub(super) fn write(&mut self, number: u32, page: &[u8; PAGE]) -> io::Result<()> {
        let count = self.waiting.len() / PAGE;
        if count == BATCH || u64::from(self.first) + count as u64 != u64::from(number) {
            self.flush()?;
            self.first = number;
        }
        self.waiting.extend_from_slice(page);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let offset = u64::from(self.first - 1) * PAGE as u64;
            self.pages.file.write_all_at(&self.waiting, offset)?;
            self.waiting.clear();
        }
        Ok(())
    }
}

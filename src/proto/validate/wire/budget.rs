//! What a request may take when it is decoded. A few bytes on the wire can stand for hundreds in memory, so
//! the length of a request says little about it.

use crate::proto::validate::wire::fault::{Excess, Fault};

/// How many fields, items and entries a request may have, however deep. Requests of agents have some hundreds.
pub(crate) const ELEMENTS: u32 = 100_000;
/// How many bytes the messages, lists and maps of a decoded request may take, its texts and bytes apart.
pub(crate) const MEMORY: usize = 4 * 1024 * 1024;

/// What is left of the limits while a request is read.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    elements: u32,
    memory: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { elements: ELEMENTS, memory: MEMORY }
    }
}

impl Budget {
    /// Takes one element that needs so many bytes.
    ///
    /// # Errors
    /// That is more than there is left.
    pub(super) fn spend(&mut self, cost: usize) -> Result<(), Fault> {
        self.elements = self.elements.checked_sub(1).ok_or(Fault::TooLarge(Excess::Elements))?;
        self.memory = self.memory.checked_sub(cost).ok_or(Fault::TooLarge(Excess::Memory))?;
        Ok(())
    }

    /// How many bytes have been taken.
    pub(super) fn memory(&self) -> usize {
        MEMORY - self.memory
    }
}

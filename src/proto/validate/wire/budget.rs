//! Limits of a decoded request, and of an answer of ConductorOne. A few bytes on the wire can take hundreds of
//! bytes in memory, so the length is not a sufficient limit.

use crate::proto::validate::wire::fault::{Excess, Fault};

/// The most fields, items and entries of a request, at any depth. Requests of agents have some hundreds.
pub(crate) const ELEMENTS: u32 = 100_000;
/// The most bytes of messages, lists and maps of a decoded request, without its strings and bytes.
pub(crate) const MEMORY: usize = 4 * 1024 * 1024;

/// The remaining budget while a request is read.
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
    /// Takes one element that needs this many bytes.
    ///
    /// # Errors
    /// The budget is spent.
    pub(super) fn spend(&mut self, cost: usize) -> Result<(), Fault> {
        self.elements = self.elements.checked_sub(1).ok_or(Fault::TooLarge(Excess::Elements))?;
        self.memory = self.memory.checked_sub(cost).ok_or(Fault::TooLarge(Excess::Memory))?;
        Ok(())
    }

    /// The memory taken so far, in bytes.
    pub(super) fn memory(&self) -> usize {
        MEMORY - self.memory
    }
}

//! Problems of an encoded message.

use prost::DecodeError;

/// A broken rule on its way up to the checked message. Each level adds itself to the front of the path.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) path: String,
    pub(crate) rule: String,
}

/// The reason why a walk ends early.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The bytes are not an encoding of the message.
    Malformed,
    /// The message would exceed the [budget](super::budget).
    TooLarge(Excess),
}

/// The limit that a message exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Fields, items and entries, including unknown fields.
    Elements,
    /// Memory for messages, lists and maps.
    Memory,
}

impl Broken {
    pub(crate) fn here(rule: String) -> Self {
        Self { path: String::new(), rule }
    }

    pub(crate) fn in_field(mut self, name: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    pub(crate) fn in_element(self, index: impl std::fmt::Display) -> Self {
        self.in_field(&format!("[{index}]"))
    }
}

impl From<DecodeError> for Fault {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

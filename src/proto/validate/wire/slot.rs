//! The values of a field that the walk has read.

use std::slice;

use crate::proto::validate::value::WireValue;
use crate::proto::validate::wire::fault::Broken;

/// The values of a field so far.
pub(super) enum Slot<'a> {
    Absent,
    /// Present, without a value that a rule needs.
    Present,
    Varint(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A message in one encoding, the usual case.
    Message(&'a [u8]),
    /// A message in several encodings.
    Merged(Vec<&'a [u8]>),
    /// The number of items of a list, and the error of the first invalid item.
    List(usize, Option<Box<Broken>>),
    /// The entries of a map in the order of the wire.
    Entries(Vec<&'a [u8]>),
}

impl<'a> Slot<'a> {
    /// Adds an encoding of a message.
    pub(super) fn merged_with(self, encoded: &'a [u8]) -> Self {
        match self {
            Self::Message(first) => Self::Merged(vec![first, encoded]),
            Self::Merged(mut parts) => {
                parts.push(encoded);
                Self::Merged(parts)
            }
            _ => Self::Message(encoded),
        }
    }

    /// Adds an entry of a map.
    pub(super) fn with_entry(self, entry: &'a [u8]) -> Self {
        match self {
            Self::Entries(mut entries) => {
                entries.push(entry);
                Self::Entries(entries)
            }
            _ => Self::Entries(vec![entry]),
        }
    }

    /// The encodings of a message; empty for other values.
    pub(super) fn parts(&self) -> &[&'a [u8]] {
        match self {
            Self::Message(encoded) => slice::from_ref(encoded),
            Self::Merged(parts) => parts,
            _ => &[],
        }
    }

    /// The value to which a rule applies; `None` if there is none.
    pub(super) fn value(&self) -> Option<WireValue<'_>> {
        match self {
            Self::Varint(number) => Some(WireValue::Varint(*number)),
            Self::Text(text) => Some(WireValue::Text(text)),
            Self::Bytes(bytes) => Some(WireValue::Bytes(bytes)),
            Self::Message(_) | Self::Merged(_) => Some(WireValue::Message(self.parts())),
            Self::Absent | Self::Present | Self::List(..) | Self::Entries(_) => None,
        }
    }
}

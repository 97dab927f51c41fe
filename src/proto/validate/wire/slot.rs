//! What the walk has read of a field.

use std::slice;

use crate::proto::validate::value::WireValue;
use crate::proto::validate::wire::fault::Broken;

/// What has been read of a field so far.
pub(super) enum Slot<'a> {
    Absent,
    /// There, and of no interest beyond that.
    Present,
    Varint(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A message in one encoding, which is the usual case.
    Message(&'a [u8]),
    /// A message in several encodings.
    Merged(Vec<&'a [u8]>),
    /// How many items a list has, and what is wrong with the first bad one.
    List(usize, Option<Box<Broken>>),
    /// The entries of a map as they came.
    Entries(Vec<&'a [u8]>),
}

impl<'a> Slot<'a> {
    /// One more encoding of a message.
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

    /// One more entry of a map.
    pub(super) fn with_entry(self, entry: &'a [u8]) -> Self {
        match self {
            Self::Entries(mut entries) => {
                entries.push(entry);
                Self::Entries(entries)
            }
            _ => Self::Entries(vec![entry]),
        }
    }

    /// The encodings of a message; none for anything else.
    pub(super) fn parts(&self) -> &[&'a [u8]] {
        match self {
            Self::Message(encoded) => slice::from_ref(encoded),
            Self::Merged(parts) => parts,
            _ => &[],
        }
    }

    /// The value that a rule is about; nothing where there is none.
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

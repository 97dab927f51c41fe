//! Texts that many records share, encoded for a record.

use crate::agent::c1z::image::keys::Ranks;
use crate::agent::c1z::image::record::{put_varint, text_kind};

/// Up to three adjacent texts of a record, encoded.
#[derive(Debug, Default)]
pub(super) struct Coded {
    /// Their types in the record's header.
    types: [u8; TYPES],
    types_len: u8,
    /// Their bytes.
    pub(super) bytes: Box<[u8]>,
}

/// The type of one text takes at most five bytes.
const TYPES: usize = 15;

impl Coded {
    pub(super) fn new(texts: &[&str]) -> Self {
        let mut types = Vec::new();
        for text in texts {
            put_varint(text_kind(text.len()), &mut types);
        }
        let mut coded = Self { bytes: texts.concat().into_bytes().into(), ..Self::default() };
        if let Some(place) = coded.types.get_mut(..types.len()) {
            place.copy_from_slice(&types);
            coded.types_len = types.len() as u8;
        }
        coded
    }

    /// Their size in a record.
    pub(super) fn len(&self) -> usize {
        usize::from(self.types_len) + self.bytes.len()
    }
}

/// A record header under construction. It is short enough that its size takes one byte.
pub(super) struct Header {
    bytes: [u8; LONGEST],
    len: usize,
}

/// More than the longest header here, which is that of a table row.
const LONGEST: usize = 64;

impl Header {
    pub(super) fn new() -> Self {
        Self { bytes: [0; LONGEST], len: 1 }
    }

    /// Adds texts.
    pub(super) fn texts(&mut self, coded: &Coded) {
        // Copying the whole array is faster than copying a part of it.
        if let Some(place) = self.bytes.get_mut(self.len..self.len + TYPES) {
            place.copy_from_slice(&coded.types);
            self.len += usize::from(coded.types_len);
        }
    }

    /// Adds a value whose kind takes one byte.
    pub(super) fn short(&mut self, kind: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = kind;
            self.len += 1;
        }
    }

    /// Adds a value of any kind.
    pub(super) fn value(&mut self, kind: u64) {
        let mut groups = 1;
        while groups < 9 && kind >> (7 * groups) > 0 {
            groups += 1;
        }
        for group in (0..groups).rev() {
            self.short((kind >> (7 * group)) as u8 & 0x7f | if group > 0 { 0x80 } else { 0 });
        }
    }

    /// Appends the header.
    pub(super) fn put(&mut self, out: &mut Vec<u8>) {
        self.bytes[0] = self.len as u8;
        out.extend_from_slice(self.bytes.get(..self.len).unwrap_or_default());
    }
}

/// The encoded parts of index entries, by the numbers of the keys.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) entitlements: Vec<Coded>,
    pub(super) principals: Vec<Coded>,
    /// The ends of ids: `:<principal type>:<principal id>`.
    pub(super) ends: Vec<Box<[u8]>>,
    pub(super) owners: Vec<Coded>,
    pub(super) syncs: Vec<Coded>,
}

impl Codes {
    pub(super) fn new(ranks: &Ranks<'_>) -> Self {
        Self {
            entitlements: ranks.entitlements.values.iter().map(|id| Coded::new(&[id])).collect(),
            principals: ranks.principals.values.iter().map(|(kind, id)| Coded::new(&[kind, id])).collect(),
            ends: ranks.principals.values.iter().map(|(kind, id)| end_of_id(kind, id)).collect(),
            owners: ranks.owners.values.iter().map(|(kind, id)| Coded::new(&[kind, id])).collect(),
            syncs: ranks.syncs.values.iter().map(|id| Coded::new(&[id])).collect(),
        }
    }
}

/// The end of a standard id of a principal's grant.
pub(super) fn end_of_id(kind: &str, id: &str) -> Box<[u8]> {
    [":", kind, ":", id].concat().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::c1z::image::record::{self, Value};

    #[test]
    fn writes_the_same_bytes_as_the_record_module() {
        let long = "x".repeat(9_000);
        for texts in [["a", "", "b"], ["a", &long, &long], ["", "", ""]] {
            let coded = Coded::new(&texts);
            let mut header = Header::new();
            header.texts(&coded);
            header.short(0);
            header.value(text_kind(long.len()));
            let mut out = Vec::new();
            header.put(&mut out);
            out.extend_from_slice(&coded.bytes);
            out.extend_from_slice(long.as_bytes());
            let [one, two, three] = texts.map(|text| Value::Text(text.as_bytes()));
            let values = [one, two, three, Value::Null, Value::Text(long.as_bytes())];
            let mut expected = Vec::new();
            record::put(&values, &mut expected);
            assert_eq!(out, expected);
            assert_eq!(record::len(&values), 1 + coded.len() + 1 + 3 + long.len());
        }
    }
}

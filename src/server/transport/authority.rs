//! Replaces the `:authority` of callers on a unix socket with one that is valid in HTTP/2.
//!
//! Some clients, including gRPC's C core, send the path of the socket as authority, such as `/run/a.sock` or
//! `%2Frun%2Fa.sock`. Such an authority is invalid, and the calls would be reset. The server does not use the
//! authority, so each character that may be invalid is replaced. The length does not change, so the header
//! tables of both sides stay the same and the bytes can be changed as they pass through. Huffman-coded values
//! are not changed: these clients send the authority uncompressed.

/// The length of the preface of HTTP/2.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const AUTHORITY: &[u8] = b":authority";
/// The index of the authority in the static table.
const INDEX: u8 = 1;

/// Parses the bytes of one connection.
#[derive(Debug)]
pub(crate) struct Authorities {
    frame: Frame,
    field: Field,
}

/// The position of the next byte in the sequence of frames.
#[derive(Debug)]
enum Frame {
    Preface {
        left: usize,
    },
    Head {
        bytes: [u8; HEAD],
        filled: usize,
    },
    /// The length of the padding, in a frame with `left` more bytes.
    PadLength {
        left: usize,
        priority: bool,
    },
    Priority {
        left: usize,
        fragment: usize,
        padding: usize,
    },
    Fragment {
        left: usize,
        padding: usize,
    },
    Skipped {
        left: usize,
    },
}

/// The position of the next byte in a list of headers.
#[derive(Debug, Clone, Copy)]
enum Field {
    Start,
    /// The rest of a number, and the state after it.
    Number {
        then: Then,
    },
    NameLength,
    /// The bytes of a name, and how many of them match the name of the authority; `None` if it is another
    /// name.
    Name {
        left: usize,
        same: Option<usize>,
    },
    ValueLength {
        rewrite: bool,
    },
    /// The rest of the length of a string.
    LengthTail {
        value: bool,
        rewrite: bool,
        huffman: bool,
        length: usize,
        shift: u32,
    },
    Value {
        left: usize,
        rewrite: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Start,
    Value,
}

impl Default for Authorities {
    fn default() -> Self {
        Self { frame: Frame::Preface { left: PREFACE }, field: Field::Start }
    }
}

impl Authorities {
    /// Processes the next bytes and replaces the characters of authorities.
    pub(crate) fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.next(byte);
        }
    }

    fn next(&mut self, byte: &mut u8) {
        self.frame = match std::mem::replace(&mut self.frame, Frame::Skipped { left: 0 }) {
            Frame::Preface { left } if left > 1 => Frame::Preface { left: left - 1 },
            Frame::Preface { .. } => Frame::begin(),
            Frame::Head { mut bytes, filled } => {
                bytes[filled] = *byte;
                if filled + 1 < HEAD { Frame::Head { bytes, filled: filled + 1 } } else { Frame::of(bytes) }
            }
            Frame::PadLength { left, priority } => {
                let padding = usize::from(*byte).min(left - 1);
                let rest = left - 1 - padding;
                Frame::with_fragment(rest, padding, priority)
            }
            Frame::Priority { left, fragment, padding } if left > 1 => {
                Frame::Priority { left: left - 1, fragment, padding }
            }
            Frame::Priority { fragment, padding, .. } => Frame::fragment(fragment, padding),
            Frame::Fragment { left, padding } => {
                self.field = self.field.next(byte);
                Frame::fragment(left - 1, padding)
            }
            Frame::Skipped { left } => Frame::skip(left - 1),
        };
    }
}

impl Frame {
    fn begin() -> Self {
        Self::Head { bytes: [0; HEAD], filled: 0 }
    }

    fn of(head: [u8; HEAD]) -> Self {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        match kind {
            HEADERS if flags & PADDED != 0 && length > 0 => {
                Self::PadLength { left: length, priority: flags & PRIORITY != 0 }
            }
            HEADERS => Self::with_fragment(length, 0, flags & PRIORITY != 0),
            CONTINUATION => Self::fragment(length, 0),
            _ => Self::skip(length),
        }
    }

    /// The state for `length` bytes, of which the priority takes the first ones if there is one.
    fn with_fragment(length: usize, padding: usize, priority: bool) -> Self {
        const BYTES: usize = 5;
        if priority && length >= BYTES {
            return Self::Priority { left: BYTES, fragment: length - BYTES, padding };
        }
        Self::fragment(length, padding)
    }

    fn fragment(left: usize, padding: usize) -> Self {
        if left > 0 { Self::Fragment { left, padding } } else { Self::skip(padding) }
    }

    fn skip(left: usize) -> Self {
        if left > 0 { Self::Skipped { left } } else { Self::begin() }
    }
}

impl Field {
    fn next(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => Self::of(*byte),
            Self::Number { .. } if *byte & 0x80 != 0 => self,
            Self::Number { then: Then::Start } => Self::Start,
            Self::Number { then: Then::Value } => Self::ValueLength { rewrite: false },
            Self::NameLength => Self::length(*byte, false, false),
            Self::ValueLength { rewrite } => Self::length(*byte, true, rewrite),
            Self::LengthTail { value, rewrite, huffman, length, shift } => {
                // On overflow the value is longer than any list of headers; the HTTP/2 reader refuses it.
                let more = usize::from(*byte & 0x7f).checked_shl(shift).unwrap_or(usize::MAX / 4);
                let length = length.saturating_add(more);
                if *byte & 0x80 != 0 {
                    return Self::LengthTail { value, rewrite, huffman, length, shift: (shift + 7).min(28) };
                }
                Self::string(length, value, rewrite, huffman)
            }
            Self::Name { left, same } => {
                let same = same.filter(|at| AUTHORITY.get(*at) == Some(byte)).map(|at| at + 1);
                if left > 1 {
                    return Self::Name { left: left - 1, same };
                }
                Self::ValueLength { rewrite: same == Some(AUTHORITY.len()) }
            }
            Self::Value { left, rewrite } => {
                if rewrite && !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')) {
                    *byte = b'x';
                }
                if left > 1 { Self::Value { left: left - 1, rewrite } } else { Self::Start }
            }
        }
    }

    /// The state after this byte.
    fn of(byte: u8) -> Self {
        let (mask, then) = match byte {
            0x80.. => (0x7f, Then::Start),
            0x40.. => (0x3f, Then::Value),
            0x20.. => (0x1f, Then::Start),
            _ => (0x0f, Then::Value),
        };
        let index = byte & mask;
        match then {
            _ if index == mask => Self::Number { then },
            Then::Start => Self::Start,
            Then::Value if index == 0 => Self::NameLength,
            Then::Value => Self::ValueLength { rewrite: index == INDEX },
        }
    }

    fn length(byte: u8, value: bool, rewrite: bool) -> Self {
        let (huffman, length) = (byte & 0x80 != 0, usize::from(byte & 0x7f));
        if length == 0x7f {
            return Self::LengthTail { value, rewrite, huffman, length, shift: 0 };
        }
        Self::string(length, value, rewrite, huffman)
    }

    fn string(length: usize, value: bool, rewrite: bool, huffman: bool) -> Self {
        match (value, length) {
            (true, 0) => Self::Start,
            (false, 0) => Self::ValueLength { rewrite: false },
            (true, left) => Self::Value { left, rewrite: rewrite && !huffman },
            (false, left) => Self::Name { left, same: Some(0).filter(|_| !huffman) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// The bytes after processing, passed in pieces of any size.
    fn passed(frames: &[Vec<u8>]) -> Vec<u8> {
        let whole = [START, &frames.concat()].concat();
        let results: Vec<_> = [1, 2, 7, whole.len()]
            .into_iter()
            .map(|size| {
                let (mut bytes, mut authorities) = (whole.clone(), Authorities::default());
                bytes.chunks_mut(size).for_each(|piece| authorities.pass(piece));
                bytes
            })
            .collect();
        assert!(results.iter().all(|result| *result == results[0]));
        results[0][START.len()..].to_vec()
    }

    #[test]
    fn only_an_authority_is_replaced_whether_sent_by_index_or_by_name() {
        let by_index = [b"\x82\x86\x41\x06/a.s:k".as_slice(), b"\x44\x04/a/b", b"\x00\x01k\x03/%@"].concat();
        let rewritten = [b"\x82\x86\x41\x06xa.sxk".as_slice(), b"\x44\x04/a/b", b"\x00\x01k\x03/%@"].concat();
        assert_eq!(passed(&[frame(1, 4, &by_index)]), frame(1, 4, &rewritten));
        let by_name = |value: &[u8]| [b"\x40\x0a:authority\x05".as_slice(), value, b"\x84"].concat();
        assert_eq!(passed(&[frame(1, 4, &by_name(b"%2Fa-"))]), frame(1, 4, &by_name(b"x2Fa-")));
        let other = b"\x40\x0a:authoritz\x05/a/b/".to_vec();
        assert_eq!(passed(&[frame(1, 4, &other)]), frame(1, 4, &other));
    }

    #[test]
    fn parses_padding_priority_continuations_and_other_frames() {
        let padded = [b"\x02\x00\x00\x00\x00\x10\x41\x03/a/".as_slice(), b"//"].concat();
        let expected = [b"\x02\x00\x00\x00\x00\x10\x41\x03xax".as_slice(), b"//"].concat();
        let data = frame(0, 1, b"\x41\x03/a/");
        let (first, second) = (frame(1, 0, b"\x41\x05/a"), frame(9, 4, b"/b/"));
        let (first_after, second_after) = (frame(1, 0, b"\x41\x05xa"), frame(9, 4, b"xbx"));
        assert_eq!(
            passed(&[frame(1, 0x2c, &padded), data.clone(), frame(4, 0, b""), first, second]),
            [frame(1, 0x2c, &expected), data, frame(4, 0, b""), first_after, second_after].concat()
        );
    }

    #[test]
    fn parses_long_values_and_numbers() {
        let long =
            |letter: u8| [b"\x41\x7f\x03".as_slice(), &[letter; 130], b"\xff\x80\x01\x3f\x01"].concat();
        assert_eq!(passed(&[frame(1, 4, &long(b'/'))]), frame(1, 4, &long(b'x')));
        let huffman = b"\x41\x82//\x41\x01/".to_vec();
        assert_eq!(passed(&[frame(1, 4, &huffman)]), frame(1, 4, b"\x41\x82//\x41\x01x"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_processed_without_a_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let mut passed = bytes.clone();
            let mut authorities = Authorities { frame: Frame::begin(), field: Field::Start };
            authorities.pass(&mut passed);
            proptest::prop_assert_eq!(passed.len(), bytes.len());
        }
    }
}

//! Encodes rows and index entries in SQLite's record format: a header with the kind and size of each value,
//! followed by the values.

/// A value of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a [u8]),
    Blob(&'a [u8]),
}

/// The number of bytes that [`put`] appends.
pub(super) fn len(values: &[Value<'_>]) -> usize {
    let types: usize = values.iter().map(|value| varint_len(kind(value))).sum();
    let content: usize = values.iter().map(content_len).sum();
    header_len(types) + content
}

/// Appends a record.
pub(super) fn put(values: &[Value<'_>], out: &mut Vec<u8>) {
    let types = values.iter().map(|value| varint_len(kind(value))).sum();
    put_varint(header_len(types) as u64, out);
    for value in values {
        put_varint(kind(value), out);
    }
    for value in values {
        match value {
            Value::Null => {}
            Value::Integer(number) => put_integer(*number, out),
            Value::Text(bytes) | Value::Blob(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// The size of a header, including its own size field, whose types take `types` bytes. No header here is long
/// enough for its size to take three bytes.
fn header_len(types: usize) -> usize {
    if types + 1 < 0x80 { types + 1 } else { types + 2 }
}

/// Appends a variable-length integer: seven bits in each byte, the most significant first, and eight bits in
/// a ninth byte.
pub(super) fn put_varint(number: u64, out: &mut Vec<u8>) {
    // Nearly all numbers are lengths of short texts.
    if number < 0x80 {
        return out.push(number as u8);
    }
    if number < 0x4000 {
        return out.extend_from_slice(&[(number >> 7) as u8 | 0x80, number as u8 & 0x7f]);
    }
    let mut bytes = [0; 9];
    let length = varint_len(number);
    let mut rest = number;
    if length == 9 {
        bytes[8] = rest as u8;
        rest >>= 8;
        for byte in bytes.iter_mut().take(8).rev() {
            *byte = (rest as u8 & 0x7f) | 0x80;
            rest >>= 7;
        }
    } else {
        for (back, byte) in bytes.iter_mut().take(length).rev().enumerate() {
            *byte = (rest as u8 & 0x7f) | if back == 0 { 0 } else { 0x80 };
            rest >>= 7;
        }
    }
    out.extend_from_slice(bytes.get(..length).unwrap_or_default());
}

pub(super) fn varint_len(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    if bits > 56 { 9 } else { bits.div_ceil(7) }
}

/// The code for a value's kind and size.
fn kind(value: &Value<'_>) -> u64 {
    match value {
        Value::Null => 0,
        Value::Integer(0) => 8,
        Value::Integer(1) => 9,
        Value::Integer(number) => match integer_len(*number) {
            length @ 1..=4 => length as u64,
            6 => 5,
            _ => 6,
        },
        Value::Blob(bytes) => blob_kind(bytes.len()),
        Value::Text(bytes) => text_kind(bytes.len()),
    }
}

/// The code of a blob of this size.
pub(super) fn blob_kind(length: usize) -> u64 {
    length as u64 * 2 + 12
}

/// The code of a text of this size.
pub(super) fn text_kind(length: usize) -> u64 {
    blob_kind(length) + 1
}

/// The code of an integer, which takes one byte, and the number of its bytes that are stored.
pub(super) fn integer(number: i64) -> (u8, usize) {
    let value = Value::Integer(number);
    (kind(&value) as u8, content_len(&value))
}

/// The number of bytes that a value takes after the header.
fn content_len(value: &Value<'_>) -> usize {
    match value {
        Value::Null | Value::Integer(0 | 1) => 0,
        Value::Integer(number) => integer_len(*number),
        Value::Text(bytes) | Value::Blob(bytes) => bytes.len(),
    }
}

fn put_integer(number: i64, out: &mut Vec<u8>) {
    if !(0..=1).contains(&number) {
        let bytes = number.to_be_bytes();
        out.extend_from_slice(bytes.get(8 - integer_len(number)..).unwrap_or_default());
    }
}

/// The number of bytes that an integer takes: 1 to 4, 6 or 8.
fn integer_len(number: i64) -> usize {
    // One additional bit for the sign.
    let bits = 65 - (if number < 0 { !number } else { number }).leading_zeros();
    match bits {
        ..=8 => 1,
        9..=16 => 2,
        17..=24 => 3,
        25..=32 => 4,
        33..=48 => 6,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_varints() {
        let written = |number| {
            let mut out = Vec::new();
            put_varint(number, &mut out);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(0x7f), [0x7f]);
        assert_eq!(written(0x80), [0x81, 0]);
        assert_eq!(written(0x4000), [0x81, 0x80, 0]);
        assert_eq!(written((1 << 56) - 1), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(written(1 << 56), [0x80, 0xc0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]);
        assert_eq!(written(u64::MAX), [0xff; 9]);
    }

    #[test]
    fn encodes_records() {
        let mut out = Vec::new();
        put(&[Value::Null, Value::Integer(1), Value::Text(b"ab"), Value::Blob(b"c")], &mut out);
        assert_eq!(out, [5, 0, 9, 17, 14, b'a', b'b', b'c']);
        for (number, bytes) in [
            (0, &[2, 8][..]),
            (2, &[2, 1, 2]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (32768, &[2, 3, 0, 128, 0]),
            (1 << 23, &[2, 4, 0, 128, 0, 0]),
            (1 << 31, &[2, 5, 0, 0, 128, 0, 0, 0]),
            (-1, &[2, 1, 255]),
        ] {
            let mut out = Vec::new();
            put(&[Value::Integer(number)], &mut out);
            assert_eq!(out, bytes, "{number}");
            assert_eq!(len(&[Value::Integer(number)]), bytes.len(), "{number}");
        }
    }
}

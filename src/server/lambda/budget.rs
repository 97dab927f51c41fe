//! Limits on the JSON of a request, checked before it is decoded.

use crate::proto::validate::ELEMENTS;

/// How deep values can be nested.
pub(super) const DEPTH: usize = 100;

/// The limit that a text exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// The number of values.
    Elements,
    /// The nesting of values.
    Depth,
}

/// Counts the values of a JSON text. The text can be invalid.
///
/// # Errors
/// [`Excess`]
pub(super) fn check(text: &str) -> Result<(), Excess> {
    let (mut elements, mut depth) = (0_u32, 0_usize);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_text(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                elements += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' | b':' => elements += 1,
            _ => {}
        }
        if elements > ELEMENTS {
            return Err(Excess::Elements);
        }
        if depth > DEPTH {
            return Err(Excess::Depth);
        }
    }
    Ok(())
}

/// Skips the rest of a string whose opening quote has been read.
fn skip_text(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

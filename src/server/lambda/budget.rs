//! What an event may hold, looked at before anything is built of it.

use crate::proto::validate::ELEMENTS;

/// How deep values may be nested.
const DEPTH: usize = 100;

/// What is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Values.
    Elements,
    /// Values in values.
    Depth,
}

/// Whether a JSON text has few enough values. The text need not be right.
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

/// Goes on behind the end of a text whose beginning has been read.
fn skip_text(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

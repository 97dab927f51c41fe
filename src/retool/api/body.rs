//! Reads the body of a response in chunks, and no further than needed.

use bytes::Bytes;
use reqwest::Response;
use tokio::sync::mpsc;

use crate::retool::api::json::{self, Envelope, Want};

/// Why a body cannot be read.
#[derive(Debug)]
pub(super) enum BodyError {
    /// The body, or a text in it, is too long.
    TooLarge,
    Broken(reqwest::Error),
    NotJson,
}

/// Longest text in a response, in bytes. The parser reads one text at a time.
const LONGEST_TEXT: usize = 256 * 1024;
/// How many chunks of a response are read ahead.
const AHEAD: usize = 2;

/// Reads a response of at most `largest` bytes.
pub(super) async fn read(mut response: Response, largest: usize, want: Want) -> Result<Envelope, BodyError> {
    let (pieces, received) = mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || json::read(received, &want));
    let fed = feed(&mut response, largest, &pieces).await;
    // Signals the end of the response, or of this attempt, to the parser.
    drop(pieces);
    fed?;
    match reading.await {
        Ok(Ok(envelope)) => Ok(envelope),
        Ok(Err(json::NotJson)) | Err(_) => Err(BodyError::NotJson),
    }
}

/// Passes the response to the parser until the response ends or the parser needs no more.
async fn feed(
    response: &mut Response,
    largest: usize,
    pieces: &mpsc::Sender<Bytes>,
) -> Result<(), BodyError> {
    let (mut length, mut text) = (0, TextLength::default());
    while let Some(piece) = response.chunk().await.map_err(BodyError::Broken)? {
        length += piece.len();
        if length > largest || text.exceeds(LONGEST_TEXT, &piece) {
            return Err(BodyError::TooLarge);
        }
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The distance to the last quotation mark that may end a text.
#[derive(Default)]
struct TextLength {
    length: usize,
    after_backslash: bool,
}

impl TextLength {
    /// Whether a text is longer than `longest`. Also true for other long parts without any text, which no
    /// response of Retool has.
    fn exceeds(&mut self, longest: usize, piece: &[u8]) -> bool {
        for byte in piece {
            self.length = if *byte == b'"' && !self.after_backslash { 0 } else { self.length + 1 };
            self.after_backslash = *byte == b'\\';
            if self.length > longest {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_a_long_text_with_any_content() {
        let exceeds = |text: &str| {
            let mut length = TextLength::default();
            text.as_bytes().chunks(4).any(|piece| length.exceeds(40, piece))
        };
        assert!(!exceeds(&r#"{"a":"bc"},"#.repeat(100)));
        assert!(!exceeds(&format!(r#"{{"a":"{}"}}"#, "x".repeat(30))));
        assert!(exceeds(&format!(r#"{{"a":"{}"}}"#, "x".repeat(50))));
        assert!(exceeds(&format!(r#"{{"a":"{}"}}"#, r#"\""#.repeat(30))));
        assert!(exceeds(&format!(r#"{{"a":"{}"}}"#, r"\\".repeat(30))));
        assert!(exceeds(&"0,".repeat(30)));
    }
}

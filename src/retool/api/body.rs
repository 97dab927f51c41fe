//! The body of an answer, read as it comes and no further than needed.

use bytes::Bytes;
use reqwest::Response;
use tokio::sync::mpsc;

use crate::retool::api::json::{self, Envelope, Want};

/// Why a body cannot be had.
#[derive(Debug)]
pub(super) enum BodyError {
    /// It, or a text in it, is too long.
    TooLarge,
    Broken(reqwest::Error),
    NotJson,
}

/// Longest text in an answer, in bytes. JSON is read a text at a time.
const LONGEST_TEXT: usize = 256 * 1024;
/// How many pieces of an answer are read ahead.
const AHEAD: usize = 2;

/// What an answer of at most so many bytes says.
pub(super) async fn read(mut response: Response, largest: usize, want: Want) -> Result<Envelope, BodyError> {
    let (pieces, received) = mpsc::channel(AHEAD);
    let reading = tokio::task::spawn_blocking(move || json::read(received, &want));
    let fed = feed(&mut response, largest, &pieces).await;
    // The end of the answer, or of this attempt.
    drop(pieces);
    fed?;
    match reading.await {
        Ok(Ok(envelope)) => Ok(envelope),
        Ok(Err(json::NotJson)) | Err(_) => Err(BodyError::NotJson),
    }
}

/// Passes the answer on until it ends or the reader has enough.
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

/// How long it has been since the last quotation mark that may end a text.
#[derive(Default)]
struct TextLength {
    length: usize,
    after_backslash: bool,
}

impl TextLength {
    /// Whether some text has become longer than that. Also says so of other long parts without any text,
    /// which no answer of Retool's has.
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
    fn a_long_text_is_noticed_whatever_it_holds() {
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

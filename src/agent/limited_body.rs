//! Reads the body of an HTTP response up to a maximum length.

use reqwest::Response;

/// The reason why a body was not read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The connection failed.
    Connection(reqwest::Error),
    /// The body is longer than allowed.
    TooLong,
}

/// Reads a body of at most `longest` bytes. Never holds more than that in memory.
///
/// # Errors
/// [`BodyError`]
pub(crate) async fn read(mut answer: Response, longest: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(BodyError::Connection)? {
        if body.len() + piece.len() > longest {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

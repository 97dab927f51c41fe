//! What the log says of a status. The message of a status is for the caller and may repeat what the caller
//! sent, which can be anything, a person's e-mail address or a token too; the log must not have it.

use std::sync::Arc;

use tonic::Status;

/// The message of a status with `...` in place of what the caller sent, kept as the status's source: there
/// it goes with the status as far as the log, and no further.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LogText(String);

/// The status, of which the log says `text`.
#[must_use]
pub fn logged_as(mut status: Status, text: impl Into<String>) -> Status {
    status.set_source(Arc::new(LogText(text.into())));
    status
}

/// The status, of which the log says what the caller hears: nothing in it is the caller's.
#[must_use]
pub fn logged_in_full(status: Status) -> Status {
    let text = status.message().to_owned();
    logged_as(status, text)
}

/// What the log says of the status; nothing for a status that others have made, whose message may hold
/// anything.
pub fn log_text(status: &Status) -> Option<&str> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<LogText>().map(|LogText(text)| text.as_str())
}

//! The text of a status for the log. The message of a status is for the caller and may repeat what the
//! caller sent, such as a person's e-mail address or a token, which must not be logged.

use std::sync::Arc;

use tonic::Status;

/// The message of a status without what the caller sent. It is the source of the status, which stays in
/// this process.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LogText(String);

/// The status, with the text to log for it.
#[must_use]
pub fn logged_as(mut status: Status, text: impl Into<String>) -> Status {
    status.set_source(Arc::new(LogText(text.into())));
    status
}

/// The status, with its message as the text to log, since it repeats nothing that the caller sent.
#[must_use]
pub fn logged_in_full(status: Status) -> Status {
    let text = status.message().to_owned();
    logged_as(status, text)
}

/// The text to log for the status; nothing for a status of a library, whose message may hold anything.
pub fn log_text(status: &Status) -> Option<&str> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<LogText>().map(|LogText(text)| text.as_str())
}

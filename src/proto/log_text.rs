//! The text of a status for the log. The message of a status is for the caller and can contain input of the
//! caller, such as a person's e-mail address or a token, which must not be logged.

use std::sync::Arc;

use tonic::Status;

/// The message of a status without input of the caller. It is the source of the status, which is not sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct LogText(String);

/// Attaches the text to log to the status.
#[must_use]
pub fn logged_as(mut status: Status, text: impl Into<String>) -> Status {
    status.set_source(Arc::new(LogText(text.into())));
    status
}

/// Attaches the message of the status as the text to log. Use it only for a message without input of the
/// caller.
#[must_use]
pub fn logged_in_full(status: Status) -> Status {
    let text = status.message().to_owned();
    logged_as(status, text)
}

/// The text to log for the status; `None` for a status of a library, whose message can contain any text.
pub fn log_text(status: &Status) -> Option<&str> {
    let source = std::error::Error::source(status)?;
    source.downcast_ref::<LogText>().map(|LogText(text)| text.as_str())
}

//! What is wrong with an argument, said twice: to the caller, and to the log without the caller's words.

use std::fmt;

use super::error::shortened;

/// What stands in the log for what a caller sent.
pub(super) const LEFT_OUT: &str = "...";

/// What is wrong, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    text: String,
    /// Where it differs.
    for_log: Option<String>,
}

impl Problem {
    /// One that repeats what the caller sent: `say` gets each of these texts, quoted and shortened.
    pub(super) fn quoting<const N: usize>(given: [&str; N], say: impl Fn([String; N]) -> String) -> Self {
        Self { text: say(given.map(shortened)), for_log: Some(say(given.map(|_| shortened(LEFT_OUT)))) }
    }

    /// As the log may have it.
    pub(super) fn for_log(self) -> Self {
        Self { text: self.for_log.unwrap_or(self.text), for_log: None }
    }
}

/// One that repeats nothing.
impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), for_log: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

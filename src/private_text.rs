//! Text that can be about a person: shown to the caller that sent the request, left out everywhere else
//! (decision nothing-personal-in-logs).
//!
//! All text from callers and from Retool's tables and triggers passes through this type.

use std::cell::Cell;
use std::fmt;

/// Text from a request or from Retool's database, quoted and short enough for one line.
///
/// It can be any text, including a person's e-mail address or a token. It is therefore formatted as `"..."`,
/// and an error that contains it is safe to log. Only [`reveal`] shows it, in the answer to the caller that
/// sent the request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PrivateText(String);

/// Longest text that is shown, in characters.
const LONGEST: usize = 80;
/// The replacement for the text outside [`reveal`].
const LEFT_OUT: &str = "...";

thread_local! {
    /// Whether the current formatting on this thread shows private text.
    static REVEALED: Cell<bool> = const { Cell::new(false) };
}

/// Formats an error with its private text. Use it only for the answer to the caller.
pub(crate) fn reveal(error: &impl fmt::Display) -> String {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            REVEALED.set(self.0);
        }
    }
    let _restore = Restore(REVEALED.replace(true));
    error.to_string()
}

impl PrivateText {
    /// The text without quotes and at full length, for sentences and for ids that are known to be well
    /// formed.
    pub(crate) fn unquoted(&self) -> impl fmt::Display {
        self.or(LEFT_OUT)
    }

    /// The text in [`reveal`], and `safe` everywhere else.
    pub(crate) fn or<'a>(&'a self, safe: &'a str) -> &'a str {
        if REVEALED.get() { &self.0 } else { safe }
    }
}

impl From<&str> for PrivateText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for PrivateText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for PrivateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if REVEALED.get() { self.0.as_str() } else { LEFT_OUT };
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "{:?}...", &text[..end]),
            None => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Debug for PrivateText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateText({LEFT_OUT})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_text_is_shown_only_in_reveal() {
        let text = PrivateText::from("ann@example.com");
        assert_eq!(reveal(&text), r#""ann@example.com""#);
        assert_eq!(text.to_string(), r#""...""#);
        assert!(!format!("{text:?}").contains("ann"));
    }

    #[test]
    fn long_private_text_is_shortened() {
        let text = reveal(&PrivateText::from("é".repeat(81)));
        assert_eq!(text, format!("{:?}...", "é".repeat(80)));
    }
}

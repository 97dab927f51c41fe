//! Text that came from a caller: shown to that caller, left out everywhere else.

use std::cell::Cell;
use std::fmt;

/// Text from a request, quoted and short enough for one line.
///
/// It can be anything, a person's e-mail address or a token too. So it formats as `"..."`, and an error that
/// contains it is safe to log. Only [`reveal`] shows it, for the answer to the caller who sent it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CallerText(String);

/// Longest text that is repeated, in characters.
const LONGEST: usize = 80;
/// What stands for the text outside [`reveal`].
const LEFT_OUT: &str = "...";

thread_local! {
    /// Whether caller text is shown by what this thread formats now.
    static REVEALED: Cell<bool> = const { Cell::new(false) };
}

/// Formats an error with the caller's text in it. Use it only for the answer to that caller.
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

impl CallerText {
    /// The text without quotes and at its full length, for ids that are known to be well formed.
    pub(crate) fn unquoted(&self) -> impl fmt::Display {
        if REVEALED.get() { self.0.as_str() } else { LEFT_OUT }
    }
}

impl From<&str> for CallerText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for CallerText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for CallerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if REVEALED.get() { self.0.as_str() } else { LEFT_OUT };
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => write!(f, "{:?}...", &text[..end]),
            None => write!(f, "{text:?}"),
        }
    }
}

impl fmt::Debug for CallerText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallerText({LEFT_OUT})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caller_text_is_shown_only_while_it_is_revealed() {
        let text = CallerText::from("ann@example.com");
        assert_eq!(reveal(&text), r#""ann@example.com""#);
        assert_eq!(text.to_string(), r#""...""#);
        assert!(!format!("{text:?}").contains("ann"));
    }

    #[test]
    fn long_caller_text_is_shortened() {
        let text = reveal(&CallerText::from("é".repeat(81)));
        assert_eq!(text, format!("{:?}...", "é".repeat(80)));
    }
}

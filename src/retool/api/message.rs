//! Makes messages of Retool's REST API safe to show: short, in one line, and without personal data that they
//! may quote.

use std::collections::BTreeSet;

/// Longest text to show, in characters.
const LONGEST: usize = 200;
/// The placeholder for removed text.
pub(super) const LEFT_OUT: &str = "(...)";

/// The parts of a request that must not be shown when a response repeats them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hidden(BTreeSet<String>);

impl Hidden {
    /// Hides all parts of these texts.
    pub(super) fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        // Only the local part of an address counts. The domain is hidden with the whole address, and alone it
        // identifies no person.
        let named = |text: &'a str| text.rsplit_once('@').map_or(text, |(name, _)| name);
        let texts: Vec<_> = texts.into_iter().map(|text| named(text).to_lowercase()).collect();
        Self(texts.iter().flat_map(|text| pieces(text)).map(str::to_owned).collect())
    }

    /// The message, safe to show; `None` for no message.
    pub(super) fn shown(&self, message: Option<&str>) -> Option<String> {
        let mut shown = String::new();
        for word in message?.split(|c: char| c.is_whitespace() || c.is_control()) {
            let word = if self.hides(word) { LEFT_OUT } else { word };
            if word.is_empty() {
                continue;
            }
            if !shown.is_empty() {
                shown.push(' ');
            }
            shown.push_str(word);
            if let Some((end, _)) = shown.char_indices().nth(LONGEST) {
                shown.truncate(end);
                shown.push_str("...");
                break;
            }
        }
        Some(shown).filter(|shown| !shown.is_empty())
    }

    fn hides(&self, word: &str) -> bool {
        let lower = word.to_lowercase();
        lower.contains('@') || lower.contains("%40") || pieces(&lower).any(|piece| self.0.contains(piece))
    }
}

/// The runs of letters and digits. Single characters are left out: they identify no person.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|piece| piece.chars().nth(1).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_personal_data_in_a_message() {
        let hidden = Hidden::words(["Ada.L@Example.com", "Ada", "Lovelace King"]);
        for (said, shown) in [
            ("Invalid request", "Invalid request"),
            ("user ada.l@example.com exists", "user (...) exists"),
            ("user=ada.l%40example.com exists", "(...) exists"),
            ("another: bob@example.org", "another: (...)"),
            ("\"Ada\" (lovelace) is\ntaken\t", "(...) (...) is taken"),
            ("a plain example.com", "a plain example.com"),
        ] {
            assert_eq!(hidden.shown(Some(said)).as_deref(), Some(shown));
        }
    }

    #[test]
    fn shows_a_message_as_one_short_line_or_not_at_all() {
        let shown = Hidden::default().shown(Some(&"é ".repeat(500))).unwrap_or_default();
        assert_eq!(shown.chars().count(), LONGEST + 3);
        assert_eq!(Hidden::default().shown(Some(" \n\u{1b}")), None);
        assert_eq!(Hidden::default().shown(None), None);
    }
}

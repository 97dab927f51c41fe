//! Messages of Retool's REST API, made safe to show: short, in one line, and without personal data that they may quote.

use std::collections::BTreeSet;

/// Longest text that is passed on, in characters.
const LONGEST: usize = 200;
/// What stands for what is left out.
pub(super) const LEFT_OUT: &str = "(...)";

/// The words of a request that an answer must not repeat to its readers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hidden(BTreeSet<String>);

impl Hidden {
    /// All words of these texts.
    pub(super) fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        // Of an address its name: what stands behind the @ goes with the whole address, and by itself
        // says nothing of a person.
        let named = |text: &'a str| text.rsplit_once('@').map_or(text, |(name, _)| name);
        let texts: Vec<_> = texts.into_iter().map(|text| named(text).to_lowercase()).collect();
        Self(texts.iter().flat_map(|text| pieces(text)).map(str::to_owned).collect())
    }

    /// The message as it may be shown; `None` when there is none.
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

/// The runs of letters and digits, single ones left out: they say nothing of anybody.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|piece| piece.chars().nth(1).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_without_the_person() {
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
    fn a_message_is_one_short_line_or_nothing() {
        let shown = Hidden::default().shown(Some(&"é ".repeat(500))).unwrap_or_default();
        assert_eq!(shown.chars().count(), LONGEST + 3);
        assert_eq!(Hidden::default().shown(Some(" \n\u{1b}")), None);
        assert_eq!(Hidden::default().shown(None), None);
    }
}

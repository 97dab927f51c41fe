//! Guards against an endless sync: page tokens that repeat, and cursors that multiply.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// Maximum number of cursors that one sync follows in addition to the pages of its listings.
pub(crate) const MAX_CURSORS: usize = 1_000_000;

/// The page tokens of one listing. Detects a cycle of any length with Brent's algorithm: it stores one token,
/// and replaces it after 1, 2, 4, ... further tokens. A cycle is found within three times the number of
/// pages.
#[derive(Debug)]
pub(crate) struct Chain {
    kept: String,
    steps: u64,
    next_turn: u64,
}

/// Identities that were seen, each as 16 bytes of its digest.
#[derive(Debug, Default)]
pub(crate) struct Met(HashSet<[u8; 16]>);

impl Chain {
    /// Creates a chain that continues at this token; an empty token begins a listing.
    pub(crate) fn new(token: &str) -> Self {
        Self { kept: token.to_owned(), steps: 0, next_turn: 1 }
    }

    /// Takes the next token. Returns false if it leads back to an earlier page.
    #[must_use]
    pub(crate) fn goes_on(&mut self, token: &str) -> bool {
        if token.is_empty() {
            return true;
        }
        if token == self.kept {
            return false;
        }
        self.steps += 1;
        if self.steps == self.next_turn {
            self.next_turn *= 2;
            self.steps = 0;
            token.clone_into(&mut self.kept);
        }
        true
    }
}

impl Met {
    /// Whether these parts are seen for the first time.
    pub(crate) fn is_new<'a>(&mut self, parts: impl IntoIterator<Item = &'a str>) -> bool {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part.as_bytes());
        }
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(digest.finalize()) {
            *to = from;
        }
        self.0.insert(short)
    }

    /// How many identities were seen.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn detects_the_token_of_the_request_at_once() {
        let mut chain = Chain::new("");
        assert!(chain.goes_on("a"));
        assert!(!chain.goes_on("a"));
        let mut resumed = Chain::new("a");
        assert!(!resumed.goes_on("a"));
    }

    proptest! {
        #[test]
        fn detects_every_cycle(before in 0_usize..200, length in 1_usize..200) {
            let mut chain = Chain::new("");
            let token = |page: usize| {
                (if page < before { page } else { before + (page - before) % length }).to_string()
            };
            let noticed = (0..).find(|&page| !chain.goes_on(&token(page))).unwrap();
            prop_assert!(noticed >= length, "a token came again only after the whole cycle");
            prop_assert!(noticed <= 3 * (before + length) + 1, "{noticed}");
        }

        #[test]
        fn a_listing_without_a_cycle_continues(pages in 1_usize..2_000) {
            let mut chain = Chain::new("");
            prop_assert!((0..pages).all(|page| chain.goes_on(&page.to_string())));
        }
    }

    #[test]
    fn distinguishes_identities_by_their_parts() {
        let mut met = Met::default();
        assert!(met.is_new(["ab", "c"]));
        assert!(met.is_new(["a", "bc"]));
        assert!(!met.is_new(["ab", "c"]));
        assert_eq!(met.len(), 2);
    }
}

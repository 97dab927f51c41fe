//! What keeps a connector from making a sync endless: page tokens that come again, and cursors that breed.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

/// How many cursors one sync follows besides the pages of its listings.
pub(crate) const MOST_CURSORS: usize = 1_000_000;

/// The page tokens of one listing. Finds a cycle of any length after at most three times its pages, and keeps one
/// token for that: the one whose turn it was at the last power of two.
#[derive(Debug)]
pub(crate) struct Chain {
    kept: String,
    steps: u64,
    next_turn: u64,
}

/// Identities that were met, each as 16 bytes of its digest.
#[derive(Debug, Default)]
pub(crate) struct Met(HashSet<[u8; 16]>);

impl Chain {
    /// A listing that goes on at this token; empty for one that begins.
    pub(crate) fn new(token: &str) -> Self {
        Self { kept: token.to_owned(), steps: 0, next_turn: 1 }
    }

    /// Takes the next token. False when it leads where the listing has been.
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
    /// Whether these parts are met for the first time.
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

    /// How many were met.
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
    fn the_token_that_was_asked_with_is_noticed_at_once() {
        let mut chain = Chain::new("");
        assert!(chain.goes_on("a"));
        assert!(!chain.goes_on("a"));
        let mut resumed = Chain::new("a");
        assert!(!resumed.goes_on("a"));
    }

    proptest! {
        #[test]
        fn every_cycle_is_noticed(before in 0_usize..200, length in 1_usize..200) {
            let mut chain = Chain::new("");
            let token = |page: usize| {
                (if page < before { page } else { before + (page - before) % length }).to_string()
            };
            let noticed = (0..).find(|&page| !chain.goes_on(&token(page))).unwrap();
            prop_assert!(noticed >= length, "a token came again only after the whole cycle");
            prop_assert!(noticed <= 3 * (before + length) + 1, "{noticed}");
        }

        #[test]
        fn a_listing_without_a_cycle_goes_on(pages in 1_usize..2_000) {
            let mut chain = Chain::new("");
            prop_assert!((0..pages).all(|page| chain.goes_on(&page.to_string())));
        }
    }

    #[test]
    fn identities_are_told_apart_by_their_parts() {
        let mut met = Met::default();
        assert!(met.is_new(["ab", "c"]));
        assert!(met.is_new(["a", "bc"]));
        assert!(!met.is_new(["ab", "c"]));
        assert_eq!(met.len(), 2);
    }
}

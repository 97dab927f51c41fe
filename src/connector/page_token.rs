//! Page tokens: the position at which a listing continues.
//!
//! A token holds only its position, so it works after a restart and on another replica (decision
//! page-tokens). It ends in a checksum over the position and the request that it continues. A token of
//! another listing or another version, or with a changed byte, is rejected. The checksum has no key: it
//! detects mistakes, not forgery. A forged token gives no access that its caller does not have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A row of a listing: the first row that an answer has to consider.
///
/// Rows are ordered by a key, and rows with the same key by their ordinal. A position therefore stays valid
/// when other rows are added or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The primary key; one more than the largest key if the last row has been listed.
    pub key: u32,
    /// The position among the rows with this key.
    pub ordinal: u8,
}

impl Position {
    /// The position before every row.
    pub(crate) const START: Self = Self { key: 0, ordinal: 0 };

    /// The first row of the next key.
    pub(crate) fn after_key(key: u32) -> Self {
        Self { key: key.saturating_add(1), ordinal: 0 }
    }
}

/// The request that a token belongs to. Every part of the request counts: a token of one request cannot be
/// used in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    checksum: [u8; CHECKSUM],
}

impl Listing {
    /// The listing that `method` makes with these parts, such as types, ids and filters, in a fixed order.
    pub(crate) fn new(method: &str, parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in std::iter::once(&method).chain(parts) {
            digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part.as_bytes());
        }
        Self { checksum: truncated(digest) }
    }

    fn checksum(&self, body: &[u8]) -> [u8; CHECKSUM] {
        let mut digest = Sha256::new();
        digest.update(b"baton-retool page token");
        digest.update(self.checksum);
        digest.update(body);
        truncated(digest)
    }

    /// The token to continue this listing at `position`.
    pub(crate) fn token(&self, position: Position) -> String {
        let mut bytes = [0; LENGTH];
        let [version, key @ .., ordinal] = &mut bytes[..BODY] else { return String::new() };
        *version = VERSION;
        key.copy_from_slice(&position.key.to_be_bytes());
        *ordinal = position.ordinal;
        let checksum = self.checksum(&bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position to continue at; [`Position::START`] for an empty token.
    ///
    /// # Errors
    /// The token was not issued by this listing.
    pub(crate) fn position(&self, token: &str) -> Result<Position, InvalidPageToken> {
        if token.is_empty() {
            return Ok(Position::START);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken)?;
        let (body, checksum) = bytes.split_at_checked(BODY).ok_or(InvalidPageToken)?;
        if checksum != self.checksum(body) {
            return Err(InvalidPageToken);
        }
        match *body {
            [VERSION, a, b, c, d, ordinal] => Ok(Position { key: u32::from_be_bytes([a, b, c, d]), ordinal }),
            _ => Err(InvalidPageToken),
        }
    }
}

/// A page token that this listing has not issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "page_token was not issued for this request (it belongs to another request or version, or was altered); start the listing again without a page_token"
)]
pub(crate) struct InvalidPageToken;

const VERSION: u8 = 1;
/// The sizes of version, key and ordinal.
const BODY: usize = 6;
const CHECKSUM: usize = 12;
const LENGTH: usize = BODY + CHECKSUM;

fn truncated(digest: Sha256) -> [u8; CHECKSUM] {
    let mut checksum = [0; CHECKSUM];
    checksum.copy_from_slice(&digest.finalize()[..CHECKSUM]);
    checksum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listing() -> Listing {
        Listing::new("ListGrants", &["page", "p12", "false"])
    }

    #[test]
    fn an_empty_token_starts_the_listing() {
        assert_eq!(listing().position(""), Ok(Position::START));
    }

    #[test]
    fn parts_with_the_same_concatenation_differ() {
        let token = Listing::new("A", &["bc", "d"]).token(Position { key: 3, ordinal: 1 });
        assert_eq!(Listing::new("A", &["b", "cd"]).position(&token), Err(InvalidPageToken));
        assert_eq!(Listing::new("A", &["bc", "d", ""]).position(&token), Err(InvalidPageToken));
    }

    #[test]
    fn rejects_tokens_of_the_go_connector() {
        for token in ["250", "-1", r#"{"states":[],"current_state":{"type":"group"}}"#, "AAAA", "é"] {
            assert_eq!(listing().position(token), Err(InvalidPageToken), "{token}");
        }
    }

    /// A stored token of this version. Replicas of neighboring releases must accept it.
    #[test]
    fn the_format_is_fixed() {
        let token = "AQAAAAwCwI4RYmUhaNkw6bwR";
        assert_eq!(listing().token(Position { key: 12, ordinal: 2 }), token);
        assert_eq!(listing().position(token), Ok(Position { key: 12, ordinal: 2 }));
    }

    proptest! {
        #[test]
        fn a_token_returns_its_position(key in any::<u32>(), ordinal in any::<u8>()) {
            let position = Position { key, ordinal };
            prop_assert_eq!(listing().position(&listing().token(position)), Ok(position));
        }

        #[test]
        fn rejects_a_token_with_one_changed_character(key in any::<u32>(), at in 0_usize..24, to in "[A-Za-z0-9_-]") {
            let token = listing().token(Position { key, ordinal: 0 });
            let mut altered = token.clone();
            altered.replace_range(at..=at, &to);
            prop_assume!(altered != token);
            prop_assert_eq!(listing().position(&altered), Err(InvalidPageToken));
        }

        #[test]
        fn rejects_a_token_of_another_request(key in any::<u32>(), id in "p[1-9][0-9]{0,4}") {
            prop_assume!(id != "p12");
            let token = listing().token(Position { key, ordinal: 0 });
            let other = Listing::new("ListGrants", &["page", &id, "false"]);
            prop_assert_eq!(other.position(&token), Err(InvalidPageToken));
        }

        #[test]
        fn rejects_any_other_text(token in "\\PC{1,40}") {
            prop_assert_eq!(listing().position(&token), Err(InvalidPageToken));
        }
    }
}

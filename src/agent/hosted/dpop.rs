//! Proofs that a request comes from the owner of a token (DPoP, RFC 9449).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, encode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::process_key::ProcessKey;
use crate::jwt_crypto;

/// Seconds before and after now in which a proof is valid.
const HOLDS: (i64, i64) = (30, 300);

/// The request of a proof.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof<'a> {
    /// The URL of the request.
    pub(super) url: &'a str,
    /// The nonce that the endpoint expects.
    pub(super) nonce: Option<&'a str>,
    /// The token of the request.
    pub(super) token: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    htm: &'a str,
    htu: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
}

impl Proof<'_> {
    /// Signs the proof. Each is for one request.
    ///
    /// # Errors
    /// [`HostedError::Key`]
    pub(super) fn signed(self, key: &ProcessKey, now: OffsetDateTime) -> Result<String, HostedError> {
        jwt_crypto::install();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(key.jwk());
        let now = now.unix_timestamp();
        let claims = Claims {
            jti: identifier(rand::random()),
            iat: now,
            nbf: now - HOLDS.0,
            exp: now + HOLDS.1,
            htm: "POST",
            htu: self.url,
            nonce: self.nonce,
            ath: self.token.map(|token| URL_SAFE_NO_PAD.encode(Sha256::digest(token))),
        };
        encode(&header, &claims, &key.signing()).map_err(|error| HostedError::Key(error.to_string()))
    }
}

/// A random number as a UUID of version 4.
fn identifier(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn identifiers_are_random_uuids() {
        assert_eq!(identifier(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(identifier(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}

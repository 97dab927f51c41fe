//! The signed assertion that authenticates the client at the token endpoint: a JSON Web Token.
//!
//! `jsonwebtoken` creates it and signs it with the cryptography that the rest of the program uses.

use std::time::Duration;

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use time::OffsetDateTime;

use crate::agent::service::credentials::{ClientId, ClientKey};
use crate::jwt_crypto;

/// How long before and after now the assertion is valid, which allows for clock differences.
pub(super) const TOLERANCE: Duration = Duration::from_secs(120);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Signs an assertion for this client at this time, for one use. The audience is the host in the client's id,
/// even if the API is reached at another host.
///
/// # Errors
/// The errors of the library, which do not occur with a parsed key.
pub(super) fn signed(
    id: &ClientId,
    key: &ClientKey,
    now: OffsetDateTime,
    nonce: u128,
) -> Result<String, Error> {
    jwt_crypto::install();
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = None;
    header.kid = key.id().map(str::to_owned);
    header.nonce = Some(format!("{nonce:032x}"));
    let (now, tolerance) = (now.unix_timestamp(), TOLERANCE.as_secs() as i64);
    let claims = Claims {
        iss: id.as_str(),
        sub: id.as_str(),
        aud: &id.host().host,
        iat: now,
        nbf: now - tolerance,
        exp: now + tolerance,
    };
    encode(&header, &claims, &EncodingKey::from_ed_der(key.pair()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{ED25519, UnparsedPublicKey};
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;
    use crate::agent::service::credentials::tests::key;
    use crate::jwt_crypto::SEED;

    fn part(text: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn the_assertion_has_the_expected_claims_and_a_valid_signature() {
        let id = ClientId::parse("tree-1@acme.conductor.one:444/pcc").unwrap();
        for name in [None, Some("k1")] {
            let key = key(name);
            let text = signed(&id, &key, datetime!(2026-01-02 03:04:05 UTC), 0xAB).unwrap();
            let (message, signature) = text.rsplit_once('.').unwrap();
            let (header, claims) = message.split_once('.').unwrap();
            let mut expected = json!({ "alg": "EdDSA", "nonce": format!("{:032x}", 0xAB) });
            if let Some(name) = name {
                expected["kid"] = name.into();
            }
            assert_eq!(part(header), expected);
            let now = datetime!(2026-01-02 03:04:05 UTC).unix_timestamp();
            assert_eq!(
                part(claims),
                json!({
                    "iss": id.as_str(), "sub": id.as_str(), "aud": "acme.conductor.one",
                    "iat": now, "nbf": now - 120, "exp": now + 120,
                })
            );
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public = UnparsedPublicKey::new(&ED25519, &key.pair()[SEED..]);
            assert!(public.verify(message.as_bytes(), &signature).is_ok());
            assert!(public.verify(b"something else", &signature).is_err());
        }
    }
}

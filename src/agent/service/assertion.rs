//! The signed statement by which the client proves to the token endpoint who it is: a JSON Web Token.
//!
//! `jsonwebtoken` makes it, and signs with the cryptography that the rest of the program has.

use std::time::Duration;

use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use time::OffsetDateTime;

use crate::agent::service::credentials::{ClientId, ClientKey};
use crate::jwt_crypto;

/// How long before and after now the statement holds, so that clocks may differ.
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

/// Signs that this is the client, now and once. The audience is the host in the client's id, also where the API is
/// reached at another one.
///
/// # Errors
/// The library's, which a key that was parsed does not cause.
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
    fn it_says_what_the_endpoint_wants_and_carries_a_good_signature() {
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

//! Checks the tokens of callers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{DecodingKey, TokenData, Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::jwt_crypto;

/// The longest time from now to the expiry of a token, in seconds.
const LONGEST_LIFE: f64 = 24.0 * 60.0 * 60.0;
/// The most keys of a set that are used.
const MAX_KEYS: usize = 100;

/// Checks the tokens of callers. Copies share their keys.
#[derive(Clone)]
pub(crate) struct Callers {
    keys: Arc<ArcSwap<KeySet>>,
    issuer: Arc<str>,
    subject: Arc<str>,
    audience: Arc<str>,
}

/// The public keys of callers.
#[derive(Default)]
pub(crate) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    key: DecodingKey,
}

/// The reason why a text is not a public key, or not a set of public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// The key is malformed.
    #[error("it is not a JSON Web Key")]
    NoKey,
    /// The key is private: anyone who can read the settings could sign tokens with it.
    #[error("it is a private key; set the public one")]
    Private,
    /// The type of the key is not supported.
    #[error("its type is not RSA, P-256, P-384 or Ed25519")]
    Kind,
    /// The set is malformed.
    #[error("it is not a set of JSON Web Keys")]
    NoSet,
    /// The set has no usable key, so no caller could be admitted.
    #[error("the set has no usable key")]
    Empty,
}

/// The reason why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("missing authorization header")]
    Missing,
    #[error("invalid authorization header")]
    Header,
    #[error("invalid token: token is invalid: {0}")]
    Token(&'static str),
}

impl Refusal {
    /// The reason without its context, which distinguishes log lines.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "missing authorization header",
            Self::Header => "invalid authorization header",
            Self::Token(reason) => reason,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Value,
    exp: f64,
}

impl KeySet {
    /// Creates a set of one key.
    ///
    /// # Errors
    /// [`KeyError`]
    pub(crate) fn of_key(text: &str) -> Result<Self, KeyError> {
        let value: Value = serde_json::from_str(text).map_err(|_| KeyError::NoKey)?;
        Ok(Self(vec![Key::of(&value)?]))
    }

    /// Reads a set as an issuer publishes it. Unusable keys are left out.
    ///
    /// # Errors
    /// [`KeyError::NoSet`], [`KeyError::Empty`]
    pub(crate) fn of_set(text: &str) -> Result<Self, KeyError> {
        let value: Value = serde_json::from_str(text).map_err(|_| KeyError::NoSet)?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or(KeyError::NoSet)?;
        let keys: Vec<Key> = keys.iter().filter_map(|key| Key::of(key).ok()).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(Self(keys)) }
    }
}

impl Key {
    fn of(value: &Value) -> Result<Self, KeyError> {
        if value.get("d").is_some() {
            return Err(KeyError::Private);
        }
        let jwk = Jwk::deserialize(value).map_err(|_| KeyError::NoKey)?;
        // The library reads keys of P-521 but cannot check their signatures.
        let is_usable = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(key) => {
                matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384)
            }
            AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
            _ => false,
        };
        if !is_usable {
            return Err(KeyError::Kind);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| KeyError::NoKey)?;
        Ok(Self { id: jwk.common.key_id, key })
    }
}

impl Callers {
    /// Accepts tokens with this issuer, this subject and this audience.
    pub(crate) fn new(keys: KeySet, issuer: &str, subject: &str, audience: &str) -> Self {
        jwt_crypto::install();
        Self {
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            issuer: issuer.into(),
            subject: subject.into(),
            audience: audience.into(),
        }
    }

    /// Replaces the keys.
    pub(crate) fn replace(&self, keys: KeySet) {
        self.keys.store(Arc::new(keys));
    }

    /// Checks the token of an `authorization` header.
    ///
    /// # Errors
    /// [`Refusal`]
    pub(crate) fn admit(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let header = authorization.filter(|header| !header.is_empty()).ok_or(Refusal::Missing)?;
        let token = header.strip_prefix("Bearer ").filter(|token| !token.is_empty());
        let token = token.ok_or(Refusal::Header)?;
        self.check(token).map_err(Refusal::Token)
    }

    fn check(&self, token: &str) -> Result<(), &'static str> {
        let header = decode_header(token).map_err(|error| reason(error.kind()))?;
        if header.crit.is_some() {
            return Err("it has critical headers, which are not supported");
        }
        let keys = self.keys.load();
        let named = |key: &&Key| header.kid.is_none() || key.id == header.kid;
        let mut problem = "no matching keys available";
        for key in keys.0.iter().filter(named) {
            match decode::<Claims>(token, &key.key, &self.rules(key)) {
                Ok(TokenData { claims, .. }) => return self.check_claims(&claims),
                Err(error) => match error.kind() {
                    // Another key may match.
                    ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {
                        problem = reason(error.kind());
                    }
                    kind => return Err(reason(kind)),
                },
            }
        }
        Err(problem)
    }

    fn rules(&self, key: &Key) -> Validation {
        let mut rules = Validation::new_for_family(key.key.family());
        rules.leeway = 0;
        rules.validate_nbf = true;
        rules.set_issuer(&[&self.issuer]);
        rules.sub = Some(self.subject.as_ref().to_owned());
        rules.set_audience(&[&self.audience]);
        rules.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        rules
    }

    /// Makes the checks for which the library is less strict than the Go SDK.
    fn check_claims(&self, claims: &Claims) -> Result<(), &'static str> {
        let is_for_us = match &claims.aud {
            Value::String(audience) => **audience == *self.audience,
            Value::Array(list) => list.iter().any(|item| item.as_str() == Some(&self.audience)),
            _ => false,
        };
        if *claims.iss != *self.issuer {
            return Err(reason(&ErrorKind::InvalidIssuer));
        }
        if *claims.sub != *self.subject {
            return Err(reason(&ErrorKind::InvalidSubject));
        }
        if !is_for_us {
            return Err(reason(&ErrorKind::InvalidAudience));
        }
        if claims.exp > get_current_timestamp() as f64 + LONGEST_LIFE {
            return Err("it expires more than 24 hours from now");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callers").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// The reason why a token is invalid, without any part of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature does not match",
        ErrorKind::InvalidAlgorithm => "the key does not support its algorithm",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it has the wrong issuer",
        ErrorKind::InvalidSubject => "it has the wrong subject",
        ErrorKind::InvalidAudience => "it has the wrong audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of the claims exp, iss, sub and aud",
        _ => "it is not a signed JSON Web Token",
    }
}

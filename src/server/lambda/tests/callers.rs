//! Tokens of callers.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::server::lambda::callers::{Callers, KeyError, KeySet, Refusal};

/// A private key of RSA with 2048 bits, for tests.
const RSA: &[u8] = include_bytes!("../../../../tests/data/x509-v1/client.key");

/// Signs a message.
pub(super) type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(super) fn claims() -> Value {
    json!({ "iss": "issuer", "sub": "subject", "aud": "audience", "exp": now() + 60 })
}

pub(super) fn token(header: &Value, claims: &Value, sign: &Sign) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(sign(message.as_bytes())))
}

pub(super) fn ed25519(seed: u8, id: Option<&str>) -> (Value, Sign) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key()) });
    if let Some(id) = id {
        jwk["kid"] = id.into();
    }
    (jwk, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm, curve: &str) -> (Value, Sign) {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
    let public = &pair.public_key().as_ref()[1..];
    let (x, y) = public.split_at(public.len() / 2);
    let jwk =
        json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) });
    (jwk, Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec()))
}

fn rsa(encoding: &'static dyn RsaEncoding) -> (Value, Sign) {
    let key = PrivatePkcs8KeyDer::from_pem_slice(RSA).unwrap();
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let jwk = json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e) });
    let sign: Sign = Box::new(move |message| {
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    });
    (jwk, sign)
}

fn callers(jwk: &Value) -> Callers {
    let keys = KeySet::of_key(&jwk.to_string()).unwrap();
    Callers::new(keys, "issuer", "subject", "audience")
}

#[test]
fn accepts_all_algorithms_of_the_hosted_runner_except_es512() {
    let keys: Vec<(&str, (Value, Sign))> = vec![
        ("EdDSA", ed25519(7, None)),
        ("ES256", ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        ("ES384", ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        ("RS256", rsa(&RSA_PKCS1_SHA256)),
        ("RS384", rsa(&RSA_PKCS1_SHA384)),
        ("RS512", rsa(&RSA_PKCS1_SHA512)),
        ("PS256", rsa(&RSA_PSS_SHA256)),
        ("PS384", rsa(&RSA_PSS_SHA384)),
        ("PS512", rsa(&RSA_PSS_SHA512)),
    ];
    for (name, (jwk, sign)) in &keys {
        let callers = callers(jwk);
        assert_eq!(callers.admit(Some(&token(&json!({ "alg": name }), &claims(), sign))), Ok(()), "{name}");
        let other: Sign = Box::new(|_| vec![7; 64]);
        let refused = callers.admit(Some(&token(&json!({ "alg": name }), &claims(), &other)));
        assert!(matches!(refused, Err(Refusal::Token(_))), "{name}");
        for (other_name, _) in keys.iter().filter(|(other, _)| other[..2] != name[..2]) {
            let refused = callers.admit(Some(&token(&json!({ "alg": other_name }), &claims(), sign)));
            assert!(matches!(refused, Err(Refusal::Token(_))), "{name} as {other_name}");
        }
        for none in ["none", "None", "HS256", "ES512", ""] {
            let refused = callers.admit(Some(&token(&json!({ "alg": none }), &claims(), sign)));
            assert!(matches!(refused, Err(Refusal::Token(_))), "{none}");
        }
    }
}

#[test]
fn rejects_a_header_without_bearer_and_a_valid_token() {
    let (jwk, sign) = ed25519(7, None);
    let callers = callers(&jwk);
    let good = token(&json!({ "alg": "EdDSA" }), &claims(), &sign);
    assert_eq!(callers.admit(None), Err(Refusal::Missing));
    assert_eq!(callers.admit(Some("")), Err(Refusal::Missing));
    for header in ["Bearer", "Bearer ", "bearer x", "Basic x", good.trim_start_matches("Bearer ")] {
        assert_eq!(callers.admit(Some(header)), Err(Refusal::Header), "{header}");
    }
    for wrong in ["Bearer x", "Bearer a.b", "Bearer a.b.c", "Bearer ...", "Bearer a.b.c.d"] {
        let text = callers.admit(Some(wrong)).unwrap_err().to_string();
        assert!(text.starts_with("invalid token: token is invalid: "), "{text}");
    }
    assert!(callers.admit(Some(&format!("{good}x"))).is_err());
}

#[test]
fn ignores_keys_and_rejects_extensions_in_the_token_header() {
    let (jwk, sign) = ed25519(7, None);
    let callers = callers(&jwk);
    let (own, own_sign) = ed25519(8, None);
    for header in [
        json!({ "alg": "EdDSA", "jwk": own }),
        json!({ "alg": "EdDSA", "jku": "https://keys.example.com/jwks", "kid": "k" }),
        json!({ "alg": "EdDSA", "x5u": "https://keys.example.com/x509" }),
    ] {
        let foreign = callers.admit(Some(&token(&header, &claims(), &own_sign)));
        assert!(matches!(foreign, Err(Refusal::Token(_))), "{header}");
    }
    // The signature is valid, but the header has a critical extension that is not supported.
    let critical = json!({ "alg": "EdDSA", "crit": ["b64"], "b64": false });
    assert!(matches!(callers.admit(Some(&token(&critical, &claims(), &sign))), Err(Refusal::Token(_))));
    // A public key is not accepted as an HMAC secret.
    let (rsa, _) = rsa(&RSA_PKCS1_SHA256);
    let modulus = URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &modulus);
    let hmac: Sign = Box::new(move |message| ring::hmac::sign(&key, message).as_ref().to_vec());
    let forged = token(&json!({ "alg": "HS256" }), &claims(), &hmac);
    assert!(matches!(self::callers(&rsa).admit(Some(&forged)), Err(Refusal::Token(_))));
}

#[test]
fn rejects_tokens_whose_claims_do_not_match_or_are_expired() {
    let (jwk, sign) = ed25519(7, None);
    let callers = callers(&jwk);
    let admit = |name: &str, value: Value| {
        let mut claims = claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        callers.admit(Some(&token(&json!({ "alg": "EdDSA" }), &claims, &sign)))
    };
    let now = now();
    for (name, value) in [
        ("aud", json!(["other", "audience"])),
        ("nbf", json!(now - 1)),
        ("exp", json!(now + 86_000)),
        ("jti", json!("anything")),
        ("iat", json!(now + 500)),
    ] {
        assert_eq!(admit(name, value.clone()), Ok(()), "{name} {value}");
    }
    for (name, value) in [
        ("iss", json!("Issuer")),
        ("iss", json!(["issuer"])),
        ("iss", json!(null)),
        ("sub", json!("subject2")),
        ("sub", json!(null)),
        ("aud", json!("audience2")),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!(null)),
        ("exp", json!(now - 2)),
        ("exp", json!(null)),
        ("exp", json!("soon")),
        ("exp", json!(now + 86_500)),
        ("nbf", json!(now + 30)),
    ] {
        assert!(matches!(admit(name, value.clone()), Err(Refusal::Token(_))), "{name} {value}");
    }
}

#[test]
fn checks_a_token_only_with_the_key_that_it_names() {
    let (one, sign_one) = ed25519(1, Some("k1"));
    let (two, sign_two) = ed25519(2, Some("k2"));
    let set = json!({ "keys": [{ "kty": "odd" }, { "kty": "oct", "k": "AAAA" }, one, two] });
    let keys = KeySet::of_set(&set.to_string()).unwrap();
    let callers = Callers::new(keys, "issuer", "subject", "audience");
    let admit = |id: Option<&str>, sign: &Sign| {
        let mut header = json!({ "alg": "EdDSA" });
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        callers.admit(Some(&token(&header, &claims(), sign)))
    };
    assert_eq!(admit(Some("k1"), &sign_one), Ok(()));
    assert_eq!(admit(None, &sign_one), Ok(()));
    assert_eq!(admit(None, &sign_two), Ok(()));
    assert!(admit(Some("k1"), &sign_two).is_err());
    assert_eq!(admit(Some("k3"), &sign_one), Err(Refusal::Token("no matching keys available")));
    callers.replace(KeySet::of_set(&json!({ "keys": [two] }).to_string()).unwrap());
    assert!(admit(None, &sign_one).is_err());
    assert_eq!(admit(Some("k2"), &sign_two), Ok(()));
}

#[test]
fn rejects_texts_that_are_not_public_keys() {
    let (mut jwk, _) = ed25519(1, None);
    jwk["d"] = "AAAA".into();
    let error = |text: &str| KeySet::of_key(text).err();
    assert_eq!(error(&jwk.to_string()), Some(KeyError::Private));
    assert_eq!(error("no JSON"), Some(KeyError::NoKey));
    assert_eq!(error("{}"), Some(KeyError::Kind));
    assert_eq!(error(r#"{"kty":"oct","k":"AAAA"}"#), Some(KeyError::Kind));
    // A point on P-521 has 66 bytes for each coordinate.
    let coordinate = URL_SAFE_NO_PAD.encode([1; 66]);
    let p521 = json!({ "kty": "EC", "crv": "P-521", "x": coordinate, "y": coordinate });
    assert_eq!(error(&p521.to_string()), Some(KeyError::Kind));
    assert_eq!(KeySet::of_set(&json!({ "keys": [p521] }).to_string()).err(), Some(KeyError::Empty));
    assert_eq!(KeySet::of_set("{}").err(), Some(KeyError::NoSet));
    assert_eq!(KeySet::of_set(r#"{"keys":[{}]}"#).err(), Some(KeyError::Empty));
}

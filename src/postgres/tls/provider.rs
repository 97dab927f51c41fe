//! The cryptography of connections to Postgres: ring's algorithms, and others that OpenSSL accepts.
//!
//! If both support an algorithm, ring's comes first. The curve P-521 and the combinations of curve and hash
//! that ring lacks come from RustCrypto.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, KeyProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;
use webpki::ring::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS, RSA_PKCS1_2048_8192_SHA512,
    RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS, RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    RSA_PSS_2048_8192_SHA384_LEGACY_KEY, RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
};

use crate::postgres::tls::ecdsa::{P256_SHA512, P384_SHA512, P521_SHA256, P521_SHA384, P521_SHA512};
use crate::postgres::tls::p521::{P521_EXCHANGE, P521Key};
use crate::postgres::tls::rsa_pss::{
    PSS_KEY_SHA256, PSS_KEY_SHA384, PSS_KEY_SHA512, RESTRICTED_PSS_KEY_SHA256, RESTRICTED_PSS_KEY_SHA384,
    RESTRICTED_PSS_KEY_SHA512,
};

/// The cryptography provider of a connection.
pub(super) fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    // Last, so that the other groups are offered first.
    provider.kx_groups.push(&P521_EXCHANGE);
    provider.signature_verification_algorithms = ALGORITHMS;
    provider.key_provider = &Keys;
    provider
}

/// The signatures of keys that may sign only with RSA-PSS (`rsa_pss_pss_sha256` and so on).
pub(super) const RSA_PSS_KEYS: [SignatureScheme; 3] =
    [SignatureScheme::Unknown(0x0809), SignatureScheme::Unknown(0x080a), SignatureScheme::Unknown(0x080b)];

const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        ECDSA_P256_SHA256,
        ECDSA_P256_SHA384,
        P256_SHA512,
        ECDSA_P384_SHA256,
        ECDSA_P384_SHA384,
        P384_SHA512,
        P521_SHA256,
        P521_SHA384,
        P521_SHA512,
        ED25519,
        RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
        RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
        PSS_KEY_SHA256,
        PSS_KEY_SHA384,
        PSS_KEY_SHA512,
        RESTRICTED_PSS_KEY_SHA256,
        RESTRICTED_PSS_KEY_SHA384,
        RESTRICTED_PSS_KEY_SHA512,
        RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512,
        RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
        RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
        RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    ],
    // TLS 1.3 uses only the first algorithm of a scheme. In TLS 1.2 a scheme does not name the curve.
    mapping: &[
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[ECDSA_P384_SHA384, ECDSA_P256_SHA384, P521_SHA384]),
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256, ECDSA_P384_SHA256, P521_SHA256]),
        (SignatureScheme::ED25519, &[ED25519]),
        (SignatureScheme::RSA_PSS_SHA512, &[RSA_PSS_2048_8192_SHA512_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA384, &[RSA_PSS_2048_8192_SHA384_LEGACY_KEY]),
        (SignatureScheme::RSA_PSS_SHA256, &[RSA_PSS_2048_8192_SHA256_LEGACY_KEY]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[RSA_PKCS1_2048_8192_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[RSA_PKCS1_2048_8192_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[RSA_PKCS1_2048_8192_SHA256]),
        (SignatureScheme::ECDSA_NISTP521_SHA512, &[P521_SHA512, P384_SHA512, P256_SHA512]),
        (RSA_PSS_KEYS[0], &[PSS_KEY_SHA256, RESTRICTED_PSS_KEY_SHA256]),
        (RSA_PSS_KEYS[1], &[PSS_KEY_SHA384, RESTRICTED_PSS_KEY_SHA384]),
        (RSA_PSS_KEYS[2], &[PSS_KEY_SHA512, RESTRICTED_PSS_KEY_SHA512]),
    ],
};

/// Loads the keys of client certificates.
#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        match P521Key::read(&key) {
            Some(key) => Ok(Arc::new(key)),
            None => ring::default_provider().key_provider.load_private_key(key),
        }
    }
}

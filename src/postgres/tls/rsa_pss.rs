//! RSA keys that may sign only with RSA-PSS (`openssl genpkey -algorithm RSA-PSS`). ring verifies these
//! signatures, but has another identifier for the keys.

use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use webpki::ring::{
    RSA_PSS_2048_8192_SHA256_LEGACY_KEY, RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
};

/// An algorithm of ring with another key identifier.
#[derive(Debug)]
struct OfKey {
    key: AlgorithmIdentifier,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

/// `id-RSASSA-PSS` without parameters, which allows any hash.
const ANY_HASH: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a]);

pub(super) static PSS_KEY_SHA256: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: ANY_HASH, algorithm: RSA_PSS_2048_8192_SHA256_LEGACY_KEY };
pub(super) static PSS_KEY_SHA384: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: ANY_HASH, algorithm: RSA_PSS_2048_8192_SHA384_LEGACY_KEY };
pub(super) static PSS_KEY_SHA512: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: ANY_HASH, algorithm: RSA_PSS_2048_8192_SHA512_LEGACY_KEY };
/// For keys restricted to one hash.
pub(super) static RESTRICTED_PSS_KEY_SHA256: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: alg_id::RSA_PSS_SHA256, algorithm: RSA_PSS_2048_8192_SHA256_LEGACY_KEY };
pub(super) static RESTRICTED_PSS_KEY_SHA384: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: alg_id::RSA_PSS_SHA384, algorithm: RSA_PSS_2048_8192_SHA384_LEGACY_KEY };
pub(super) static RESTRICTED_PSS_KEY_SHA512: &dyn SignatureVerificationAlgorithm =
    &OfKey { key: alg_id::RSA_PSS_SHA512, algorithm: RSA_PSS_2048_8192_SHA512_LEGACY_KEY };

impl SignatureVerificationAlgorithm for OfKey {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        self.algorithm.verify_signature(public_key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

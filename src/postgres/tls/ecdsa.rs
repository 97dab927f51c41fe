//! ECDSA signatures that ring does not verify: with the curve P-521, and with SHA-512.

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A curve with a hash.
#[derive(Debug)]
struct Ecdsa {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    hash: Hash,
    verify: Verify,
}

/// Verifies a signature (DER) of the digest with the key (a point).
type Verify = fn(key: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), p521::ecdsa::Error>;

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

pub(super) static P256_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa {
    key: alg_id::ECDSA_P256,
    signature: alg_id::ECDSA_SHA512,
    hash: Hash::Sha512,
    verify: verify_p256,
};
pub(super) static P384_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa {
    key: alg_id::ECDSA_P384,
    signature: alg_id::ECDSA_SHA512,
    hash: Hash::Sha512,
    verify: verify_p384,
};
pub(super) static P521_SHA256: &dyn SignatureVerificationAlgorithm = &Ecdsa {
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA256,
    hash: Hash::Sha256,
    verify: verify_p521,
};
pub(super) static P521_SHA384: &dyn SignatureVerificationAlgorithm = &Ecdsa {
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA384,
    hash: Hash::Sha384,
    verify: verify_p521,
};
pub(super) static P521_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa {
    key: alg_id::ECDSA_P521,
    signature: alg_id::ECDSA_SHA512,
    hash: Hash::Sha512,
    verify: verify_p521,
};

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        (self.verify)(public_key, &self.hash.of(message), signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl Hash {
    fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }
}

fn verify_p256(key: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), p521::ecdsa::Error> {
    let signature = p256::ecdsa::DerSignature::try_from(signature)?;
    p256::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(digest, &signature)
}

fn verify_p384(key: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), p521::ecdsa::Error> {
    let signature = p384::ecdsa::DerSignature::try_from(signature)?;
    p384::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(digest, &signature)
}

fn verify_p521(key: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), p521::ecdsa::Error> {
    let signature = p521::ecdsa::DerSignature::try_from(signature)?;
    p521::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(digest, &signature)
}

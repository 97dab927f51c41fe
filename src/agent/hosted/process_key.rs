//! The key pair of this process, which is generated at startup and never stored. Tokens are bound to it, and
//! the configuration is encrypted for it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, OctetKeyPairParameters,
    OctetKeyPairType, PublicKeyUse,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use secrecy::{ExposeSecret, SecretSlice};

use crate::agent::hosted::error::HostedError;
use crate::jwt_crypto::SEED;

/// The name of the key type in SSH.
const KIND: &[u8] = b"ssh-ed25519";

/// An Ed25519 key pair of this process.
pub(super) struct ProcessKey {
    /// Seed and public key, 32 bytes each.
    pair: SecretSlice<u8>,
}

impl ProcessKey {
    /// Generates a new key.
    ///
    /// # Errors
    /// [`HostedError::Key`]
    pub(super) fn generate() -> Result<Self, HostedError> {
        Self::of_seed(rand::random())
    }

    /// Derives the key from this seed.
    ///
    /// # Errors
    /// [`HostedError::Key`]
    pub(super) fn of_seed(seed: [u8; SEED]) -> Result<Self, HostedError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| HostedError::Key(error.to_string()))?;
        Ok(Self { pair: SecretSlice::from([seed.as_slice(), pair.public_key().as_ref()].concat()) })
    }

    /// The private key, for signing.
    pub(super) fn signing(&self) -> EncodingKey {
        EncodingKey::from_ed_der(self.pair.expose_secret())
    }

    /// The public key in the form that proofs contain.
    pub(super) fn jwk(&self) -> Jwk {
        Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::EdDSA),
                key_id: Some("key".to_owned()),
                ..Default::default()
            },
            algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
                key_type: OctetKeyPairType::OctetKeyPair,
                curve: EllipticCurve::Ed25519,
                x: URL_SAFE_NO_PAD.encode(self.public()),
            }),
        }
    }

    /// Decrypts an age file that was encrypted for this key.
    ///
    /// # Errors
    /// [`HostedError::Sealed`]
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, HostedError> {
        let text = self.as_openssh();
        let identity = age::ssh::Identity::from_buffer(text.expose_secret(), None)
            .map_err(|error| HostedError::Key(error.to_string()))?;
        age::decrypt(&identity, sealed).map_err(|error| HostedError::Sealed(error.to_string()))
    }

    fn public(&self) -> &[u8] {
        &self.pair.expose_secret()[SEED..]
    }

    /// The key in OpenSSH's file format, which `age` reads, without a passphrase.
    fn as_openssh(&self) -> SecretSlice<u8> {
        const CHECK: [u8; 8] = [0; 8];
        const BLOCK: usize = 8;
        let public = [field(KIND), field(self.public())].concat();
        // The check number twice, the public key, the key pair, an empty comment.
        let mut private = [&CHECK[..], &public, &field(self.pair.expose_secret()), &field(b"")].concat();
        private.extend((1..).take(private.len().next_multiple_of(BLOCK) - private.len()));
        let key = [
            b"openssh-key-v1\0".as_slice(),
            &field(b"none"),
            &field(b"none"),
            &field(b""),
            &1_u32.to_be_bytes(),
            &field(&public),
            &field(&private),
        ]
        .concat();
        let mut text = b"-----BEGIN OPENSSH PRIVATE KEY-----\n".to_vec();
        for line in STANDARD.encode(key).as_bytes().chunks(70) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text.extend_from_slice(b"-----END OPENSSH PRIVATE KEY-----\n");
        SecretSlice::from(text)
    }
}

impl fmt::Debug for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessKey").finish_non_exhaustive()
    }
}

/// A field in the encoding of SSH: the length, then the bytes.
fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

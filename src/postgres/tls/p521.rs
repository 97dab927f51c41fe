//! The curve P-521, which ring lacks: key exchange, and keys of client certificates.

use p521::SecretKey;
use p521::ecdh::EphemeralSecret;
use p521::ecdsa::signature::Signer as _;
use p521::ecdsa::{DerSignature, SigningKey};
use p521::elliptic_curve::Generate;
use p521::elliptic_curve::sec1::ToSec1Point;
use p521::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::Signer;
use rustls::{Error, NamedGroup, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

/// Key exchange with this curve, for a server with no other curve in `ssl_ecdh_curve`. A TLS 1.2 server also
/// requires it to present a certificate of this curve.
#[derive(Debug)]
pub(super) struct P521Exchange;

pub(super) static P521_EXCHANGE: P521Exchange = P521Exchange;

/// A key exchange in progress.
struct Begun {
    secret: EphemeralSecret,
    /// An uncompressed point.
    public: Box<[u8]>,
}

/// The key of a client certificate.
#[derive(Debug)]
pub(super) struct P521Key {
    key: SigningKey,
    public: SubjectPublicKeyInfoDer<'static>,
}

/// Signs with a key and SHA-512.
#[derive(Debug)]
struct P521Signer(SigningKey);

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP521_SHA512;
/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

impl SupportedKxGroup for P521Exchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = EphemeralSecret::try_generate().map_err(|_| Error::FailedToGetRandomBytes)?;
        let public = secret.public_key().to_sec1_point(false).to_bytes();
        Ok(Box::new(Begun { secret, public }))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

impl ActiveKeyExchange for Begun {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(invalid());
        }
        let peer = p521::PublicKey::from_sec1_bytes(peer).map_err(|_| invalid())?;
        Ok(SharedSecret::from(self.secret.diffie_hellman(&peer).raw_secret_bytes().as_slice()))
    }

    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }
}

impl P521Key {
    /// The key, if it is of this curve.
    pub(super) fn read(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let secret = match key {
            PrivateKeyDer::Pkcs8(key) => SecretKey::from_pkcs8_der(key.secret_pkcs8_der()).ok()?,
            PrivateKeyDer::Sec1(key) => SecretKey::from_sec1_der(key.secret_sec1_der()).ok()?,
            _ => return None,
        };
        let public = secret.public_key().to_public_key_der().ok()?;
        let public = SubjectPublicKeyInfoDer::from(public.into_vec());
        Some(Self { key: SigningKey::from(secret), public })
    }
}

impl rustls::sign::SigningKey for P521Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(P521Signer(self.key.clone())) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.public.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: DerSignature =
            self.0.try_sign(message).map_err(|_| Error::General("the key cannot sign".to_owned()))?;
        Ok(signature.as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}

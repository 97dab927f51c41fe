//! The client's certificate and key.

use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{self, PemObject},
};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys};
use secrecy::ExposeSecret;

use crate::postgres::tls::certificate::Certificate;
use crate::postgres::tls::public_key::public_key;
use crate::postgres::tls::{ClientIdentity, TlsError, certificates, read};

const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

impl ClientIdentity {
    /// The certificate chain with its key, which must belong to the first certificate. Whether the
    /// certificate is acceptable is the server's decision; it may be of X.509 version 1.
    ///
    /// # Errors
    /// A file is unusable, or certificate and key do not match.
    pub(super) fn certified_key(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let (chain, key) = self.read()?;
        let unusable = |source| TlsError::BadIdentity {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        };
        // Reading the kind of key from the certificate is cheaper than from the key.
        if let Some(kind) = chain.first().and_then(|own| Certificate::read(own)?.unusable_key()) {
            return Err(TlsError::UnsupportedKey { path: self.key.clone(), kind });
        }
        let key = provider.key_provider.load_private_key(key).map_err(unusable)?;
        let of_certificate = chain.first().and_then(public_key);
        match (of_certificate, key.public_key()) {
            (None, _) => Err(unusable(rustls::Error::InvalidCertificate(CertificateError::BadEncoding))),
            (Some(certified), Some(own)) if certified != own => {
                Err(unusable(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)))
            }
            _ => Ok(CertifiedKey::new(chain, key)),
        }
    }

    /// The certificate chain and the key, decrypted if necessary.
    pub(super) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((certificates("sslcert", &self.certificate)?, self.read_key()?))
    }

    fn read_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let contents = read("sslkey", &self.key)?;
        let text = String::from_utf8_lossy(&contents);
        if let Some(begin) = text.find(ENCRYPTED_BEGIN) {
            let block = &text[begin..];
            let end = block.find(ENCRYPTED_END).map_or(block.len(), |end| end + ENCRYPTED_END.len());
            return self.decrypt(&block[..end]);
        }
        if text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(TlsError::LegacyEncryption { path: self.key.clone() });
        }
        PrivateKeyDer::from_pem_slice(&contents).map_err(|source| match source {
            pem::Error::NoItemsFound => TlsError::Empty {
                setting: "sslkey",
                path: self.key.clone(),
                wanted: "private key in PEM form",
            },
            source => TlsError::NotPem { setting: "sslkey", path: self.key.clone(), source },
        })
    }

    fn decrypt(&self, block: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
        let Some(password) = &self.key_password else {
            return Err(TlsError::KeyPasswordMissing { path: self.key.clone() });
        };
        let failed = |source: pkcs8::Error| TlsError::KeyUndecryptable { path: self.key.clone(), source };
        let (_, encrypted) = SecretDocument::from_pem(block).map_err(|source| failed(source.into()))?;
        let key = EncryptedPrivateKeyInfo::try_from(encrypted.as_bytes())
            .and_then(|key| key.decrypt(password.expose_secret()))
            .map_err(failed)?;
        Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec())))
    }
}

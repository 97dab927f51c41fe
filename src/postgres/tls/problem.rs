//! Problems with a server's certificate, worded for the operator.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, PeerMisbehaved};

use crate::postgres::tls::key_kind::algorithm_name;

/// Why a server's certificate is not trusted. Each problem has a fix; see [`fix`](Self::fix).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateProblem {
    /// The certificate cannot be parsed.
    #[error("the server's certificate cannot be read: it is malformed")]
    Unreadable,
    /// No algorithm is available for its kind of key, such as `RSA with 1024 bits`.
    #[error("the server's certificate has a key of an unsupported kind: {0}")]
    UnsupportedKey(String),
    /// The same for the key of its issuer.
    #[error("the certificate authority of the server's certificate has a key of an unsupported kind: {0}")]
    UnsupportedAuthority(String),
    /// The certificate, or one above it, has an untrusted signature, such as `sha1WithRSAEncryption`.
    #[error(
        "the server's certificate, or that of a certificate authority above it, is signed by {0}, which is not trusted"
    )]
    UnsupportedSignature(String),
    /// The certificate is self-signed and not one of the roots.
    #[error("the server's certificate is self-signed, and not in sslrootcert")]
    SelfSigned,
    /// The certificate is marked as a certificate authority's and is not a trusted root.
    #[error("the server's certificate is that of a certificate authority, which cannot identify a server")]
    OfAnAuthority,
    /// No trusted certificate authority has issued it.
    #[error("no trusted certificate authority issued the server's certificate")]
    UnknownIssuer,
    /// The certificate, or one above it, has expired.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate of its issuer has expired.
    #[error("the certificate authority of the server's certificate has expired")]
    ExpiredAuthority,
    /// The certificate, or one above it, is not valid yet.
    #[error("the server's certificate is not valid yet: check the clocks")]
    NotYetValid,
    /// The certificate names other hosts.
    #[error("the server's certificate is for {presented}, not for {asked:?}")]
    WrongName {
        /// The host in the connection string.
        asked: String,
        /// The names in the certificate.
        presented: String,
    },
    /// The certificate names no host.
    #[error("the server's certificate names no host: it has neither a subjectAltName nor a common name")]
    NoName,
    /// The server ended the handshake before it presented a certificate: it has no key, cipher or curve that
    /// this program supports.
    #[error(
        "the server has no certificate, cipher or curve that this program supports; its key may be of ECDSA \
         with another curve, such as secp256k1 or brainpoolP256r1"
    )]
    NothingInCommon,
    /// Any other problem.
    #[error("the server's certificate cannot be used: {0}")]
    Other(String),
}

impl CertificateProblem {
    /// How to fix the problem.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            Self::Unreadable => "install a new certificate in Postgres, with the host as subjectAltName",
            Self::UnsupportedKey(_) => GOOD_KEYS,
            Self::UnsupportedAuthority(_) => {
                "use a certificate from a certificate authority with a key of ECDSA, Ed25519 or RSA with 2048 bits or more"
            }
            Self::UnsupportedSignature(_) => "install a new certificate in Postgres, signed with SHA-256",
            Self::SelfSigned => "set sslrootcert in the connection string to the file of that certificate",
            Self::OfAnAuthority => {
                "set sslrootcert in the connection string to the file of that certificate, or install one in Postgres that was issued to a server"
            }
            Self::UnknownIssuer => {
                "set sslrootcert in the connection string to the file of the right certificate authority"
            }
            Self::Expired => "install a new certificate in Postgres, and check this machine's clock",
            Self::ExpiredAuthority => {
                "set sslrootcert in the connection string to the file of its successor, and check this machine's clock"
            }
            Self::NotYetValid => "set the clock",
            Self::WrongName { .. } => {
                "set host to a name in the certificate, and hostaddr to the address if necessary"
            }
            Self::NoName => {
                "install a new certificate in Postgres with the host as subjectAltName, or use sslmode=verify-ca, which checks no name"
            }
            Self::NothingInCommon => {
                "configure Postgres with a key of ECDSA with the curve P-256, P-384 or P-521, of Ed25519, or of RSA with 2048 to 8192 bits, keep ssl_ecdh_curve at prime256v1, and set ssl_max_protocol_version to TLSv1.2 or higher"
            }
            Self::Other(_) => "install a new certificate in Postgres",
        }
    }

    /// The certificate problem behind an error of the handshake; `None` if the error is not about the
    /// certificate.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        // `source()` of an I/O error does not return the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let error: &(dyn Error + 'static) = wrapped.map_or(error, |wrapped| wrapped);
        match error.downcast_ref()? {
            rustls::Error::InvalidCertificate(problem) => Some(Self::from(problem)),
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => Some(Self::NothingInCommon),
            // rustls supports these signatures in TLS 1.3 only.
            rustls::Error::PeerMisbehaved(PeerMisbehaved::SignedKxWithWrongAlgorithm) => {
                Some(Self::UnsupportedKey("RSA-PSS with TLS 1.2".to_owned()))
            }
            _ => None,
        }
    }
}

/// The fix for an unsupported key.
const GOOD_KEYS: &str = "install a certificate in Postgres with a key of ECDSA with the curve P-256, P-384 or P-521, of Ed25519, or of RSA with 2048 to 8192 bits";

impl From<&CertificateError> for CertificateProblem {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                Self::NoName
            }
            CertificateError::NotValidForNameContext { expected, presented } => Self::WrongName {
                asked: expected.to_str().into_owned(),
                // The names in the library's debug format.
                presented: presented
                    .join(", ")
                    .replace("DnsName(", "")
                    .replace("IpAddress(", "")
                    .replace(')', ""),
            },
            CertificateError::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. } => {
                Self::UnsupportedSignature(algorithm_name(signature_algorithm_id).unwrap_or_default())
            }
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id,
                public_key_algorithm_id,
            } => {
                let name = |id| algorithm_name(id).unwrap_or_default();
                let (signature, key) = (name(signature_algorithm_id), name(public_key_algorithm_id));
                Self::UnsupportedSignature(format!("{signature} with a key of the kind {key}"))
            }
            CertificateError::Other(other) => match other.0.downcast_ref::<Self>() {
                Some(ours) => ours.clone(),
                None => Self::Other(other.0.to_string()),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<CertificateProblem> for rustls::Error {
    fn from(problem: CertificateProblem) -> Self {
        let other = rustls::OtherError(std::sync::Arc::new(problem));
        Self::InvalidCertificate(CertificateError::Other(other))
    }
}

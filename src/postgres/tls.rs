//! TLS to Postgres: which server certificates are trusted, and which client certificate is presented.
//!
//! The cryptography provider is set here and not taken from the process, so that a process-wide default
//! cannot change or break this connection.

mod certificate;
mod ecdsa;
mod explain;
mod identity;
mod key_kind;
mod p521;
mod path;
mod problem;
mod provider;
mod public_key;
mod rsa_pss;
#[cfg(test)]
mod tests;
mod verifier;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use secrecy::SecretString;
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) use self::problem::CertificateProblem;
use self::verifier::{ServerVerifier, Verification};
use crate::operator_file::{self, shown};
use crate::tls_roots;

/// The TLS settings of a connection string.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// Whether TLS is used, and how the server's certificate is verified.
    pub mode: SslMode,
    /// The certificate authorities to verify the server with.
    pub roots: Roots,
    /// The certificate to present to a server that requests one.
    pub identity: Option<ClientIdentity>,
    /// Whether the host name is sent to the server (`sslsni`).
    pub sni: bool,
}

/// The modes of `sslmode`, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum SslMode {
    /// No TLS.
    Disable,
    /// TLS only if the server rejects unencrypted connections.
    Allow,
    /// TLS if the server supports it.
    #[default]
    Prefer,
    /// Always TLS. With a file of roots the same as [`VerifyCa`](Self::VerifyCa), as in libpq.
    Require,
    /// TLS, and a trusted certificate authority has issued the server's certificate.
    VerifyCa,
    /// TLS, and a trusted certificate authority has issued the certificate, which names the host.
    VerifyFull,
}

/// The trusted certificate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The platform's certificate authorities.
    Platform,
    /// The certificate authorities in a PEM file.
    File(PathBuf),
}

/// The files of the client's certificate and key.
#[derive(Debug, Clone)]
pub(crate) struct ClientIdentity {
    /// PEM: the certificate first, then the intermediate certificates.
    pub certificate: PathBuf,
    /// PEM: PKCS#8 (encrypted or not), PKCS#1 or SEC1.
    pub key: PathBuf,
    /// The password of an encrypted key.
    pub key_password: Option<SecretString>,
}

/// Why TLS cannot be set up. The message names the setting and the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: {} cannot be read: {source}", shown(.path))]
    Unreadable {
        /// The setting of the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{setting}: {} is not valid PEM: {source}", shown(.path))]
    NotPem {
        /// The setting of the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// A PEM file does not contain what the setting requires.
    #[error("{setting}: {} holds no {wanted}", shown(.path))]
    Empty {
        /// The setting of the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The missing content.
        wanted: &'static str,
    },
    /// A certificate of the roots is malformed.
    #[error("sslrootcert: {} has a certificate that cannot be used: {source}", shown(.path))]
    BadRoot {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The platform has no trusted certificate authorities.
    #[error(
        "the platform has no certificate authorities to verify the server{}: set sslrootcert to a file",
        problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    NoPlatformRoots {
        /// The error of loading them, if any.
        problem: Option<rustls_native_certs::Error>,
    },
    /// The key is encrypted, but no password is set.
    #[error("sslkey: {} is encrypted: set sslpassword", shown(.path))]
    KeyPasswordMissing {
        /// The file.
        path: PathBuf,
    },
    /// The key cannot be decrypted.
    #[error(
        "sslkey: {} cannot be decrypted: sslpassword is wrong, or the key is encrypted in a way that is not \
         supported; encrypt it again with: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in old.key \
         -out new.key",
        shown(.path)
    )]
    KeyUndecryptable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pkcs8::Error,
    },
    /// The key is encrypted in OpenSSL's format from before PKCS#8.
    #[error(
        "sslkey: {} uses the legacy PEM encryption (Proc-Type: 4,ENCRYPTED), which is not supported; convert \
         it with: openssl pkcs8 -topk8 -in old.key -out new.key", shown(.path)
    )]
    LegacyEncryption {
        /// The file.
        path: PathBuf,
    },
    /// No algorithm is available for this kind of key.
    #[error(
        "sslkey: {} has a key of an unsupported kind: {kind}; use a key of ECDSA with the curve P-256, \
         P-384 or P-521, of Ed25519, or of RSA with 2048 to 8192 bits", shown(.path)
    )]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// The kind of key, such as `RSA with 1024 bits`.
        kind: String,
    },
    /// Certificate and key do not belong together, or are not a valid client certificate.
    #[error(
        "sslcert and sslkey: {} and {} cannot be used together: {source}",
        shown(.certificate), shown(.key)
    )]
    BadIdentity {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The cryptography provider lacks algorithms for TLS 1.2 or 1.3.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The driver's TLS connector for these settings.
///
/// # Errors
/// The errors of [`client_config`].
pub(crate) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, TlsError> {
    client_config(settings).map(MakeRustlsConnect::new)
}

/// Reads the files and builds the client configuration for TLS 1.2 and 1.3.
///
/// The roots are read only if the mode verifies the certificate. No protocol is offered by ALPN, because
/// Postgres requests TLS in its own protocol.
///
/// # Errors
/// A file is unusable, or the platform has no roots although they are required.
pub(crate) fn client_config(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(provider::provider());
    let verification = settings.verification();
    let roots = match verification {
        Verification::Possession => Vec::new(),
        Verification::Chain | Verification::ChainAndName => settings.roots.read()?,
    };
    let verifier = ServerVerifier {
        verification,
        anchors: anchors(&settings.roots, &roots)?,
        checks_roots: matches!(settings.roots, Roots::File(_)),
        roots,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.identity {
        Some(identity) => {
            let certified = identity.certified_key(builder.crypto_provider())?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.sni;
    Ok(config)
}

impl TlsSettings {
    /// Whether files are read that can change while the program runs.
    pub(crate) fn reads_files(&self) -> bool {
        self.mode != SslMode::Disable && (self.identity.is_some() || matches!(self.roots, Roots::File(_)))
    }

    /// Whether the server's certificate is verified.
    pub(crate) fn checks_the_server(&self) -> bool {
        self.verification() != Verification::Possession
    }

    fn verification(&self) -> Verification {
        match (self.mode, &self.roots) {
            (SslMode::VerifyFull, _) => Verification::ChainAndName,
            (SslMode::VerifyCa, _) | (SslMode::Require, Roots::File(_)) => Verification::Chain,
            (SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require, _) => {
                Verification::Possession
            }
        }
    }
}

impl SslMode {
    const NAMES: [(Self, &'static str); 6] = [
        (Self::Disable, "disable"),
        (Self::Allow, "allow"),
        (Self::Prefer, "prefer"),
        (Self::Require, "require"),
        (Self::VerifyCa, "verify-ca"),
        (Self::VerifyFull, "verify-full"),
    ];

    /// The mode with this name in libpq.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(mode, _)| *mode)
    }
}

/// Writes the value of `sslmode`.
impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(mode, _)| mode == self).map_or("", |(_, name)| name))
    }
}

impl Roots {
    fn read(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        match self {
            Self::File(path) => certificates("sslrootcert", path),
            Self::Platform => {
                let platform = tls_roots::platform();
                if platform.certificates.is_empty() {
                    return Err(TlsError::NoPlatformRoots { problem: platform.problem });
                }
                Ok(platform.certificates)
            }
        }
    }
}

/// The certificates as trust anchors. A malformed certificate in a file is an error. Malformed certificates
/// of the platform are skipped.
fn anchors(origin: &Roots, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let certificates = certificates.iter().cloned();
    match origin {
        Roots::Platform => Ok(tls_roots::usable_anchors(certificates)),
        Roots::File(path) => tls_roots::anchors(certificates)
            .map_err(|source| TlsError::BadRoot { path: path.clone(), source }),
    }
}

/// All certificates in a PEM file; at least one.
fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let contents = read(setting, path)?;
    tls_roots::from_pem(&contents).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            TlsError::Empty { setting, path: path.to_owned(), wanted: "certificate in PEM form" }
        }
        source => TlsError::NotPem { setting, path: path.to_owned(), source },
    })
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    operator_file::read(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.to_owned(),
        source,
    })
}

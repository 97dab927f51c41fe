//! TLS to Postgres: which server certificates are trusted, and which client certificate is presented.
//!
//! The cryptography is named here and not taken from the process, so that nobody else's choice of a default can
//! change or break this connection.

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

use std::{fmt, io, path::PathBuf, sync::Arc};

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
use crate::tls_roots;

/// What a connection string wants of TLS.
#[derive(Debug, Clone)]
pub(crate) struct TlsSettings {
    /// Whether TLS is used and how far the server has to prove itself.
    pub mode: SslMode,
    /// Whom to believe about the server.
    pub roots: Roots,
    /// The certificate to show to a server that asks for one.
    pub identity: Option<ClientIdentity>,
    /// Whether the server is told which host name it was called by (`sslsni`).
    pub sni: bool,
}

/// The modes of `sslmode`, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server refuses to go without.
    Allow,
    /// TLS if the server can.
    #[default]
    Prefer,
    /// TLS always. With a file of roots as good as [`VerifyCa`](Self::VerifyCa), as in libpq.
    Require,
    /// TLS, and an authority vouches for the server's certificate.
    VerifyCa,
    /// TLS, an authority vouches for the certificate, and it names the host.
    VerifyFull,
}

/// The certificate authorities that are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those the platform believes.
    Platform,
    /// Those in a PEM file.
    File(PathBuf),
}

/// The client's certificate and its key, as files.
#[derive(Debug, Clone)]
pub(crate) struct ClientIdentity {
    /// PEM: the certificate first, then the ones that lead to its authority.
    pub certificate: PathBuf,
    /// PEM: PKCS#8 (encrypted or not), PKCS#1 or SEC1.
    pub key: PathBuf,
    /// Opens an encrypted key.
    pub key_password: Option<SecretString>,
}

/// Why TLS cannot be set up. Names the setting and the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{setting}: {} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The setting that named the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{setting}: {} is not valid PEM: {source}", .path.display())]
    NotPem {
        /// The setting that named the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A file is PEM but lacks what it is for.
    #[error("{setting}: {} holds no {wanted}", .path.display())]
    Empty {
        /// The setting that named the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A certificate of the roots is malformed.
    #[error("sslrootcert: {} has a certificate that cannot be used: {source}", .path.display())]
    BadRoot {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The platform believes nobody.
    #[error(
        "the platform has no certificate authorities to check the server against{}: set sslrootcert to a file",
        problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    NoPlatformRoots {
        /// What went wrong while looking, if anything did.
        problem: Option<rustls_native_certs::Error>,
    },
    /// The key is encrypted and nobody gave its password.
    #[error("sslkey: {} is encrypted: set sslpassword", .path.display())]
    KeyPasswordMissing {
        /// The file.
        path: PathBuf,
    },
    /// The key is encrypted and cannot be opened.
    #[error(
        "sslkey: {} cannot be decrypted: sslpassword is wrong, or the key is encrypted in a way that is not \
         supported; this encrypts it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in old.key \
         -out new.key",
        .path.display()
    )]
    KeyUndecryptable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pkcs8::Error,
    },
    /// The key is encrypted the way OpenSSL did before PKCS#8.
    #[error(
        "sslkey: {} is encrypted in the old PEM way (Proc-Type: 4,ENCRYPTED), which is not supported; convert \
         it with: openssl pkcs8 -topk8 -in old.key -out new.key", .path.display()
    )]
    LegacyEncryption {
        /// The file.
        path: PathBuf,
    },
    /// The key is of a kind that there is no algorithm for.
    #[error(
        "sslkey: {} has a key that this program cannot sign with: {kind}; use a key of ECDSA with the curve P-256, \
         P-384 or P-521, of Ed25519, or of RSA with 2048 to 8192 bits", .path.display()
    )]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
        /// What the key is: `RSA with 1024 bits`.
        kind: String,
    },
    /// Certificate and key do not make a client certificate.
    #[error(
        "sslcert and sslkey: {} and {} cannot be used together: {source}",
        .certificate.display(), .key.display()
    )]
    BadIdentity {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The cryptography lacks what TLS 1.2 or 1.3 needs.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// What the driver needs to open TLS connections by these settings.
///
/// # Errors
/// As [`client_config`].
pub(crate) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect, TlsError> {
    client_config(settings).map(MakeRustlsConnect::new)
}

/// Reads the files and builds the client's side of TLS 1.2 and 1.3.
///
/// The roots are read only if the mode checks anything against them. No protocol is offered by ALPN: Postgres
/// has its own way to ask for TLS.
///
/// # Errors
/// A file cannot be used, or the platform has no roots where they are needed.
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

    /// Whether a server has to prove who it is.
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

    /// The mode that libpq gives this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(mode, _)| *mode)
    }
}

/// As `sslmode` spells it.
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

/// The certificates as trust anchors. One bad certificate in a file is an error; platforms have odd ones, which
/// are passed over.
fn anchors(origin: &Roots, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, TlsError> {
    let certificates = certificates.iter().cloned();
    match origin {
        Roots::Platform => Ok(tls_roots::usable_anchors(certificates)),
        Roots::File(path) => tls_roots::anchors(certificates)
            .map_err(|source| TlsError::BadRoot { path: path.clone(), source }),
    }
}

/// All certificates in a PEM file; at least one.
fn certificates(setting: &'static str, path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let contents = read(setting, path)?;
    tls_roots::from_pem(&contents).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            TlsError::Empty { setting, path: path.clone(), wanted: "certificate in PEM form" }
        }
        source => TlsError::NotPem { setting, path: path.clone(), source },
    })
}

fn read(setting: &'static str, path: &PathBuf) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { setting, path: path.clone(), source })
}

//! TLS for callers: certificates from files, which may change while the server runs, or from a parent
//! process. TLS 1.2 and newer, and `h2` only.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;

use crate::file_watch::{self, FileSource};
use crate::operator_file::{self, shown};
use crate::proto::utls::Credential;
use crate::server::transport::connection::CurrentTls;
use crate::tls_roots;

/// The files of a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct TlsFiles {
    /// PEM: the certificate, then the intermediate certificates up to its certificate authority.
    #[serde(rename = "tls-cert")]
    pub certificate: PathBuf,
    /// PEM: the key of the certificate.
    #[serde(rename = "tls-key")]
    pub key: PathBuf,
    /// PEM: the certificate authorities of the clients that may connect; without it every client may.
    #[serde(rename = "tls-client-ca")]
    pub client_ca: Option<PathBuf>,
}

/// The reason why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{flag}: {} cannot be read: {source}", shown(path))]
    Unreadable {
        /// The setting that named the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file does not contain the expected content.
    #[error("{flag}: {} holds no {wanted} in PEM: {source}", shown(path))]
    NotPem {
        /// The setting that named the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
        /// The cause.
        source: pem::Error,
    },
    /// The certificate and the key do not match, or one of them is unusable.
    #[error("{what} cannot be used: {source}")]
    Unusable {
        /// The owner of the certificate and key.
        what: String,
        /// The cause.
        source: rustls::Error,
    },
    /// The certificate authorities of the clients are unusable.
    #[error("{what} cannot be used: {source}")]
    UnusableClientCa {
        /// The owner of the certificate authorities.
        what: String,
        /// The cause.
        source: rustls::server::VerifierBuilderError,
    },
    /// A parent process sent a key in an unknown form.
    #[error("the parent's key has {0} bytes; an Ed25519 key has 64, its seed first")]
    MalformedKey(usize),
}

/// The certificates of the server and of the accepted clients, encoded.
struct Material {
    what: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Vec<CertificateDer<'static>>,
}

impl Material {
    fn into_config(self) -> Result<ServerConfig, TlsError> {
        let Self { what, chain, key, client_roots } = self;
        let provider = Arc::new(ring::default_provider());
        let unusable = |source| TlsError::Unusable { what: what.clone(), source };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?;
        let builder = if client_roots.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(client_verifier(&what, client_roots)?)
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Accepts clients with a certificate from one of these certificate authorities.
fn client_verifier(
    what: &str,
    roots: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let what = || what.to_owned();
    let roots = tls_roots::anchors(roots).map_err(|source| TlsError::Unusable { what: what(), source })?;
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|source| TlsError::UnusableClientCa { what: what(), source })
}

/// The settings from the data of a parent process: clients must have a certificate from its certificate
/// authority.
///
/// # Errors
/// [`TlsError`]
pub(crate) fn of_parent(credential: &Credential) -> Result<Arc<ServerConfig>, TlsError> {
    // The parent sends an Ed25519 private key as Go encodes it; this is the PKCS#8 prefix of the key's seed.
    const PKCS8: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    const KEY: usize = 64;
    const SEED: usize = 32;
    let seed = credential
        .key
        .get(..SEED)
        .filter(|_| credential.key.len() == KEY)
        .ok_or(TlsError::MalformedKey(credential.key.len()))?;
    Material {
        what: "the parent's credential".to_owned(),
        chain: vec![CertificateDer::from(credential.cert.clone())],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from([PKCS8.as_slice(), seed].concat())),
        client_roots: vec![CertificateDer::from(credential.ca_cert.clone())],
    }
    .into_config()
    .map(Arc::new)
}

/// The settings from the files. They are reloaded when a file changes, so that a rotated certificate applies
/// to the next connection. If the files are unusable, the previous settings stay, and a line is logged.
///
/// # Errors
/// [`TlsError`] if the files are unusable at the start.
pub(crate) fn of_files(files: TlsFiles) -> Result<CurrentTls, TlsError> {
    let current = file_watch::watch(files)?;
    Ok(Arc::new(move || current.load_full()))
}

/// The errors of all files, in the order in which [`of_files`] reads them. Reads only files that `can_be_read`
/// names.
pub(crate) fn check(files: &TlsFiles, can_be_read: impl Fn(&Path) -> bool) -> Vec<TlsError> {
    let TlsFiles { certificate, key, client_ca } = files;
    let client_ca = client_ca.as_deref().filter(|path| can_be_read(path));
    let key = can_be_read(key).then(|| read_key(key));
    let chain = can_be_read(certificate).then(|| certificates("tls-cert", certificate));
    let clients = client_ca.map(|path| {
        let roots = certificates("tls-client-ca", path)?;
        client_verifier(&format!("tls-client-ca {}", shown(path)), roots).map(drop)
    });
    // Only together do a certificate and a key show that they match.
    let (pair, errors) = match (key, chain) {
        (Some(Ok(key)), Some(Ok(chain))) => {
            let pair = Material { what: pair_name(files), chain, key, client_roots: Vec::new() };
            (pair.into_config().err(), [None, None])
        }
        (key, chain) => (None, [key.and_then(Result::err), chain.and_then(Result::err)]),
    };
    errors.into_iter().flatten().chain(clients.and_then(Result::err)).chain(pair).collect()
}

impl FileSource for TlsFiles {
    type Value = ServerConfig;
    type Error = TlsError;

    fn files(&self) -> Vec<&Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path).collect()
    }

    fn read(&self) -> Result<ServerConfig, TlsError> {
        read(self)
    }

    fn log_replaced(&self, _: &ServerConfig) {
        tracing::info!(certificate = %shown(&self.certificate), "loaded a changed certificate");
    }

    fn log_kept(&self, error: &TlsError) {
        tracing::warn!(%error, "kept the previous certificate");
    }
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let key = read_key(&files.key)?;
    Material {
        what: pair_name(files),
        chain: certificates("tls-cert", &files.certificate)?,
        key,
        client_roots: match &files.client_ca {
            Some(path) => certificates("tls-client-ca", path)?,
            None => Vec::new(),
        },
    }
    .into_config()
}

/// The certificate and its key in messages.
fn pair_name(files: &TlsFiles) -> String {
    format!("tls-cert {} with tls-key {}", shown(&files.certificate), shown(&files.key))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let flag = "tls-key";
    let wanted = "unencrypted private key";
    PrivateKeyDer::from_pem_slice(&text(flag, path)?).map_err(|source| TlsError::NotPem {
        flag,
        path: path.to_owned(),
        wanted,
        source,
    })
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let not_pem = |source| TlsError::NotPem { flag, path: path.to_owned(), wanted: "certificate", source };
    tls_roots::from_pem(&text(flag, path)?).map_err(not_pem)
}

fn text(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    operator_file::read(path).map_err(|source| TlsError::Unreadable { flag, path: path.to_owned(), source })
}

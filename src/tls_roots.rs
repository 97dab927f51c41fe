//! Certificate authorities: how they are loaded, and how they become trust anchors.
//!
//! The server, the REST client, the Postgres client and the check of the collector's settings use this
//! module. The connection to a collector does not use it for the platform's certificate authorities, because
//! tonic loads them itself.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// The platform's certificate authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
pub(crate) struct PlatformRoots {
    /// Their certificates; empty if the platform has none.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The first error while loading them.
    pub(crate) problem: Option<rustls_native_certs::Error>,
}

/// Loads the platform's certificate authorities.
pub(crate) fn platform() -> PlatformRoots {
    let found = rustls_native_certs::load_native_certs();
    PlatformRoots { certificates: found.certs, problem: found.errors.into_iter().next() }
}

/// Returns all certificates in a PEM text, at least one.
///
/// # Errors
/// A part of the text is not a certificate in PEM form, or there is no certificate at all
/// ([`pem::Error::NoItemsFound`]).
pub(crate) fn from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    if certificates.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(certificates) }
}

/// The trust anchors of certificates that an operator has chosen.
///
/// # Errors
/// One of them cannot be a trust anchor.
pub(crate) fn anchors(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> Result<RootCertStore, rustls::Error> {
    let mut anchors = RootCertStore::empty();
    certificates.into_iter().try_for_each(|certificate| anchors.add(certificate))?;
    Ok(anchors)
}

/// The trust anchors of all certificates that can be one. Platforms also have unusable certificates.
pub(crate) fn usable_anchors(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
) -> RootCertStore {
    let mut anchors = RootCertStore::empty();
    anchors.add_parsable_certificates(certificates);
    anchors
}

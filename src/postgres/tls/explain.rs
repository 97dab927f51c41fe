//! Explains why webpki rejects a certificate, with information from the certificate.

use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};

use crate::postgres::tls::certificate::Certificate;
use crate::postgres::tls::problem::CertificateProblem;

/// The problem with a server certificate that no root has issued; `None` if the error already explains it.
pub(super) fn explain(
    error: &Error,
    certificate: &Certificate<'_>,
    roots: &[CertificateDer<'_>],
) -> Option<CertificateProblem> {
    let Error::InvalidCertificate(problem) = error else { return None };
    let otherwise = match problem {
        // Its issuer has the name of a trusted certificate authority, but another key.
        CertificateError::BadSignature => Some(CertificateProblem::UnknownIssuer),
        CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => None,
        CertificateError::Other(other)
            if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            Some(CertificateProblem::OfAnAuthority)
        }
        other => match CertificateProblem::from(other) {
            CertificateProblem::UnknownIssuer => Some(CertificateProblem::UnknownIssuer),
            _ => return None,
        },
    };
    let issuer = certificate.issuer()?;
    if certificate.subject().as_ref() == Some(&issuer) {
        return Some(CertificateProblem::SelfSigned);
    }
    let mut roots = roots.iter().filter_map(Certificate::read);
    let of_issuer = roots.find(|root| root.subject().as_ref() == Some(&issuer));
    let unsupported = of_issuer.and_then(|root| root.unsupported_key());
    unsupported.map(CertificateProblem::UnsupportedAuthority).or(otherwise)
}

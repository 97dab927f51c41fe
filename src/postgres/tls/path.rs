//! Verifies the issuer of certificates that webpki does not support: X.509 version 1, which the recipes in
//! Postgres's manual produce (`openssl x509 -req` without a file of extensions).
//!
//! The rules for certificate authorities are those of RFC 5280. A certificate of version 1 can be a
//! certificate authority only if it is a trust anchor.

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use crate::postgres::tls::certificate::Certificate;
use crate::postgres::tls::problem::CertificateProblem;
use crate::postgres::tls::public_key::sequence;

/// The certificate authorities and algorithms to verify a certificate with.
pub(super) struct ChainContext<'a> {
    pub(super) anchors: &'a RootCertStore,
    /// The intermediate certificates from the server.
    pub(super) shown: &'a [CertificateDer<'a>],
    pub(super) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
    pub(super) now: UnixTime,
}

/// Limit of intermediate certificate authorities between a server and a trust anchor.
const LONGEST: usize = 6;
/// Limit of verified signatures, because a server can send many certificates.
const SIGNATURES: usize = 100;

impl ChainContext<'_> {
    /// Verifies that a trusted certificate authority has issued the certificate, and that the certificate is
    /// valid now.
    ///
    /// # Errors
    /// The problem with the certificate.
    pub(super) fn check(&self, certificate: &Certificate<'_>) -> Result<(), CertificateProblem> {
        let shown: Vec<_> = self.shown.iter().filter_map(Certificate::read).collect();
        self.check_below(certificate, &shown, 0, &mut SIGNATURES.clone())
    }

    fn check_below(
        &self,
        certificate: &Certificate<'_>,
        shown: &[Certificate<'_>],
        below: usize,
        signatures: &mut usize,
    ) -> Result<(), CertificateProblem> {
        certificate.check_dates(self.now)?;
        let issuer = certificate.issuer().ok_or(CertificateProblem::Unreadable)?;
        let mut problem = CertificateProblem::UnknownIssuer;
        for anchor in &self.anchors.roots {
            // Anchors with name constraints are skipped, because the constraints are not checked here.
            if sequence(&anchor.subject) == issuer && anchor.name_constraints.is_none() {
                let key = sequence(&anchor.subject_public_key_info);
                match self.check_signature(certificate, key, signatures) {
                    Ok(()) => return Ok(()),
                    Err(found) => problem = found,
                }
            }
        }
        if below >= LONGEST {
            return Err(problem);
        }
        for authority in shown {
            if authority.subject().as_ref() != Some(&issuer) || !authority.may_issue(below) {
                continue;
            }
            let Some(key) = authority.key() else { continue };
            let checked = self
                .check_signature(certificate, key, signatures)
                .and_then(|()| self.check_below(authority, shown, below + 1, signatures));
            match checked {
                Ok(()) => return Ok(()),
                Err(found) => problem = found,
            }
        }
        Err(problem)
    }

    /// Verifies that the certificate is signed with the key.
    fn check_signature(
        &self,
        certificate: &Certificate<'_>,
        key: Vec<u8>,
        signatures: &mut usize,
    ) -> Result<(), CertificateProblem> {
        *signatures = signatures.checked_sub(1).ok_or(CertificateProblem::UnknownIssuer)?;
        let (signed, signature, algorithm) = certificate.signature().ok_or(CertificateProblem::Unreadable)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateProblem::Unreadable)?;
        let mut known = false;
        for candidate in self.algorithms {
            if sequence(&candidate.signature_alg_id()) == algorithm {
                known = true;
                if key.verify_signature(*candidate, signed, signature).is_ok() {
                    return Ok(());
                }
            }
        }
        Err(if known {
            CertificateProblem::UnknownIssuer
        } else {
            CertificateProblem::UnsupportedSignature(certificate.signature_name())
        })
    }
}

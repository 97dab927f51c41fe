//! Who vouches for a certificate that webpki does not read: one of X.509 version 1, which the recipes of Postgres's
//! manual produce (`openssl x509 -req` without a file of extensions).
//!
//! The rules are those of RFC 5280 for authorities. A certificate of version 1 cannot be one, unless it is trusted as such.

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use crate::postgres::tls::certificate::Certificate;
use crate::postgres::tls::problem::CertificateProblem;
use crate::postgres::tls::public_key::sequence;

/// What a certificate can be vouched for with.
pub(super) struct Vouchers<'a> {
    pub(super) anchors: &'a RootCertStore,
    /// The authorities that the server shows.
    pub(super) shown: &'a [CertificateDer<'a>],
    pub(super) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
    pub(super) now: UnixTime,
}

/// How many authorities there may be between a server and one that is trusted.
const LONGEST: usize = 6;
/// How many signatures are looked at: a server can show many certificates.
const SIGNATURES: usize = 100;

impl Vouchers<'_> {
    /// Checks that an authority that is trusted vouches for the certificate, and that it is valid now.
    ///
    /// # Errors
    /// Why not.
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
            // What an authority is constrained to is not looked at here.
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

    /// Whether the holder of the key has signed the certificate.
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

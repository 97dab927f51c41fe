//! Verification of the server's certificate by the rules of `sslmode`.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use webpki::RawPublicKeyEntity;

use crate::postgres::tls::certificate::Certificate;
use crate::postgres::tls::explain::explain;
use crate::postgres::tls::path::ChainContext;
use crate::postgres::tls::problem::CertificateProblem;
use crate::postgres::tls::provider::RSA_PSS_KEYS;
use crate::postgres::tls::public_key::public_key;

/// How much of a server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Only that the server has the private key of its certificate.
    Possession,
    /// Also that a trusted certificate authority has issued the certificate, and that it has not expired.
    Chain,
    /// Also that it names the host.
    ChainAndName,
}

/// Verifies as much of the certificate as the mode requires, and that the server has its private key.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) verification: Verification,
    /// The roots as certificates, to recognize one that the server presents.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// The same roots as trust anchors.
    pub(crate) anchors: RootCertStore,
    /// Whether expired roots are rejected. If so, each root has a corresponding anchor.
    pub(crate) checks_roots: bool,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// Verifies that a trusted certificate authority has issued the certificate and that it is valid now.
    fn verify_chain(
        &self,
        shown: &CertificateDer<'_>,
        read: Option<&Certificate<'_>>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // The usual self-signed Postgres certificate is its own root and marked as a certificate authority.
        // webpki rejects such a server certificate, but libpq and Go accept it: an operator who lists the
        // certificate itself trusts it.
        if let Some(read) = read.filter(|_| self.roots.iter().any(|root| root == shown)) {
            return Ok(read.check_dates(now)?);
        }
        self.verify_by(&self.anchors, shown, read, intermediates, now)?;
        match self.anchors_in_date(now) {
            Some(anchors) => self
                .verify_by(&anchors, shown, read, intermediates, now)
                .map_err(|_| CertificateProblem::ExpiredAuthority.into()),
            None => Ok(()),
        }
    }

    fn verify_by(
        &self,
        anchors: &RootCertStore,
        shown: &CertificateDer<'_>,
        read: Option<&Certificate<'_>>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.algorithms.all;
        match (ParsedCertificate::try_from(shown), read) {
            (Ok(parsed), _) => {
                verify_server_cert_signed_by_trust_anchor(&parsed, anchors, intermediates, now, algorithms)
            }
            (Err(_), Some(read)) => {
                let context = ChainContext { anchors, shown: intermediates, algorithms, now };
                context.check(read).map_err(Error::from)
            }
            // The original error would show the operator the debug format of an internal type.
            (Err(_), None) => Err(CertificateProblem::Unreadable.into()),
        }
        .map_err(|error| {
            let explained = read.and_then(|read| explain(&error, read, &self.roots));
            explained.map_or(error, CertificateProblem::into)
        })
    }

    /// The anchors that have not expired, because webpki does not check that. `None` if all are valid, and
    /// for the platform's roots.
    fn anchors_in_date(&self, now: UnixTime) -> Option<RootCertStore> {
        if !self.checks_roots {
            return None;
        }
        let in_date = |root: &CertificateDer<'_>| {
            Certificate::read(root).is_none_or(|root| root.check_dates(now).is_ok())
        };
        let all = self.anchors.roots.iter().zip(&self.roots);
        let current: Vec<_> =
            all.filter(|(_, root)| in_date(root)).map(|(anchor, _)| anchor.clone()).collect();
        (current.len() < self.roots.len()).then_some(RootCertStore { roots: current })
    }

    /// Verifies that the certificate names the host: in its alternative names, or in its common name if it
    /// has no alternative names of that kind, as in libpq.
    fn verify_name(
        shown: &CertificateDer<'_>,
        read: Option<&Certificate<'_>>,
        asked: &ServerName<'_>,
    ) -> Result<(), Error> {
        let by_alternatives = match ParsedCertificate::try_from(shown) {
            Ok(parsed) => verify_server_name(&parsed, asked),
            Err(_) => Err(CertificateProblem::NoName.into()),
        };
        by_alternatives.or_else(|error| match read {
            Some(read) if !read.has_alternative_names_like(asked) => Ok(read.check_common_name(asked)?),
            _ => Err(error),
        })
    }

    /// Verifies that the server has the private key of its certificate if rustls cannot: for certificates
    /// that it does not parse, mostly of X.509 version 1, and for keys that it does not support. `None` for
    /// other certificates.
    fn verify_besides(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Option<Result<HandshakeSignatureValid, Error>> {
        if !RSA_PSS_KEYS.contains(&signature.scheme) && ParsedCertificate::try_from(certificate).is_ok() {
            return None;
        }
        Some(self.verify_by_key(message, certificate, signature))
    }

    fn verify_by_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate).ok_or(CertificateProblem::Unreadable)?;
        let entity = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateProblem::Unreadable)?;
        let of_scheme = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let mut algorithms = of_scheme.flat_map(|(_, algorithms)| algorithms.iter());
        match algorithms.any(|one| entity.verify_signature(*one, message, signature.signature()).is_ok()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let read = Certificate::read(end_entity);
        let read = read.as_ref();
        // In every mode the server must sign with its key, so the key must be supported.
        if let Some(key) = read.and_then(Certificate::unsupported_key) {
            return Err(CertificateProblem::UnsupportedKey(key).into());
        }
        if self.verification != Verification::Possession {
            self.verify_chain(end_entity, read, intermediates, now)?;
        }
        if self.verification == Verification::ChainAndName {
            Self::verify_name(end_entity, read, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Some(verified) = self.verify_besides(message, certificate, signature) {
            return verified;
        }
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Some(verified) = self.verify_besides(message, certificate, signature) {
            return verified;
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.algorithms.supported_schemes();
        // No algorithm is available for Ed448. A server with such a key presents its certificate only to
        // clients that offer the scheme. The error then names the key instead of a handshake without common
        // algorithms.
        schemes.push(SignatureScheme::ED448);
        schemes
    }
}

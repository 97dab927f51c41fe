//! How a server proves who it is, by the rules of `sslmode`.

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

use crate::postgres::tls::problem::CertificateProblem;
use crate::postgres::tls::public_key::public_key;

/// How much of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Only that the server has the key of the certificate it shows.
    Possession,
    /// Also that an authority vouches for it and that it is in date.
    Chain,
    /// Also that it names the host.
    ChainAndName,
}

/// Checks as much of the certificate as the mode asks for, and that the server has its key.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) verification: Verification,
    /// The roots as certificates, to know one again that the server itself shows.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    /// The same roots as issuers.
    pub(crate) anchors: RootCertStore,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    fn verify_chain(
        &self,
        shown: &CertificateDer<'_>,
        parsed: &ParsedCertificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.algorithms.all;
        match verify_server_cert_signed_by_trust_anchor(parsed, &self.anchors, intermediates, now, algorithms)
        {
            // The usual self-made Postgres certificate is its own root and marked as an authority, which
            // webpki does not take from a server, but libpq and Go do: whoever lists the very certificate
            // vouches for it. These two errors come after the check of the dates, so it is in date.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)))
                if self.roots.iter().any(|root| root == shown) =>
            {
                Ok(())
            }
            result => result.map_err(|error| {
                CertificateProblem::of_chain(&error, shown).map_or(error, CertificateProblem::into)
            }),
        }
    }

    /// Checks that the server has the key of a certificate that the library does not read, of X.509 version 1 above
    /// all, which old recipes for Postgres produce. Nothing for certificates that it reads.
    fn verify_unread(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Option<Result<HandshakeSignatureValid, Error>> {
        if ParsedCertificate::try_from(certificate).is_ok() {
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
        if self.verification != Verification::Possession {
            // The error itself would reach the operator as the debug form of some inner type.
            let parsed =
                ParsedCertificate::try_from(end_entity).map_err(|_| CertificateProblem::Unreadable)?;
            self.verify_chain(end_entity, &parsed, intermediates, now)?;
            if self.verification == Verification::ChainAndName {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if let Some(verified) = self.verify_unread(message, certificate, signature) {
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
        if let Some(verified) = self.verify_unread(message, certificate, signature) {
            return verified;
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

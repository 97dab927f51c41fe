//! Parses certificates of any version, for information that webpki does not provide or versions that it does
//! not support.

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_cert::certificate::Version;
use x509_cert::der::asn1::{AnyRef, Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::spki::ObjectIdentifier;

use crate::postgres::tls::key_kind::{name, unsupported_key, unusable_key};
use crate::postgres::tls::problem::CertificateProblem;

/// A parsed certificate.
pub(super) struct Certificate<'a> {
    parsed: x509_cert::Certificate,
    /// The signed part, unchanged.
    signed: &'a [u8],
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

impl<'a> Certificate<'a> {
    /// `None` if it is not a valid certificate.
    pub(super) fn read(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
        let mut outer = SliceReader::new(certificate).ok()?;
        x509_cert::der::Header::decode(&mut outer).ok()?;
        let signed = outer.tlv_bytes().ok()?;
        Some(Self { parsed, signed })
    }

    /// The kind of its key if no algorithm is available for it, such as `RSA with 1024 bits`.
    pub(super) fn unsupported_key(&self) -> Option<String> {
        let key = &self.parsed.tbs_certificate.subject_public_key_info;
        unsupported_key(&key.algorithm, key.subject_public_key.raw_bytes())
    }

    /// Like `unsupported_key`, for a client that has to sign with the key.
    pub(super) fn unusable_key(&self) -> Option<String> {
        let key = &self.parsed.tbs_certificate.subject_public_key_info;
        unusable_key(&key.algorithm, key.subject_public_key.raw_bytes())
    }

    /// # Errors
    /// The certificate is not valid at this time.
    pub(super) fn check_dates(&self, now: UnixTime) -> Result<(), CertificateProblem> {
        let validity = &self.parsed.tbs_certificate.validity;
        if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateProblem::NotYetValid);
        }
        if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateProblem::Expired);
        }
        Ok(())
    }

    /// The name of its issuer, as DER.
    pub(super) fn issuer(&self) -> Option<Vec<u8>> {
        self.parsed.tbs_certificate.issuer.to_der().ok()
    }

    /// Its subject, as DER.
    pub(super) fn subject(&self) -> Option<Vec<u8>> {
        self.parsed.tbs_certificate.subject.to_der().ok()
    }

    /// Its key, as DER.
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        self.parsed.tbs_certificate.subject_public_key_info.to_der().ok()
    }

    /// The signed part, the signature, and the algorithm as DER; `None` if the two fields for the algorithm
    /// differ.
    pub(super) fn signature(&self) -> Option<(&'a [u8], &[u8], Vec<u8>)> {
        let algorithm = &self.parsed.signature_algorithm;
        if *algorithm != self.parsed.tbs_certificate.signature {
            return None;
        }
        Some((self.signed, self.parsed.signature.as_bytes()?, algorithm.to_der().ok()?))
    }

    /// The name of the signature algorithm.
    pub(super) fn signature_name(&self) -> String {
        name(self.parsed.signature_algorithm.oid)
    }

    /// Whether it is a certificate authority that may issue server certificates through `below` other
    /// certificate authorities. A certificate with constraints that are not checked here is not accepted.
    pub(super) fn may_issue(&self, below: usize) -> bool {
        let certificate = &self.parsed.tbs_certificate;
        let extensions = certificate.extensions.as_deref().unwrap_or_default();
        let looked_at = [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID];
        let constraints = self.extension::<BasicConstraints>();
        let usage = self.extension::<KeyUsage>();
        let uses = self.extension::<ExtendedKeyUsage>();
        certificate.version == Version::V3
            && extensions
                .iter()
                .all(|extension| !extension.critical || looked_at.contains(&extension.extn_id))
            && !extensions.iter().any(|extension| extension.extn_id == NAME_CONSTRAINTS)
            && constraints.is_some_and(|constraints| {
                constraints.ca
                    && constraints.path_len_constraint.is_none_or(|most| usize::from(most) >= below)
            })
            && (usage.is_some_and(|usage| usage.key_cert_sign()) || !self.has_extension(KeyUsage::OID))
            && (uses.is_some_and(|uses| uses.0.iter().any(|usage| [SERVER_AUTH, ANY_USE].contains(usage)))
                || !self.has_extension(ExtendedKeyUsage::OID))
    }

    /// Whether its alternative names include one of the same kind as this name. If so, its common name does
    /// not count.
    pub(super) fn has_alternative_names_like(&self, asked: &ServerName<'_>) -> bool {
        let Some(names) = self.extension::<SubjectAltName>() else {
            // Unreadable names may be of this kind.
            return self.has_extension(SubjectAltName::OID);
        };
        names.0.iter().any(|name| match asked {
            ServerName::IpAddress(_) => matches!(name, GeneralName::IpAddress(_)),
            _ => matches!(name, GeneralName::DnsName(_)),
        })
    }

    /// Verifies that the common name is this name, as libpq does without an alternative name.
    ///
    /// # Errors
    /// The common name is another name or missing.
    pub(super) fn check_common_name(&self, asked: &ServerName<'_>) -> Result<(), CertificateProblem> {
        let asked = asked.to_str();
        let Some(name) = self.common_name() else { return Err(CertificateProblem::NoName) };
        if matches(&name, &asked) {
            return Ok(());
        }
        Err(CertificateProblem::WrongName { asked: asked.into_owned(), presented: format!("{name:?}") })
    }

    fn common_name(&self) -> Option<String> {
        let names = self.parsed.tbs_certificate.subject.0.iter().flat_map(|names| names.0.iter());
        let name = names.into_iter().find(|name| name.oid == COMMON_NAME)?;
        text(AnyRef::from(&name.value)).filter(|name| !name.is_empty() && !name.contains('\0'))
    }

    fn has_extension(&self, id: ObjectIdentifier) -> bool {
        let extensions = self.parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        extensions.iter().any(|extension| extension.extn_id == id)
    }

    fn extension<T: AssociatedOid + for<'b> Decode<'b>>(&self) -> Option<T> {
        let extensions = self.parsed.tbs_certificate.extensions.as_deref().unwrap_or_default();
        let extension = extensions.iter().find(|extension| extension.extn_id == T::OID)?;
        T::from_der(extension.extn_value.as_bytes()).ok()
    }
}

fn text(value: AnyRef<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.to_string()),
        _ => None,
    }
}

/// Whether a common name matches the host, exactly or with `*.` in place of its first label.
fn matches(name: &str, host: &str) -> bool {
    let Some(parent) = name.strip_prefix("*.") else { return name.eq_ignore_ascii_case(host) };
    host.split_once('.').is_some_and(|(first, rest)| {
        !first.is_empty() && parent.contains('.') && rest.eq_ignore_ascii_case(parent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_matches_the_host_exactly_or_by_its_first_label() {
        for (name, host, expected) in [
            ("db.example.com", "DB.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.com", "example.com", false),
            ("d*.example.com", "db.example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("db", "db.example.com", false),
        ] {
            assert_eq!(matches(name, host), expected, "{name} {host}");
        }
    }
}

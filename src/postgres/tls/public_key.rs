//! The public key of an X.509 version 1 certificate, which old recipes for Postgres produce.

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::anchor_from_trusted_cert;

/// The key of a certificate of any version, as DER; `None` if it cannot be parsed.
///
/// The library supports version 1 only for trust anchors, so the certificate is parsed as one.
pub(crate) fn public_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let anchor = anchor_from_trusted_cert(certificate).ok()?;
    Some(SubjectPublicKeyInfoDer::from(sequence(&anchor.subject_public_key_info)))
}

/// Wraps the content in a DER SEQUENCE.
pub(super) fn sequence(contents: &[u8]) -> Vec<u8> {
    const SEQUENCE: u8 = 0x30;
    const LONG: u8 = 0x80;
    let length = contents.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut encoded = vec![SEQUENCE];
    match significant.as_slice() {
        [] => encoded.push(0),
        [short] if *short < LONG => encoded.push(*short),
        // A length has at most eight bytes.
        long => {
            encoded.push(LONG | u8::try_from(long.len()).unwrap_or_default());
            encoded.extend_from_slice(long);
        }
    }
    encoded.extend_from_slice(contents);
    encoded
}

#[cfg(test)]
mod tests {
    use super::sequence;

    #[test]
    fn lengths_have_the_shortest_form() {
        assert_eq!(sequence(&[])[..], [0x30, 0]);
        assert_eq!(sequence(&[7; 127])[..3], [0x30, 127, 7]);
        assert_eq!(sequence(&[7; 128])[..4], [0x30, 0x81, 128, 7]);
        assert_eq!(sequence(&[7; 300])[..5], [0x30, 0x82, 1, 44, 7]);
    }
}

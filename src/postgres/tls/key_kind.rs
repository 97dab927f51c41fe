//! Kinds of keys and signatures: the supported ones, and their names.

use x509_cert::der::asn1::UintRef;
use x509_cert::der::oid::db::DB;
use x509_cert::der::{Decode, Reader, SliceReader};
use x509_cert::spki::{AlgorithmIdentifierOwned, ObjectIdentifier};

/// The supported kinds of keys; RSA sizes in bits.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// P-256, P-384 and P-521.
const CURVES: [ObjectIdentifier; 3] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"),
    ObjectIdentifier::new_unwrap("1.3.132.0.34"),
    ObjectIdentifier::new_unwrap("1.3.132.0.35"),
];
/// Readable names for algorithms without a common name in the library.
const NAMES: [(&str, &str); 4] = [
    ("1.2.840.10040.4.1", "DSA"),
    ("1.3.101.113", "Ed448"),
    ("1.3.132.0.10", "secp256k1"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
];

/// The kind of the key if no algorithm is available for it.
pub(super) fn unsupported_key(algorithm: &AlgorithmIdentifierOwned, key: &[u8]) -> Option<String> {
    let id = algorithm.oid;
    if id == RSA || id == RSA_PSS {
        let bits = rsa_bits(key)?;
        return (!RSA_BITS.contains(&bits)).then(|| format!("RSA with {bits} bits"));
    }
    if id == EC {
        let curve =
            algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        return match curve {
            Some(curve) if CURVES.contains(&curve) => None,
            Some(curve) => Some(format!("ECDSA with the curve {}", name(curve))),
            None => Some("ECDSA with a curve that has no name".to_owned()),
        };
    }
    (id != ED25519).then(|| name(id))
}

/// Like [`unsupported_key`], for a key that a client signs with. RSA-PSS keys can be verified but not used to
/// sign.
pub(super) fn unusable_key(algorithm: &AlgorithmIdentifierOwned, key: &[u8]) -> Option<String> {
    let pss = || (algorithm.oid == RSA_PSS).then(|| "RSA-PSS".to_owned());
    unsupported_key(algorithm, key).or_else(pss)
}

/// The name of an algorithm, from the content of its DER identifier.
pub(super) fn algorithm_name(identifier: &[u8]) -> Option<String> {
    let mut reader = SliceReader::new(identifier).ok()?;
    ObjectIdentifier::decode(&mut reader).ok().map(name)
}

pub(super) fn name(id: ObjectIdentifier) -> String {
    let number = id.to_string();
    let ours = NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    ours.or_else(|| DB.by_oid(&id)).map_or(number, str::to_owned)
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    let modulus = reader.sequence(|contents| {
        let modulus = UintRef::decode(contents)?;
        UintRef::decode(contents)?;
        Ok(modulus)
    });
    let modulus = modulus.ok()?.as_bytes().to_vec();
    let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    Some(modulus.len() * 8 - unused)
}

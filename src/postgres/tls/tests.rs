//! Handshakes in memory between the client under test and servers with all kinds of certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod files;
mod kinds;
mod openssl;
#[path = "../../../tests/support/openssl.rs"]
mod openssl_program;

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConnection, ProtocolVersion, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tempfile::TempDir;

use super::*;

const HOST: &str = "db.example.com";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate with its key.
struct Pair {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

fn authority(name: &str) -> Authority {
    changed_authority(name, |_| {})
}

fn changed_authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issued(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::new([String::from(HOST)]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Pair { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

fn self_made(change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::new([String::from(HOST)]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Pair { certificate: certificate.der().clone(), pem: certificate.pem(), key }
}

fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
}

fn server(
    pair: &Pair,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let provider = Arc::new(provider::provider());
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Avoids with_single_cert, which rejects some of the certificates under test.
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![pair.certificate.clone()], key));
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    builder.with_cert_resolver(Arc::new(resolver))
}

fn settings(mode: SslMode, roots: Roots) -> TlsSettings {
    TlsSettings { mode, roots, identity: None, sni: true }
}

/// The results of a handshake.
struct Shaken {
    version: ProtocolVersion,
    name_seen: Option<String>,
}

/// Runs the handshake until it completes or fails.
fn shake(client: &TlsSettings, server: ServerConfig, name: &str) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config(client).unwrap()), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(Shaken {
        version: client.protocol_version().unwrap(),
        name_seen: server.server_name().map(str::to_owned),
    })
}

fn write(directory: &TempDir, name: &str, contents: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, contents).unwrap();
    path
}

fn roots_file(directory: &TempDir, contents: &str) -> Roots {
    Roots::File(write(directory, "roots.pem", contents))
}

#[test]
fn each_mode_accepts_and_rejects_the_right_certificates() {
    use SslMode::{Allow, Prefer, Require, VerifyCa, VerifyFull};
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let stranger = authority("stranger");
    // Two certificates in one file; the relevant one is last.
    let file = roots_file(&directory, &format!("{}\n{}", authority("other").pem(), trusted.pem()));
    let good = issued(&trusted, |_| {});
    let foreign = issued(&stranger, |_| {});
    let old = issued(&trusted, expired);

    // Mode and roots, then the expected results for: a valid certificate, another host's name, another
    // certificate authority, an expired certificate.
    for (mode, roots, expected) in [
        (Allow, Roots::Platform, [true, true, true, true]),
        (Prefer, Roots::Platform, [true, true, true, true]),
        (Prefer, file.clone(), [true, true, true, true]),
        (Require, Roots::Platform, [true, true, true, true]),
        (Require, file.clone(), [true, true, false, false]),
        (VerifyCa, file.clone(), [true, true, false, false]),
        (VerifyFull, file.clone(), [true, false, false, false]),
    ] {
        let settings = settings(mode, roots);
        let outcomes = [(&good, HOST), (&good, "elsewhere.example.com"), (&foreign, HOST), (&old, HOST)]
            .map(|(pair, name)| shake(&settings, server(pair, None, BOTH), name).is_ok());
        assert_eq!(outcomes, expected, "{mode} {:?}", settings.roots);
    }
}

#[test]
fn an_error_names_the_certificate_problem() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let settings = settings(SslMode::VerifyFull, roots_file(&directory, &trusted.pem()));
    let why = |pair: &Pair, name| {
        let Err(error) = shake(&settings, server(pair, None, BOTH), name) else { panic!("accepted") };
        CertificateProblem::of(&error).unwrap()
    };
    use CertificateProblem::{Expired, NoName, UnknownIssuer, WrongName};
    let (asked, presented) = ("x.example.com".to_owned(), format!("{HOST:?}"));
    assert_eq!(why(&issued(&trusted, |_| {}), "x.example.com"), WrongName { asked, presented });
    let nameless = issued(&trusted, |params| {
        params.subject_alt_names.clear();
        params.distinguished_name = rcgen::DistinguishedName::new();
    });
    assert_eq!(why(&nameless, HOST), NoName);
    assert_eq!(why(&issued(&authority("stranger"), |_| {}), HOST), UnknownIssuer);
    // The same name, but another key.
    assert_eq!(why(&issued(&authority("trusted"), |_| {}), HOST), UnknownIssuer);
    assert_eq!(why(&issued(&trusted, expired), HOST), Expired);
}

#[test]
fn rejects_certificates_of_an_expired_authority() {
    let directory = tempfile::tempdir().unwrap();
    let (old, other) = (changed_authority("old", expired), authority("other"));
    let (of_old, of_other) = (issued(&old, |_| {}), issued(&other, |_| {}));
    let both = settings(SslMode::VerifyCa, roots_file(&directory, &format!("{}{}", old.pem(), other.pem())));
    let Err(error) = shake(&both, server(&of_old, None, BOTH), HOST) else { panic!("accepted") };
    assert_eq!(CertificateProblem::of(&error), Some(CertificateProblem::ExpiredAuthority));
    assert!(shake(&both, server(&of_other, None, BOTH), HOST).is_ok());
}

#[test]
fn both_versions_of_tls_work_and_verify_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let good = issued(&trusted, |_| {});
    let foreign = issued(&authority("stranger"), |_| {});
    let full = settings(SslMode::VerifyFull, roots_file(&directory, &trusted.pem()));
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        assert_eq!(shake(&full, server(&good, None, &[version]), HOST).unwrap().version, name);
        assert!(shake(&full, server(&foreign, None, &[version]), HOST).is_err());
    }
}

#[test]
fn rejects_a_server_without_the_private_key_in_every_mode() {
    let trusted = authority("trusted");
    let mut thief = issued(&trusted, |_| {});
    thief.key = KeyPair::generate().unwrap();
    for version in [&TLS12, &TLS13] {
        let outcome =
            shake(&settings(SslMode::Prefer, Roots::Platform), server(&thief, None, &[version]), HOST);
        assert!(outcome.is_err());
    }
}

#[test]
fn a_self_signed_certificate_is_accepted_if_it_is_a_root() {
    use CertificateProblem::{OfAnAuthority, SelfSigned, UnknownIssuer};
    let directory = tempfile::tempdir().unwrap();
    let as_authority =
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = issued(&authority("unlisted"), |_| {});
    for pair in [&self_made(as_authority), &self_made(|_| {}), &foreign] {
        let full = settings(SslMode::VerifyFull, roots_file(&directory, &pair.pem));
        assert!(shake(&full, server(pair, None, BOTH), HOST).is_ok());
        assert!(shake(&full, server(pair, None, BOTH), "elsewhere.example.com").is_err());
        let another = settings(SslMode::VerifyFull, roots_file(&directory, &self_made(as_authority).pem));
        let Err(error) = shake(&another, server(pair, None, BOTH), HOST) else { panic!("accepted") };
        let expected = if pair.pem == foreign.pem { UnknownIssuer } else { SelfSigned };
        assert_eq!(CertificateProblem::of(&error), Some(expected));
    }
    let below = issued(&authority("unlisted"), as_authority);
    let another = settings(SslMode::VerifyCa, roots_file(&directory, &foreign.pem));
    let Err(error) = shake(&another, server(&below, None, BOTH), HOST) else { panic!("accepted") };
    assert_eq!(CertificateProblem::of(&error), Some(OfAnAuthority));
    let old = self_made(|params| {
        as_authority(params);
        expired(params);
    });
    let full = settings(SslMode::VerifyCa, roots_file(&directory, &old.pem));
    assert!(shake(&full, server(&old, None, BOTH), HOST).is_err());
}

/// Removes the version and two extensions, which invalidates the signature.
#[test]
fn a_modified_certificate_is_accepted_only_unverified() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let mut pair = issued(&trusted, |_| {});
    pair.certificate = CertificateDer::from(to_version_1(&pair.certificate));
    let platform = settings(SslMode::Require, Roots::Platform);
    let checked = settings(SslMode::VerifyCa, roots_file(&directory, &trusted.pem()));
    for version in [&TLS12, &TLS13] {
        assert!(shake(&platform, server(&pair, None, &[version]), HOST).is_ok());
        let Err(error) = shake(&checked, server(&pair, None, &[version]), HOST) else { panic!("accepted") };
        assert_eq!(CertificateProblem::of(&error), Some(CertificateProblem::UnknownIssuer));
    }
    pair.certificate = CertificateDer::from(pair.certificate[..pair.certificate.len() - 1].to_vec());
    let Err(error) = shake(&checked, server(&pair, None, BOTH), HOST) else { panic!("accepted") };
    assert_eq!(CertificateProblem::of(&error), Some(CertificateProblem::Unreadable));
}

/// The certificate without the fields that version 1 lacks, which invalidates its signature.
fn to_version_1(certificate: &[u8]) -> Vec<u8> {
    let (_, contents, _) = first_value(certificate);
    let (_, mut fields, signature) = first_value(contents);
    let mut kept = Vec::new();
    while !fields.is_empty() {
        let (field, _, rest) = first_value(fields);
        let (version, extensions) = (0xa0, 0xa3);
        if ![version, extensions].contains(&field[0]) {
            kept.extend_from_slice(field);
        }
        fields = rest;
    }
    sequence(&[sequence(&kept).as_slice(), signature].concat())
}

/// The first DER value: the whole value, its content, and the rest.
fn first_value(der: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (header, length) = match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        short => (2, usize::from(short)),
    };
    (&der[..header + length], &der[header..header + length], &der[header + length..])
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
    // DER requires the shortest form of a length.
    let header = match contents.len() {
        0..=0x7f => vec![0x30, low],
        0x80..=0xff => vec![0x30, 0x81, low],
        _ => vec![0x30, 0x82, high, low],
    };
    [header.as_slice(), contents].concat()
}

#[test]
fn sends_the_host_name_unless_disabled() {
    let pair = issued(&authority("trusted"), |_| {});
    let mut settings = settings(SslMode::Require, Roots::Platform);
    let seen = |settings: &TlsSettings| shake(settings, server(&pair, None, BOTH), HOST).unwrap().name_seen;
    assert_eq!(seen(&settings).as_deref(), Some(HOST));
    settings.sni = false;
    assert_eq!(seen(&settings), None);
}

#[test]
fn verifies_an_ip_address() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let pair = issued(&trusted, |params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("::1".parse().unwrap())];
    });
    let full = settings(SslMode::VerifyFull, roots_file(&directory, &trusted.pem()));
    assert!(shake(&full, server(&pair, None, BOTH), "::1").is_ok());
    assert!(shake(&full, server(&pair, None, BOTH), "::2").is_err());
}

#[test]
fn does_not_read_roots_if_nothing_is_verified() {
    for mode in [SslMode::Disable, SslMode::Allow, SslMode::Prefer] {
        assert!(client_config(&settings(mode, Roots::File(Path::new("/nowhere").to_owned()))).is_ok());
    }
}

#[test]
fn modes_have_the_names_of_libpq() {
    for (mode, name) in SslMode::NAMES {
        assert_eq!((SslMode::from_name(name), mode.to_string()), (Some(mode), name.to_owned()));
    }
    assert_eq!(SslMode::from_name("verify_full"), None);
    assert_eq!(SslMode::from_name("Require"), None);
    assert!(SslMode::Disable < SslMode::VerifyFull);
}

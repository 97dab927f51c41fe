//! Handshakes in memory between the client under test and servers with all kinds of certificates.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine};
use pkcs8::{PrivateKeyInfo, der::pem::LineEnding, pkcs5::pbes2};
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
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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
    let provider = Arc::new(ring::default_provider());
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Not with_single_cert, which refuses the certificates that the client is to be tried with.
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

/// What one handshake showed.
struct Shaken {
    version: ProtocolVersion,
    name_seen: Option<String>,
}

/// Lets client and server talk until both are satisfied or one is not.
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
fn each_mode_accepts_and_refuses_what_it_says() {
    use SslMode::{Allow, Prefer, Require, VerifyCa, VerifyFull};
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let stranger = authority("stranger");
    // Two certificates in one file, the one that counts last.
    let file = roots_file(&directory, &format!("{}\n{}", authority("other").pem(), trusted.pem()));
    let good = issued(&trusted, |_| {});
    let foreign = issued(&stranger, |_| {});
    let old = issued(&trusted, expired);

    // Mode, roots, then: right, another host's name, another authority, expired.
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
fn refusals_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let settings = settings(SslMode::VerifyFull, roots_file(&directory, &trusted.pem()));
    let why = |pair: &Pair, name| {
        let Err(rustls::Error::InvalidCertificate(error)) = shake(&settings, server(pair, None, BOTH), name)
        else {
            panic!("accepted")
        };
        error
    };
    use rustls::CertificateError::{ExpiredContext, NotValidForNameContext, UnknownIssuer};
    assert!(matches!(why(&issued(&trusted, |_| {}), "x.example.com"), NotValidForNameContext { .. }));
    assert!(matches!(why(&issued(&authority("stranger"), |_| {}), HOST), UnknownIssuer));
    assert!(matches!(why(&issued(&trusted, expired), HOST), ExpiredContext { .. }));
}

#[test]
fn both_versions_of_tls_work_and_both_are_verified() {
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
fn a_server_without_the_key_is_refused_in_every_mode() {
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
fn a_self_made_certificate_is_its_own_root() {
    let directory = tempfile::tempdir().unwrap();
    let as_authority =
        |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for pair in [self_made(as_authority), self_made(|_| {}), issued(&authority("unlisted"), |_| {})] {
        let full = settings(SslMode::VerifyFull, roots_file(&directory, &pair.pem));
        assert!(shake(&full, server(&pair, None, BOTH), HOST).is_ok());
        assert!(shake(&full, server(&pair, None, BOTH), "elsewhere.example.com").is_err());
        let another = settings(SslMode::VerifyFull, roots_file(&directory, &self_made(as_authority).pem));
        assert!(shake(&another, server(&pair, None, BOTH), HOST).is_err());
    }
    let old = self_made(|params| {
        as_authority(params);
        expired(params);
    });
    let full = settings(SslMode::VerifyCa, roots_file(&directory, &old.pem));
    assert!(shake(&full, server(&old, None, BOTH), HOST).is_err());
}

#[test]
fn a_version_1_certificate_passes_only_unverified() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let mut pair = issued(&trusted, |_| {});
    pair.certificate = CertificateDer::from(to_version_1(&pair.certificate));
    let platform = settings(SslMode::Require, Roots::Platform);
    let checked = settings(SslMode::VerifyCa, roots_file(&directory, &trusted.pem()));
    for version in [&TLS12, &TLS13] {
        assert!(shake(&platform, server(&pair, None, &[version]), HOST).is_ok());
        assert!(shake(&checked, server(&pair, None, &[version]), HOST).is_err());
    }
}

/// The certificate without the fields that version 1 lacks; its signature no longer fits.
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

/// The first value of some DER: all of it, its contents, and what follows.
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
    // DER wants the shortest form of a length.
    let header = match contents.len() {
        0..=0x7f => vec![0x30, low],
        0x80..=0xff => vec![0x30, 0x81, low],
        _ => vec![0x30, 0x82, high, low],
    };
    [header.as_slice(), contents].concat()
}

#[test]
fn the_host_name_is_sent_unless_told_otherwise() {
    let pair = issued(&authority("trusted"), |_| {});
    let mut settings = settings(SslMode::Require, Roots::Platform);
    let seen = |settings: &TlsSettings| shake(settings, server(&pair, None, BOTH), HOST).unwrap().name_seen;
    assert_eq!(seen(&settings).as_deref(), Some(HOST));
    settings.sni = false;
    assert_eq!(seen(&settings), None);
}

#[test]
fn an_address_can_be_verified_too() {
    let directory = tempfile::tempdir().unwrap();
    let trusted = authority("trusted");
    let pair = issued(&trusted, |params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("::1".parse().unwrap())];
    });
    let full = settings(SslMode::VerifyFull, roots_file(&directory, &trusted.pem()));
    assert!(shake(&full, server(&pair, None, BOTH), "::1").is_ok());
    assert!(shake(&full, server(&pair, None, BOTH), "::2").is_err());
}

// ===== client certificates =====

fn with_identity(directory: &TempDir, pair: &Pair, key: &str, password: Option<&str>) -> TlsSettings {
    let identity = ClientIdentity {
        certificate: write(directory, "client.crt", &pair.pem),
        key: write(directory, "client.key", key),
        key_password: password.map(SecretString::from),
    };
    TlsSettings { identity: Some(identity), ..settings(SslMode::Require, Roots::Platform) }
}

/// Encrypts with few rounds, to spare the tests the waiting.
fn encrypted(pair: &Pair, password: &str) -> String {
    let der = pair.key.serialize_der();
    let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(64, b"saltsalt", &[7; 16]).unwrap();
    let key = PrivateKeyInfo::try_from(der.as_slice()).unwrap();
    let encrypted = key.encrypt_with_params(parameters, password).unwrap();
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

#[test]
fn a_client_certificate_is_shown_to_a_server_that_asks() {
    let directory = tempfile::tempdir().unwrap();
    let clients = authority("clients");
    let server_pair = issued(&authority("servers"), |_| {});
    let client = issued(&clients, |_| {});
    let foreign = issued(&authority("stranger"), |_| {});
    for version in [&TLS12, &TLS13] {
        let server = || server(&server_pair, Some(&clients), &[version]);
        let plain_key = client.key.serialize_pem();
        assert!(shake(&with_identity(&directory, &client, &plain_key, None), server(), HOST).is_ok());
        let foreign_key = foreign.key.serialize_pem();
        assert!(shake(&with_identity(&directory, &foreign, &foreign_key, None), server(), HOST).is_err());
        assert!(shake(&settings(SslMode::Require, Roots::Platform), server(), HOST).is_err());
    }
}

#[test]
fn an_encrypted_key_opens_with_its_password_only() {
    let directory = tempfile::tempdir().unwrap();
    let clients = authority("clients");
    let server_pair = issued(&authority("servers"), |_| {});
    let client = issued(&clients, |_| {});
    let key = format!("Bag Attributes: <none>\n{}", encrypted(&client, "open sesame"));

    let right = with_identity(&directory, &client, &key, Some("open sesame"));
    assert!(shake(&right, server(&server_pair, Some(&clients), BOTH), HOST).is_ok());

    let wrong = client_config(&with_identity(&directory, &client, &key, Some("hunter2"))).unwrap_err();
    assert!(matches!(wrong, TlsError::KeyUndecryptable { .. }), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    let none = client_config(&with_identity(&directory, &client, &key, None)).unwrap_err();
    assert!(matches!(none, TlsError::KeyPasswordMissing { .. }), "{none}");
    assert!(none.to_string().contains("sslpassword"));
}

#[test]
fn keys_that_are_not_pkcs8_are_read_too() {
    let directory = tempfile::tempdir().unwrap();
    let clients = authority("clients");
    let client = issued(&clients, |_| {});
    let server_pair = issued(&authority("servers"), |_| {});
    // PKCS#8 wraps just what the older form for elliptic curves holds.
    let der = client.key.serialize_der();
    let inner = PrivateKeyInfo::try_from(der.as_slice()).unwrap().private_key;
    let pem = |label: &str| {
        let body = BASE64_STANDARD.encode(inner);
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    };
    let sec1 = with_identity(&directory, &client, &pem("EC PRIVATE KEY"), None);
    assert!(shake(&sec1, server(&server_pair, Some(&clients), BOTH), HOST).is_ok());

    let pkcs1 = with_identity(&directory, &client, &pem("RSA PRIVATE KEY"), None);
    let (_, key) = pkcs1.identity.unwrap().read().unwrap();
    assert!(matches!(key, PrivateKeyDer::Pkcs1(_)));
}

// ===== files that cannot be used =====

#[test]
fn unusable_files_are_named_with_their_setting() {
    let directory = tempfile::tempdir().unwrap();
    let pair = issued(&authority("clients"), |_| {});
    let other = issued(&authority("clients"), |_| {});
    let good_key = pair.key.serialize_pem();
    let nowhere = directory.path().join("nowhere.pem");
    let identity = |change: &dyn Fn(&mut ClientIdentity)| {
        let mut settings = with_identity(&directory, &pair, &good_key, None);
        change(settings.identity.as_mut().unwrap());
        settings
    };
    let file = |name: &str, contents: &str| write(&directory, name, contents);
    let roots = |path: PathBuf| settings(SslMode::VerifyFull, Roots::File(path));
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----END RSA PRIVATE KEY-----\n";

    for (settings, setting, path, text) in [
        (roots(nowhere.clone()), "sslrootcert", "nowhere.pem", "cannot be read"),
        (roots(file("empty.pem", "")), "sslrootcert", "empty.pem", "holds no certificate"),
        (roots(file("torn.pem", torn)), "sslrootcert", "torn.pem", "not valid PEM"),
        (roots(file("der.pem", not_der)), "sslrootcert", "der.pem", "cannot be used"),
        (identity(&|it| it.certificate = nowhere.clone()), "sslcert", "nowhere.pem", "cannot be read"),
        (
            identity(&|it| it.certificate = file("e.crt", &good_key)),
            "sslcert",
            "e.crt",
            "holds no certificate",
        ),
        (identity(&|it| it.key = nowhere.clone()), "sslkey", "nowhere.pem", "cannot be read"),
        (identity(&|it| it.key = file("e.key", &pair.pem)), "sslkey", "e.key", "holds no private key"),
        (identity(&|it| it.key = file("old.key", legacy)), "sslkey", "old.key", "openssl pkcs8 -topk8"),
        (
            identity(&|it| it.key = file("other.key", &other.key.serialize_pem())),
            "sslcert and sslkey",
            "other.key",
            "cannot be used together",
        ),
    ] {
        let error = client_config(&settings).unwrap_err().to_string();
        for part in [setting, path, text] {
            assert!(error.contains(part), "{error} should have {part}");
        }
    }
}

#[test]
fn roots_are_not_read_where_nothing_is_checked() {
    for mode in [SslMode::Disable, SslMode::Allow, SslMode::Prefer] {
        assert!(client_config(&settings(mode, Roots::File(Path::new("/nowhere").to_owned()))).is_ok());
    }
}

#[test]
fn debug_hides_the_key_password() {
    let directory = tempfile::tempdir().unwrap();
    let pair = issued(&authority("clients"), |_| {});
    let settings = with_identity(&directory, &pair, "", Some("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn modes_are_named_as_in_libpq() {
    for (mode, name) in SslMode::NAMES {
        assert_eq!((SslMode::from_name(name), mode.to_string()), (Some(mode), name.to_owned()));
    }
    assert_eq!(SslMode::from_name("verify_full"), None);
    assert_eq!(SslMode::from_name("Require"), None);
    assert!(SslMode::Disable < SslMode::VerifyFull);
}

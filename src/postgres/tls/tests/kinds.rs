//! All kinds of keys, curves, signatures and certificates that OpenSSL can create: each works, or the error
//! names it.

use super::openssl::{OpensslDir, P256};
use super::*;

const VERSION_3: &str = "-extfile openssl.cnf -extensions server";

fn expect(outcome: &Result<(), String>, words: &str, what: &str) {
    match outcome {
        Ok(()) => assert_eq!(words, "", "{what} was accepted"),
        Err(problem) => assert!(!words.is_empty() && problem.contains(words), "{what}: {problem}"),
    }
}

#[test]
fn every_kind_of_key_works_or_the_error_names_it() {
    let openssl_dir = OpensslDir::open();
    openssl_dir.authority("authority", P256);
    let full = settings(SslMode::VerifyFull, openssl_dir.roots("authority"));
    let unchecked = settings(SslMode::Require, Roots::Platform);
    let nothing = "curve, such as secp256k1 or brainpoolP256r1";
    let restricted = "-algorithm RSA-PSS -pkeyopt rsa_pss_keygen_md:sha256 \
                      -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32";
    for (key, more, words) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "", ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "-tls1_2", ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:4096", "", ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "", "RSA with 1024 bits"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-tls1_2", "RSA with 1024 bits"),
        ("-algorithm RSA-PSS", "", ""),
        ("-algorithm RSA-PSS", "-tls1_2", "RSA-PSS with TLS 1.2"),
        (restricted, "", ""),
        (P256, "", ""),
        (P256, "-tls1_2", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-tls1_2", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-tls1_2", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", "-tls1_2 -curves P-521", ""),
        // libpq does not support servers with these keys either.
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "", nothing),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP256r1", "", nothing),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:brainpoolP384r1", "-tls1_2", nothing),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-224", "", nothing),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "", ""),
        ("-algorithm ED25519", "", ""),
        ("-algorithm ED25519", "-tls1_2", ""),
        ("-algorithm ED448", "", "Ed448"),
        ("-algorithm ED448", "-tls1_2", "Ed448"),
    ] {
        openssl_dir.issue("server", key, HOST, "authority", VERSION_3);
        for settings in [&full, &unchecked] {
            expect(&openssl_dir.shake("server", more, settings), words, &format!("{key} {more}"));
        }
    }
}

#[test]
fn every_key_exchange_curve_works_or_the_error_names_the_setting() {
    let openssl_dir = OpensslDir::open();
    openssl_dir.self_signed("server", P256, HOST, "-extensions server");
    let full = settings(SslMode::VerifyFull, openssl_dir.roots("server"));
    for version in ["-tls1_2", "-tls1_3"] {
        for (curve, words) in [
            ("P-256", ""),
            ("P-384", ""),
            ("P-521", ""),
            ("X25519", ""),
            ("P-256:P-521", ""),
            ("X448", "no certificate, cipher or curve"),
        ] {
            let more = format!("{version} -curves {curve}");
            expect(&openssl_dir.shake("server", &more, &full), words, &more);
        }
    }
}

#[test]
fn every_kind_of_signature_works_or_the_error_names_it() {
    let openssl_dir = OpensslDir::open();
    let rsa = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
    let p384 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
    let p521 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1";
    for (key, more, words) in [
        (rsa, "-sha256", ""),
        (rsa, "-sha384", ""),
        (rsa, "-sha512", ""),
        (rsa, &format!("-sha256 {pss}"), ""),
        (rsa, &format!("-sha512 {pss}"), ""),
        (rsa, "-sha1", "signed by sha1WithRSAEncryption, which is not trusted"),
        (rsa, "-md5", "signed by md5WithRSAEncryption, which is not trusted"),
        (rsa, "-sha224", "signed by sha224WithRSAEncryption, which is not trusted"),
        (rsa, "-sha512-224", "which is not trusted"),
        (P256, "-sha3-256", "which is not trusted"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "-sha256", "RSA with 1024 bits"),
        ("-algorithm RSA-PSS", "-sha256 -sigopt rsa_pss_saltlen:-1", ""),
        (P256, "-sha256", ""),
        (P256, "-sha384", ""),
        (P256, "-sha512", ""),
        (P256, "-sha1", "signed by ecdsa-with-SHA1, which is not trusted"),
        (p384, "-sha256", ""),
        (p384, "-sha384", ""),
        (p384, "-sha512", ""),
        (p521, "-sha256", ""),
        (p521, "-sha384", ""),
        (p521, "-sha512", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "-sha256", "the curve secp256k1"),
        ("-algorithm ED25519", "", ""),
        ("-algorithm ED448", "", "signed by Ed448, which is not trusted"),
    ] {
        openssl_dir.authority("authority", key);
        openssl_dir.issue("server", P256, HOST, "authority", &format!("{more} {VERSION_3}"));
        let full = settings(SslMode::VerifyFull, openssl_dir.roots("authority"));
        expect(&openssl_dir.shake("server", "", &full), words, &format!("{key} {more}"));
        // The same for a certificate of version 1.
        openssl_dir.issue("old", P256, HOST, "authority", more);
        assert!(openssl_dir.is_version_1("old"));
        expect(&openssl_dir.shake("old", "", &full), words, &format!("version 1, {key} {more}"));
    }
}

#[test]
fn verifies_certificates_of_version_1_like_others() {
    let openssl_dir = OpensslDir::open();
    openssl_dir.authority("authority", P256);
    openssl_dir.authority("stranger", P256);
    // The intermediate certificate authority of Postgres's manual.
    openssl_dir.issue("between", P256, "between", "authority", "-extfile openssl.cnf -extensions authority");
    openssl_dir.issue("nobody", P256, "nobody", "authority", "-extfile openssl.cnf -extensions nobody");
    openssl_dir.issue("old-between", P256, "old-between", "authority", "");
    for (name, subject, authority) in [
        ("below", HOST, "authority"),
        ("of-stranger", HOST, "stranger"),
        ("named-otherwise", "elsewhere.example.com", "authority"),
        ("wildcard", "*.example.com", "authority"),
        ("two-below", HOST, "between"),
        ("below-nobody", HOST, "nobody"),
        ("below-old", HOST, "old-between"),
    ] {
        openssl_dir.issue(name, P256, subject, authority, "");
        assert!(openssl_dir.is_version_1(name));
    }
    let root = || openssl_dir.roots("authority");
    let [ca, full] = [SslMode::VerifyCa, SslMode::VerifyFull].map(|mode| settings(mode, root()));
    let unknown = "no trusted certificate authority";
    for (name, more, settings, words) in [
        ("below", "", &full, ""),
        ("below", "-tls1_2", &full, ""),
        ("of-stranger", "", &ca, unknown),
        ("named-otherwise", "", &ca, ""),
        ("named-otherwise", "", &full, "is for \"elsewhere.example.com\", not for \"db.example.com\""),
        ("wildcard", "", &full, ""),
        ("two-below", "-cert_chain between.crt", &full, ""),
        ("two-below", "", &full, unknown),
        ("below-nobody", "-cert_chain nobody.crt", &ca, unknown),
        ("below-old", "-cert_chain old-between.crt", &ca, unknown),
    ] {
        expect(&openssl_dir.shake(name, more, settings), words, &format!("{name} {more}"));
    }
    // The certificate itself is trusted, regardless of its issuer.
    let listed = settings(SslMode::VerifyFull, openssl_dir.roots("below"));
    expect(&openssl_dir.shake("below", "", &listed), "", "a certificate that is listed");
    expect(&openssl_dir.shake("of-stranger", "", &listed), unknown, "another one");
}

#[test]
fn a_common_name_counts_without_an_alternative_name() {
    let openssl_dir = OpensslDir::open();
    openssl_dir.self_signed("manual", P256, HOST, "-extensions authority");
    openssl_dir.self_signed("other", P256, "other.example.com", "-extensions server");
    let named = |name: &str| settings(SslMode::VerifyFull, openssl_dir.roots(name));
    expect(&openssl_dir.shake("manual", "", &named("manual")), "", "the recipe of the manual");
    expect(&openssl_dir.shake("other", "", &named("other")), "", "an alternative name");
    openssl_dir.self_signed("wrong", P256, HOST, "-addext subjectAltName=DNS:x.example.com");
    expect(
        &openssl_dir.shake("wrong", "", &named("wrong")),
        "is for \"x.example.com\"",
        "a name that does not count",
    );
}

#[test]
fn every_kind_of_client_key_works_or_the_error_names_it() {
    let openssl_dir = OpensslDir::open();
    openssl_dir.authority("authority", P256);
    openssl_dir.issue("server", P256, HOST, "authority", VERSION_3);
    for (key, words) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:1024", "RSA with 1024 bits"),
        ("-algorithm RSA-PSS", "RSA-PSS"),
        (P256, ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-521", ""),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", "the curve secp256k1"),
        ("-algorithm ED25519", ""),
        ("-algorithm ED448", "Ed448"),
    ] {
        openssl_dir.issue("client", key, "baton", "authority", "");
        let full = settings(SslMode::VerifyFull, openssl_dir.roots("authority"));
        let shown = TlsSettings { identity: Some(openssl_dir.identity("client")), ..full };
        for version in ["-tls1_2", "-tls1_3"] {
            let more = format!("{version} -Verify 1 -CAfile authority.crt -verify_return_error");
            expect(&openssl_dir.shake("server", &more, &shown), words, &format!("{key} {version}"));
        }
    }
}

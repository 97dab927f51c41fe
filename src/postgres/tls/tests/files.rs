//! Tests of client certificates and unusable files.

use base64::prelude::{BASE64_STANDARD, Engine};
use pkcs8::{PrivateKeyInfo, der::pem::LineEnding, pkcs5::pbes2};

use super::*;

fn with_identity(directory: &TempDir, pair: &Pair, key: &str, password: Option<&str>) -> TlsSettings {
    let identity = ClientIdentity {
        certificate: write(directory, "client.crt", &pair.pem),
        key: write(directory, "client.key", key),
        key_password: password.map(SecretString::from),
    };
    TlsSettings { identity: Some(identity), ..settings(SslMode::Require, Roots::Platform) }
}

/// Encrypts with few rounds to keep the tests fast.
fn encrypted(pair: &Pair, password: &str) -> String {
    let der = pair.key.serialize_der();
    let parameters = pbes2::Parameters::pbkdf2_sha256_aes256cbc(64, b"saltsalt", &[7; 16]).unwrap();
    let key = PrivateKeyInfo::try_from(der.as_slice()).unwrap();
    let encrypted = key.encrypt_with_params(parameters, password).unwrap();
    encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).unwrap().to_string()
}

#[test]
fn presents_a_client_certificate_on_request() {
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
fn an_encrypted_key_opens_only_with_its_password() {
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
fn reads_keys_that_are_not_pkcs8() {
    let directory = tempfile::tempdir().unwrap();
    let clients = authority("clients");
    let client = issued(&clients, |_| {});
    let server_pair = issued(&authority("servers"), |_| {});
    // For elliptic curves, PKCS#8 wraps the content of the older format.
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

#[test]
fn an_error_names_the_unusable_file_and_its_setting() {
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
fn debug_output_hides_the_key_password() {
    let directory = tempfile::tempdir().unwrap();
    let pair = issued(&authority("clients"), |_| {});
    let settings = with_identity(&directory, &pair, "", Some("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

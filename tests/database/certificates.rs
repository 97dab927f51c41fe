//! Server certificates of all kinds that OpenSSL creates and Postgres supports: the program connects if libpq
//! does, or it reports the cause.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::encryption::{Encrypted, asked};
use crate::support::openssl::{create_key, openssl};

/// A directory for keys and certificates, which are named by their files.
pub(super) struct Workshop(TempDir);

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P521: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const VERSION_3: &str = "-extfile openssl.cnf -extensions server";

impl Workshop {
    pub(super) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = "[req]\ndistinguished_name = nothing\n[nothing]\n\
                             [authority]\nbasicConstraints = critical, CA:TRUE\n\
                             [server]\nsubjectAltName = DNS:localhost\n";
        fs::write(directory.path().join("openssl.cnf"), configuration).unwrap();
        Self(directory)
    }

    fn run(&self, command: &str) {
        openssl(self.0.path(), command);
    }

    pub(super) fn self_signed(&self, name: &str, key: &str, subject: &str, more: &str) {
        create_key(self.0.path(), name, key, "authority");
        self.run(&format!(
            "req -config openssl.cnf -new -x509 -key {name}.key -subj /CN={subject} -days 30 {more} -out {name}.crt"
        ));
    }

    /// Without extensions the certificate is of version 1.
    fn issue(&self, name: &str, key: &str, subject: &str, authority: &str, more: &str) {
        create_key(self.0.path(), name, key, "server");
        self.run(&format!(
            "req -config openssl.cnf -new -key {name}.key -subj /CN={subject} -out {name}.csr"
        ));
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -set_serial 7 -days 30 {more} -out {name}.crt"
        ));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// Whether libpq connects with this string.
fn libpq_connects(encrypted: &Encrypted, string: &str) -> bool {
    let mut psql = encrypted.cluster.program("psql");
    psql.args(["-X", "-c", "SELECT 1", string]).env("PGCONNECT_TIMEOUT", "20");
    psql.output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_if_libpq_does_or_names_the_cause() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let workshop = Workshop::open();
    workshop.self_signed("authority", P256, "authority", "-extensions authority");
    workshop.self_signed("of-p521", P521, "of-p521", "-extensions authority");
    workshop.self_signed("of-rsa", RSA, "of-rsa", "-extensions authority");
    workshop.issue("between", P256, "between", "authority", "-extfile openssl.cnf -extensions authority");
    // As in the recipes of Postgres's manual, which create version 1 or 3 depending on the version of
    // OpenSSL.
    workshop.self_signed("manual", RSA, "localhost", "");
    workshop.self_signed("manual-authority", RSA, "localhost", "-extensions authority");

    // Key, subject, issuer, options of the certificate, trusted root, and text of the error.
    let sha512 = format!("{VERSION_3} -sha512");
    for (key, subject, authority, more, trusted, words) in [
        (RSA, "localhost", "authority", VERSION_3, "authority", ""),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "localhost", "of-rsa", VERSION_3, "of-rsa", ""),
        ("-algorithm RSA-PSS", "localhost", "authority", VERSION_3, "authority", ""),
        (P256, "localhost", "of-rsa", VERSION_3, "of-rsa", ""),
        (P256, "localhost", "authority", &sha512, "authority", ""),
        (P521, "localhost", "of-p521", VERSION_3, "of-p521", ""),
        (P521, "localhost", "of-p521", &sha512, "of-p521", ""),
        ("-algorithm ED25519", "localhost", "authority", VERSION_3, "authority", ""),
        ("-algorithm ED448", "localhost", "authority", VERSION_3, "authority", "Ed448"),
        (RSA, "localhost", "authority", "", "authority", ""),
        (P521, "localhost", "of-p521", "", "of-p521", ""),
        (RSA, "localhost", "between", "", "authority", ""),
        (RSA, "localhost", "authority", "", "of-rsa", "no trusted certificate authority"),
        (RSA, "elsewhere", "authority", "", "authority", "is for \"elsewhere\", not for \"localhost\""),
        (RSA, "localhost", "", "", "manual", ""),
        (RSA, "localhost", "", "", "manual-authority", ""),
        (RSA, "localhost", "", "", "authority", "is self-signed"),
    ] {
        let what = format!("{key} for {subject} of {authority:?} {more}, with {trusted} trusted");
        let shown = match authority {
            "" if trusted == "authority" => "manual",
            "" => trusted,
            authority => {
                workshop.issue("server", key, subject, authority, more);
                "server"
            }
        };
        let chain = workshop.text(&format!("{shown}.crt")) + &workshop.text("between.crt");
        let key = workshop.text(&format!("{shown}.key"));
        encrypted.certificates.show_any(&encrypted.database, &chain, &key).await;
        let root = workshop.path(&format!("{trusted}.crt"));
        let full =
            encrypted.string("localhost", &format!("sslmode=verify-full sslrootcert={}", root.display()));
        let (libpq, ours) = (libpq_connects(&encrypted, &full), asked(&full).await);
        match &ours {
            Ok(seen) => assert_eq!((seen.as_str(), words, libpq), ("true", "", true), "{what}"),
            Err(status) => {
                assert!(!words.is_empty() && status.message().contains(words), "{what}: {status:?}");
                assert!(!libpq || words == "Ed448", "{what}: libpq connects");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_servers_that_support_only_p_521() {
    let Some(encrypted) = Encrypted::start().await else { return };
    let workshop = Workshop::open();
    workshop.self_signed("server", P521, "localhost", "-extensions server");
    let (certificate, key) = (workshop.text("server.crt"), workshop.text("server.key"));
    let root = workshop.path("server.crt");
    let full = encrypted.string("localhost", &format!("sslmode=verify-full sslrootcert={}", root.display()));
    for setting in ["ssl_max_protocol_version = 'TLSv1.2'", "ssl_ecdh_curve = 'secp521r1'"] {
        encrypted.database.execute(&format!("ALTER SYSTEM SET {setting}")).await;
        encrypted.certificates.show_any(&encrypted.database, &certificate, &key).await;
        assert!(libpq_connects(&encrypted, &full), "{setting}");
        assert_eq!(asked(&full).await.unwrap(), "true", "{setting}");
    }
}

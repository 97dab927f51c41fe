//! A Postgres with TLS, and the certificates for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::cluster::{Cluster, project_file};
use super::postgres::Database;
use super::wire::eventually;

/// The directory of the certificates. The server certificate is valid for `localhost` only.
pub(crate) struct Certificates {
    directory: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    /// Turns on TLS in the server of this database; `None` if its files are not accessible.
    pub(crate) async fn install(cluster: &Cluster, database: &Database) -> Option<Self> {
        let directory = cluster.socket()?.to_owned();
        let certificates = Self { directory, authority: authority("the test's authority") };
        let (certificate, key) = certificates.issue("localhost");
        certificates.write("server.crt", &certificate);
        certificates.write("server.key", &key);
        certificates.write("authority.crt", &certificates.authority.pem());
        certificates.write("other.crt", &authority("somebody else").pem());
        let directory = certificates.directory.display();
        for (setting, value) in [
            ("ssl_cert_file", format!("{directory}/server.crt")),
            ("ssl_key_file", format!("{directory}/server.key")),
            ("ssl_ca_file", format!("{directory}/authority.crt")),
            ("ssl", "on".to_owned()),
        ] {
            database.execute(&format!("ALTER SYSTEM SET {setting} = '{value}'")).await;
        }
        // The server writes data late and restarts without warning.
        database.execute("CHECKPOINT").await;
        cluster.restart();
        Some(certificates)
    }

    /// The certificate authority of the server.
    pub(crate) fn authority(&self) -> PathBuf {
        self.directory.join("authority.crt")
    }

    /// Another certificate authority.
    pub(crate) fn other_authority(&self) -> PathBuf {
        self.directory.join("other.crt")
    }

    /// The files of a client's certificate and its key.
    pub(crate) fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name);
        (self.write(&format!("{name}.crt"), &certificate), self.write(&format!("{name}.key"), &key))
    }

    /// Makes the server use an expired certificate.
    pub(crate) async fn expire(&self, database: &Database) {
        let (certificate, key) = self.issue_until("localhost", Some(2020));
        self.show(database, &certificate, &key).await;
    }

    /// Makes the server use a self-signed certificate without a host name.
    pub(crate) async fn show_self_signed(&self, database: &Database) {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "the test's organization");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.show(database, &certificate.pem(), &key.serialize_pem()).await;
    }

    /// Makes the server use this certificate and key, in PEM.
    pub(crate) async fn show_any(&self, database: &Database, certificates: &str, key: &str) {
        self.write("server.crt", certificates);
        self.write("server.key", key);
        database.execute("SELECT pg_reload_conf()").await;
        let first = certificates.split_inclusive("-----END CERTIFICATE-----").next().unwrap();
        let address = database.cluster().address();
        eventually("the new certificate", async || {
            // This uses OpenSSL's client, which supports more kinds of keys than ours.
            let arguments = ["s_client", "-starttls", "postgres", "-showcerts", "-connect", address];
            let shown = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
            let shown = shown.unwrap_or_else(|error| panic!("install openssl: {error}"));
            String::from_utf8_lossy(&shown.stdout).contains(first).then_some(())
        })
        .await;
    }

    /// Makes the server use an X.509 version 1 certificate, from the files in `tests/data/x509-v1`.
    pub(crate) async fn show_version_1(&self, cluster: &Cluster, database: &Database) {
        self.write("server.crt", &version_1("server.crt"));
        self.write("server.key", &version_1("server.key"));
        database.execute("CHECKPOINT").await;
        cluster.restart();
    }

    /// The files of an X.509 version 1 client certificate and its key. The server trusts its certificate
    /// authority after its next start.
    pub(crate) fn client_of_version_1(&self) -> (PathBuf, PathBuf) {
        self.write("authority.crt", &format!("{}{}", self.authority.pem(), version_1("authority.crt")));
        (self.write("v1.crt", &version_1("client.crt")), self.write("v1.key", &version_1("client.key")))
    }

    /// The file of the server's certificate.
    pub(crate) fn of_server(&self) -> PathBuf {
        self.directory.join("server.crt")
    }

    async fn show(&self, database: &Database, certificate: &str, key: &str) {
        self.write("server.crt", certificate);
        self.write("server.key", key);
        database.execute("SELECT pg_reload_conf()").await;
        let new = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        // The postmaster reads the files asynchronously.
        eventually("the new certificate", async || {
            let shown = shown_certificate(database.cluster().address()).await;
            (shown.as_ref() == Some(&new)).then_some(())
        })
        .await;
    }

    /// Turns the server into a standby, which accepts no changes.
    pub(crate) async fn make_standby(&self, cluster: &Cluster, database: &Database) {
        database.execute("CHECKPOINT").await;
        self.write("data/standby.signal", "");
        cluster.restart();
    }

    fn issue(&self, name: &str) -> (String, String) {
        self.issue_until(name, None)
    }

    fn issue_until(&self, name: &str, year: Option<i32>) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if let Some(year) = year {
            params.not_after = date_time_ymd(year, 1, 1);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a file as the user that runs the server, which Postgres requires for keys.
    fn write(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let owner = fs::metadata(&self.directory).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        path
    }
}

/// Adds rules before all other authentication rules, and makes the server reload them.
pub(crate) async fn allow_first(cluster: &Cluster, database: &Database, rules: &str) {
    let directory: &Path = cluster.socket().unwrap();
    let file = directory.join("data/pg_hba.conf");
    let known = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{rules}\n{known}")).unwrap();
    database.execute("SELECT pg_reload_conf()").await;
}

/// The certificate of a Postgres server, without verification.
async fn shown_certificate(address: &str) -> Option<CertificateDer<'static>> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&SSL_REQUEST).await.ok()?;
    if stream.read_u8().await.ok()? != b'S' {
        return None;
    }
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.get_ref().1.peer_certificates()?.first().cloned()
}

/// Accepts every certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A file created with OpenSSL 3.0 according to the manual of Postgres: `openssl x509 -req` without an
/// extensions file.
fn version_1(name: &str) -> String {
    fs::read_to_string(project_file("tests/data/x509-v1").join(name)).unwrap()
}

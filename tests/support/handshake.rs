//! TLS handshakes with a chosen version, ALPN and certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::parent::{Pki, Signed};

/// The parameters of a client.
pub(crate) struct Hello<'a> {
    pub(crate) pki: &'a Pki,
    pub(crate) identity: Option<&'a Signed>,
    pub(crate) versions: &'a [&'static SupportedProtocolVersion],
    pub(crate) alpn: &'a [&'a str],
}

impl<'a> Hello<'a> {
    /// The parameters of an agent.
    pub(crate) fn usual(pki: &'a Pki, identity: Option<&'a Signed>) -> Self {
        Self { pki, identity, versions: rustls::ALL_VERSIONS, alpn: &["h2"] }
    }

    /// Connects and completes the handshake on the client's side.
    pub(crate) async fn say(&self, to: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.pki.ca_der.clone())).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_slice(identity.key.serialize_pem().as_bytes()).unwrap();
                let chain = vec![CertificateDer::from(identity.cert_der.clone())];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(to).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::from(to.ip()), stream).await
    }

    /// Whether the server uses HTTP/2 with this client: it answers the client's preface and SETTINGS with
    /// its own. An agent treats the connection as established at this point.
    pub(crate) async fn is_answered(&self, by: SocketAddr) -> bool {
        const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
        let Ok(mut stream) = self.say(by).await else { return false };
        let mut answer = [0; 9];
        stream.write_all(&[PREFACE, &SETTINGS].concat()).await.is_ok()
            && stream.read_exact(&mut answer).await.is_ok()
            && answer[3] == SETTINGS[3]
            && stream.write_all(&ACKNOWLEDGED).await.is_ok()
    }
}

/// The server's certificate, in DER.
pub(crate) async fn shown_certificate(pki: &Pki, by: SocketAddr) -> Vec<u8> {
    let stream = Hello::usual(pki, None).say(by).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Whether the server refuses a client that supports at most TLS 1.1 with a fatal alert about the protocol
/// version.
pub(crate) async fn refuses_tls_1_1(by: SocketAddr) -> bool {
    const VERSION: [u8; 2] = [3, 2];
    let suites = [0xc0, 0x09, 0xc0, 0x0a, 0x00, 0x2f];
    // Groups, point formats and signature algorithms, so that only the version is unsupported.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut body = VERSION.to_vec();
    body.extend([7; 32]);
    // No session, then the cipher suites, then no compression.
    body.extend([0, 0, suites.len() as u8]);
    body.extend(suites);
    body.extend([1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut record = vec![22, 3, 1, 0, message.len() as u8];
    record.extend(message);
    let mut stream = TcpStream::connect(by).await.unwrap();
    stream.write_all(&record).await.unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.unwrap();
    let [kind, _, _, _, _, level, description] = answer;
    (kind, level, description) == (21, 2, 70)
}

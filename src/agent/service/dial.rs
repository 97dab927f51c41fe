//! Connections to ConductorOne: TCP, through an HTTP proxy if the environment names one, with TLS on top.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, CertificateError, ClientConfig, PeerIncompatible};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::{Service, service_fn};

use crate::agent::service::api_host::ApiHost;
use crate::agent::service::proxy::{Proxy, ProxyError};
use crate::tls_roots;

/// Timeout of connecting, including TLS.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Timeout of one of several addresses of a host.
const ADDRESS: Duration = Duration::from_secs(10);
/// How long a connection may be silent before the system probes it.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The number of probes, and the interval between them.
const PROBES: (u32, Duration) = (3, Duration::from_secs(10));
/// How long sent data may stay unacknowledged. Without this limit, the system retries for a quarter of an
/// hour.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens connections to ConductorOne.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    host: ApiHost,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    /// The URL of the host, for proxies.
    target: Uri,
    proxy: Option<Proxy>,
}

/// A bidirectional byte stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, direct or through a proxy.
type Connection = TokioIo<Box<dyn Io>>;

/// The reason why connections cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    /// The platform has no certificate authorities.
    #[error(
        "this machine has no certificate authorities{}; install the package ca-certificates, or set SSL_CERT_FILE",
        .0.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    NoRoots(Option<String>),
    /// The API host is not a valid host name.
    #[error("{0:?} is not a valid host name; correct the host")]
    Name(String),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS or the HTTP client cannot be set up.
    #[error("connections to ConductorOne cannot be set up: {0}")]
    Client(String),
}

/// The reason why a connection failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("the name {host} cannot be resolved: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// None of the addresses accepts a connection.
    #[error("{address} cannot be reached: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's error for the last address.
        source: io::Error,
    },
    /// The proxy rejected the connection.
    #[error("the proxy {proxy} refused a connection to {address}: {problem}")]
    Proxy {
        /// The address of the proxy.
        proxy: String,
        /// Host and port of the target.
        address: String,
        /// The proxy's response.
        problem: String,
    },
    /// The host in the URL of the proxy is invalid.
    #[error("{0} is not the URL of a proxy; correct HTTPS_PROXY")]
    ProxyName(String),
    /// The certificate is not valid.
    #[error("the certificate of {host} is not valid: {problem}")]
    Certificate {
        /// The host of the certificate.
        host: String,
        /// The cause and the fix.
        problem: String,
    },
    /// The server supports only outdated versions of TLS.
    #[error(
        "{0} supports neither TLS 1.2 nor TLS 1.3, and this program accepts no older version; update it, or the proxy in front of it"
    )]
    OldTls(String),
    /// The TLS handshake failed for another reason.
    #[error("the TLS handshake with {host} failed: {source}")]
    Tls {
        /// The host.
        host: String,
        /// The cause.
        source: io::Error,
    },
    /// The server is not the API.
    #[error("{0} does not support HTTP/2, so it is not ConductorOne's API; check the host and the proxy")]
    NotHttp2(String),
    /// The connection timed out.
    #[error("{address} did not answer within {} s", MAX_WAIT.as_secs())]
    Silent {
        /// Host and port.
        address: String,
    },
}

/// TLS 1.2 and 1.3 with the platform's certificate authorities, or those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`.
///
/// # Errors
/// [`SetupError::NoRoots`], [`SetupError::Client`]
pub(super) fn tls() -> Result<ClientConfig, SetupError> {
    tls_with(Vec::new())
}

/// Like [`tls`], with additional certificate authorities.
///
/// # Errors
/// [`SetupError::NoRoots`], [`SetupError::Client`]
pub(crate) fn tls_with(more: Vec<CertificateDer<'static>>) -> Result<ClientConfig, SetupError> {
    let platform = tls_roots::platform();
    let roots = tls_roots::usable_anchors(platform.certificates.into_iter().chain(more));
    if roots.is_empty() {
        return Err(SetupError::NoRoots(platform.problem.map(|error| error.to_string())));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| SetupError::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Dialer {
    /// Creates a dialer for this host. Nothing is connected yet.
    ///
    /// # Errors
    /// [`SetupError`]
    pub(crate) fn new(host: ApiHost) -> Result<Self, SetupError> {
        Self::with_tls(host, tls()?)
    }

    /// Like [`Dialer::new`], with other TLS settings.
    ///
    /// # Errors
    /// [`SetupError`]
    pub(crate) fn with_tls(host: ApiHost, mut tls: ClientConfig) -> Result<Self, SetupError> {
        let name =
            ServerName::try_from(host.host.clone()).map_err(|_| SetupError::Name(host.host.clone()))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let target = format!("https://{}/", host.authority());
        let target = target.parse().map_err(|_| SetupError::Name(host.host.clone()))?;
        let proxy = Proxy::of_process(&host)?;
        Ok(Self { host, name, tls: Arc::new(tls), target, proxy })
    }

    /// The proxy for connections, if any.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Opens a connection that is ready for HTTP/2.
    ///
    /// # Errors
    /// [`DialError`]
    pub(crate) async fn dial(&self) -> Result<impl Io + use<>, DialError> {
        let silent = |_| DialError::Silent { address: self.host.authority() };
        timeout(MAX_WAIT, self.connect()).await.map_err(silent)?
    }

    async fn connect(&self) -> Result<impl Io + use<>, DialError> {
        let stream = match &self.proxy {
            None => Box::new(tcp(&self.host.host, self.host.port()).await?) as Box<dyn Io>,
            Some(proxy) => self.through(proxy).await?,
        };
        let host = || self.host.host.clone();
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| tls_problem(host(), error))?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(DialError::NotHttp2(host()));
        }
        Ok(stream)
    }

    /// Opens a tunnel through an HTTP proxy.
    async fn through(&self, proxy: &Proxy) -> Result<Box<dyn Io>, DialError> {
        let tls = Arc::clone(&self.tls);
        let to_proxy = service_fn(move |uri: Uri| reach_proxy(uri, Arc::clone(&tls)));
        let mut tunnel = Tunnel::new(proxy.uri().clone(), to_proxy);
        if let Some(credentials) = proxy.authorization() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let through = tunnel.call(self.target.clone()).await.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            DialError::Proxy {
                proxy: proxy.to_string(),
                address: self.host.authority(),
                problem: format!("{error}{cause}"),
            }
        })?;
        Ok(through.into_inner())
    }
}

/// Opens a connection to the proxy itself.
async fn reach_proxy(uri: Uri, tls: Arc<ClientConfig>) -> Result<Connection, DialError> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    let stream = tcp(&host, uri.port_u16().unwrap_or(if secure { 443 } else { 80 })).await?;
    if !secure {
        return Ok(TokioIo::new(Box::new(stream)));
    }
    let name = ServerName::try_from(host.clone()).map_err(|_| DialError::ProxyName(uri.to_string()))?;
    // The connection to a proxy uses HTTP/1.1.
    let mut plain = ClientConfig::clone(&tls);
    plain.alpn_protocols.clear();
    let stream = TlsConnector::from(Arc::new(plain))
        .connect(name, stream)
        .await
        .map_err(|error| tls_problem(host, error))?;
    Ok(TokioIo::new(Box::new(stream)))
}

/// Opens a connection without TLS. The system probes it, so that a connection to a dead machine ends.
async fn tcp(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|source| DialError::Resolve { host: host.to_owned(), source })?;
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for address in addresses {
        let connected = timeout(ADDRESS, TcpStream::connect(address));
        match connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // If these options cannot be set, the connection is slower but still correct.
                let _ = stream.set_nodelay(true);
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(PROBES.1);
                let keepalive = keepalive.with_retries(PROBES.0);
                let socket = SockRef::from(&stream);
                let _ = socket.set_tcp_keepalive(&keepalive);
                #[cfg(target_os = "linux")]
                let _ = socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    let address = ApiHost { host: host.to_owned(), port: Some(port) }.to_string();
    Err(DialError::Connect { address, source: last })
}

fn tls_problem(host: String, error: io::Error) -> DialError {
    match known_problem(&host, &error) {
        Some(problem) => problem,
        None => DialError::Tls { host, source: error },
    }
}

/// Maps a failed handshake with `host` to a specific error; `None` for other errors.
pub(super) fn known_problem(host: &str, error: &(dyn Error + 'static)) -> Option<DialError> {
    let host = host.to_owned();
    match tls_error(error)? {
        rustls::Error::InvalidCertificate(problem) => {
            Some(DialError::Certificate { host, problem: explained(problem) })
        }
        rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Some(DialError::OldTls(host)),
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Some(DialError::NotHttp2(host))
        }
        _ => None,
    }
}

/// Finds the TLS error inside an I/O error, or inside nested I/O errors. These do not return it as their
/// source.
fn tls_error<'a>(mut error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    loop {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        error = error.downcast_ref::<io::Error>()?.get_ref()?;
    }
}

fn explained(problem: &CertificateError) -> String {
    match problem {
        // A different certificate authority of the same name results in `BadSignature`.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it comes from a certificate authority that this machine does not trust; if a proxy inspects TLS, set SSL_CERT_FILE to the file of the proxy's certificate authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; check this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; check this machine's clock".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another host; correct the host in BATON_CLIENT_ID or BATON_C1_API_HOST".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_errors_name_the_cause_and_the_fix() {
        let of = |problem| {
            let error =
                io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(problem));
            tls_problem("acme.example.com".to_owned(), error).to_string()
        };
        assert!(of(CertificateError::UnknownIssuer).contains("SSL_CERT_FILE"));
        assert!(of(CertificateError::Expired).contains("clock"));
        assert!(of(CertificateError::NotValidForName).contains("another host"));
        let of = |error: rustls::Error| {
            tls_problem("h".to_owned(), io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let old = AlertDescription::ProtocolVersion;
        assert!(matches!(of(rustls::Error::AlertReceived(old)), DialError::OldTls(_)));
        let certificate = rustls::Error::InvalidCertificate(CertificateError::Expired);
        let twice = io::Error::other(io::Error::other(certificate));
        assert!(matches!(known_problem("h", &twice), Some(DialError::Certificate { .. })));
        let other = tls_problem("h".to_owned(), io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(other, DialError::Tls { .. }));
        assert!(known_problem("h", &rustls::Error::NoCertificatesPresented).is_none());
    }
}

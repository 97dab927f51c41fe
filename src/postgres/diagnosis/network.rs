//! Checks of names, ports and TLS. Of the Postgres protocol, they use only the message that requests TLS.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::postgres::connection_string::{Address, Host};
use crate::postgres::tls::{CertificateProblem, SslMode, TlsError, TlsSettings, client_config};

/// Why a host is unreachable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkProblem {
    /// The name cannot be resolved.
    #[error("{0}")]
    Unknown(io::Error),
    /// The host did not answer before the timeout.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The connection was refused, or there is no route to the host.
    #[error("{0}")]
    Refused(io::Error),
    /// The socket does not exist or may not be used.
    #[error("{}: {source}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// How the connection to a host is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By the machine: a socket file.
    Socket,
    /// Not protected, because `sslmode` does not request TLS.
    NotAsked,
    /// Not protected, because the server does not offer TLS; `sslmode` allows that.
    NotOffered,
    /// By TLS.
    Tls {
        /// The version, in readable form.
        version: &'static str,
        /// Whether the server's certificate was verified.
        checked: bool,
    },
}

/// Why there is no TLS although it is required.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsProblem {
    /// The client's own files are unusable.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// The server does not offer TLS, but `sslmode` requires it.
    #[error("the server does not offer TLS")]
    NotOffered,
    /// The server is not Postgres.
    #[error("the server does not use the Postgres protocol")]
    NotPostgres,
    /// The server's certificate is not trusted.
    #[error(transparent)]
    Certificate(CertificateProblem),
    /// Any other error of the handshake.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    /// The connection was lost, or the server did not answer.
    #[error("the TLS handshake was interrupted: {0}")]
    Network(NetworkProblem),
}

/// The addresses of the host; empty for a socket file.
///
/// # Errors
/// [`NetworkProblem::Unknown`], [`NetworkProblem::Silent`]
pub(crate) async fn addresses(host: &Host, limit: Duration) -> Result<Vec<SocketAddr>, NetworkProblem> {
    match &host.address {
        Address::Unix(_) => Ok(Vec::new()),
        Address::Tcp { address: Some(address), .. } => Ok(vec![SocketAddr::new(*address, host.port)]),
        Address::Tcp { name, address: None } => {
            let found = timeout(limit, tokio::net::lookup_host((name.as_str(), host.port))).await;
            let found = found.map_err(|_| NetworkProblem::Silent(limit))?.map_err(NetworkProblem::Unknown)?;
            Ok(found.collect())
        }
    }
}

/// Opens a connection to the host and closes it. Returns the address that accepted it.
///
/// # Errors
/// The error of the last address.
pub(crate) async fn connect(
    host: &Host,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<Option<SocketAddr>, NetworkProblem> {
    if let Address::Unix(directory) = &host.address {
        let path = directory.join(format!(".s.PGSQL.{}", host.port));
        return match timeout(limit, UnixStream::connect(&path)).await {
            Ok(Ok(_)) => Ok(None),
            Ok(Err(source)) => Err(NetworkProblem::Socket { path, source }),
            Err(_) => Err(NetworkProblem::Silent(limit)),
        };
    }
    let mut problem = NetworkProblem::Unknown(io::Error::other("the name has no address"));
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(Some(*address)),
            Ok(Err(error)) => problem = NetworkProblem::Refused(error),
            Err(_) => problem = NetworkProblem::Silent(limit),
        }
    }
    Err(problem)
}

/// Requests TLS from the host as the first attempt to connect would, and completes the handshake.
///
/// # Errors
/// [`TlsProblem`], if the connection does not meet the settings.
pub(crate) async fn secure(
    host: &Host,
    settings: &TlsSettings,
    address: Option<SocketAddr>,
    limit: Duration,
) -> Result<Transport, TlsProblem> {
    let (Address::Tcp { name, .. }, Some(address)) = (&host.address, address) else {
        return Ok(Transport::Socket);
    };
    if matches!(settings.mode, SslMode::Disable | SslMode::Allow) {
        return Ok(Transport::NotAsked);
    }
    let config = Arc::new(client_config(settings)?);
    let handshake = shake_hands(name, address, settings, config);
    timeout(limit, handshake).await.unwrap_or(Err(TlsProblem::Network(NetworkProblem::Silent(limit))))
}

/// The message that requests TLS: its length and its code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

async fn shake_hands(
    name: &str,
    address: SocketAddr,
    settings: &TlsSettings,
    config: Arc<rustls::ClientConfig>,
) -> Result<Transport, TlsProblem> {
    let broken = |error| TlsProblem::Network(NetworkProblem::Refused(error));
    let mut stream = TcpStream::connect(address).await.map_err(broken)?;
    stream.write_all(&SSL_REQUEST).await.map_err(broken)?;
    let mut answer = [0];
    stream.read_exact(&mut answer).await.map_err(broken)?;
    match (answer, settings.mode) {
        ([b'S'], _) => {}
        ([b'N'], SslMode::Prefer) => return Ok(Transport::NotOffered),
        ([b'N'], _) => return Err(TlsProblem::NotOffered),
        // The beginning of an error message. It may be from a Postgres that cannot start a process.
        ([b'E'], _) => return Err(TlsProblem::Handshake("the server answers with an error".to_owned())),
        _ => return Err(TlsProblem::NotPostgres),
    }
    let server = ServerName::try_from(name.to_owned())
        .map_err(|error| TlsProblem::Handshake(format!("{name:?} is not a valid server name: {error}")))?;
    let stream = TlsConnector::from(config).connect(server, stream).await.map_err(problem_of)?;
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    Ok(Transport::Tls { version, checked: settings.checks_the_server() })
}

fn problem_of(error: io::Error) -> TlsProblem {
    match CertificateProblem::of(&error) {
        Some(problem) => TlsProblem::Certificate(problem),
        None => TlsProblem::Handshake(error.to_string()),
    }
}

//! Accepts the connection of a parent process in a child that cannot serve.
//!
//! Parents of the Go connector wait for their first connection before they check whether the child is
//! alive. They hold the listening socket themselves, so a connection to a dead child is established but never
//! answered, and the parent waits forever. Once the connection works, the parent detects the exit code of the
//! child immediately. A child that cannot serve therefore completes one connection before it exits.

use std::net::TcpListener;
use std::time::Duration;

use h2::Ping;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::proto::utls::Credential;
use crate::server::error::Error;
use crate::server::transport::listener::Listener;
use crate::server::transport::tls;

/// The time between the completed handshake and the end of this process.
const PAUSE: Duration = Duration::from_millis(200);

/// Returns after the parent has had a working connection. Waits without a limit for the parent to connect.
///
/// # Errors
/// [`Error::Tls`] if the credential is invalid, and [`Error::Listen`] if the socket is unusable.
pub(crate) async fn accept_parent_connection(
    listener: TcpListener,
    credential: &Credential,
) -> Result<(), Error> {
    let failed = |source| Error::Listen { address: "the parent's socket".to_owned(), source };
    let acceptor = TlsAcceptor::from(tls::of_parent(credential)?);
    let listener = Listener::inherited(listener).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        // A client without a certificate from the parent's certificate authority is not the parent.
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        if complete_handshake(stream).await.is_ok() {
            return Ok(());
        }
    }
}

/// Returns when the client has accepted the connection's settings, made a call or disconnected.
async fn complete_handshake(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let Some(mut pings) = connection.ping_pong() else { return Ok(()) };
    tokio::select! {
        // A client answers in order, so it has accepted the settings when it answers this ping.
        pong = pings.ping(Ping::opaque()) => { pong?; }
        call = connection.accept() => return call.transpose().map(drop),
    }
    // The client may make its first call now, or none.
    let _ = timeout(PAUSE, connection.accept()).await;
    Ok(())
}

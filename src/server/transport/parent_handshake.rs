//! The connection that a parent process makes to a child that cannot serve.
//!
//! Parents of the former program wait for their first connection before they check whether the child is
//! still alive. They hold the listening socket themselves, so that a connection to a dead child is
//! established, never answered, and waited for without end. Once the connection works, the parent sees the
//! child's exit code at once. So a child that cannot serve completes one connection before it exits.

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

/// How long the parent has between the completed handshake and the end of this process.
const PAUSE: Duration = Duration::from_millis(200);

/// Returns when the parent has had a working connection; waits for as long as it makes none.
///
/// # Errors
/// [`Error::Tls`] when the credential cannot be used, and [`Error::Listen`] when the socket cannot.
pub(crate) async fn accept_parent_connection(
    listener: TcpListener,
    credential: &Credential,
) -> Result<(), Error> {
    let failed = |source| Error::Listen { address: "the parent's socket".to_owned(), source };
    let acceptor = TlsAcceptor::from(tls::of_parent(credential)?);
    let listener = Listener::inherited(listener).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        // A client without a certificate of the parent's authority is not the parent.
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        if complete_handshake(stream).await.is_ok() {
            return Ok(());
        }
    }
}

/// Returns when the client has taken the connection's settings, made a call or gone.
async fn complete_handshake(stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let Some(mut pings) = connection.ping_pong() else { return Ok(()) };
    tokio::select! {
        // A client answers in order, so that it has taken the settings when it answers this.
        pong = pings.ping(Ping::opaque()) => { pong?; }
        call = connection.accept() => return call.transpose().map(drop),
    }
    // A first call may come now, or nothing.
    let _ = timeout(PAUSE, connection.accept()).await;
    Ok(())
}

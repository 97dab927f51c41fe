//! What a child that cannot serve does for its parent: it lets the parent's first connection come about.
//!
//! A parent of the former program waits for that connection before it looks whether its child still
//! lives. It holds the listening socket itself, so that a connection to a dead child is made, never
//! answered, and waited for without end (spec, child process 13). Once connected, it sees the child's exit
//! code at once.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::proto::utls::Credential;
use crate::server::Error;
use crate::server::transport::listener::Listener;
use crate::server::transport::tls;

/// An HTTP/2 SETTINGS frame that sets nothing: the words with which a server opens a connection.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// What a client must answer to it.
const ACKNOWLEDGED: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];
/// How long the parent has between its acknowledgement and our end.
const PAUSE: Duration = Duration::from_millis(200);

/// Returns when the parent has had a working connection; waits for as long as it makes none.
///
/// # Errors
/// [`Error::Tls`] when the credential is of no use, and [`Error::Listen`] when the socket is.
pub async fn connect_parent(listener: std::net::TcpListener, credential: &Credential) -> Result<(), Error> {
    let failed = |source| Error::Listen { address: "the parent's socket".to_owned(), source };
    let acceptor = TlsAcceptor::from(tls::of_parent(credential)?);
    let listener = Listener::inherited(listener).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        // Whoever has no certificate of the parent's is not the parent.
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let greeted = async {
            stream.write_all(&SETTINGS).await?;
            stream.flush().await?;
            let mut heard = Vec::new();
            while !heard.windows(ACKNOWLEDGED.len()).any(|window| window == ACKNOWLEDGED) {
                if stream.read_buf(&mut heard).await? == 0 {
                    return Ok(());
                }
            }
            // A first call may come now, or nothing.
            let _ = timeout(PAUSE, stream.read_buf(&mut heard)).await;
            std::io::Result::Ok(())
        };
        if greeted.await.is_ok() {
            return Ok(());
        }
    }
}

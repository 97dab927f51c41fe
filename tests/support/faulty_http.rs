//! An HTTP proxy that lets TLS through with CONNECT, or does not, or loses it on the way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy, until dropped.
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    /// Where it was asked to connect to.
    seen: Arc<Mutex<Vec<String>>>,
    /// Changes when the tunnels of the moment are to be lost.
    lost: watch::Sender<()>,
    listening: tokio::task::JoinHandle<()>,
}

impl ConnectProxy {
    pub(crate) async fn start() -> Self {
        Self::with(true).await
    }

    /// One that lets nobody through.
    pub(crate) async fn refusing() -> Self {
        Self::with(false).await
    }

    async fn with(lets_through: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let lost = watch::Sender::new(());
        let losing = lost.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let noted = Arc::clone(&noted);
                let lost = losing.subscribe();
                // A client that goes away ends its connection with an error.
                tokio::spawn(async move { drop(connect(stream, lets_through, &noted, lost).await) });
            }
        });
        Self { address, seen, lost, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes nothing on any more in the tunnels that there are, and tells neither end.
    pub(crate) fn lose_tunnels(&self) {
        self.lost.send_replace(());
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn connect(
    mut stream: TcpStream,
    lets_through: bool,
    seen: &Mutex<Vec<String>>,
    mut lost: watch::Receiver<()>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    if !lets_through {
        return stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    }
    seen.lock().unwrap().push(target.to_owned());
    let mut behind = TcpStream::connect(target).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::select! {
        copied = copy_bidirectional(&mut stream, &mut behind) => copied.map(drop),
        // Both stay open.
        Ok(()) = lost.changed() => std::future::pending().await,
    }
}

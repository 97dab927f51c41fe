//! An HTTP proxy that tunnels TLS with CONNECT, or refuses to, or loses the tunnel.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy; stopped when dropped.
pub(crate) struct ConnectProxy {
    address: SocketAddr,
    /// The targets of the CONNECT requests.
    seen: Arc<Mutex<Vec<String>>>,
    /// The values of their header `proxy-authorization`.
    authorizations: Arc<Mutex<Vec<String>>>,
    /// Changes when the current tunnels are to be lost.
    lost: watch::Sender<()>,
    listening: tokio::task::JoinHandle<()>,
}

impl ConnectProxy {
    pub(crate) async fn start() -> Self {
        Self::with(true).await
    }

    /// Starts a proxy that refuses all tunnels.
    pub(crate) async fn refusing() -> Self {
        Self::with(false).await
    }

    async fn with(lets_through: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&seen);
        let authorizations: Arc<Mutex<Vec<String>>> = Arc::default();
        let proofs = Arc::clone(&authorizations);
        let lost = watch::Sender::new(());
        let losing = lost.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, proofs) = (Arc::clone(&noted), Arc::clone(&proofs));
                let lost = losing.subscribe();
                // A client that disconnects ends its connection with an error.
                tokio::spawn(async move { drop(connect(stream, lets_through, &noted, &proofs, lost).await) });
            }
        });
        Self { address, seen, authorizations, lost, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops forwarding in all current tunnels, without closing either end.
    pub(crate) fn lose_tunnels(&self) {
        self.lost.send_replace(());
    }

    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.authorizations.lock().unwrap().clone()
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
    authorizations: &Mutex<Vec<String>>,
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
    authorizations.lock().unwrap().extend(head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.to_owned())
    }));
    // Only this proxy knows the address of names below `.test`, which are reserved for tests.
    let address = match target.rsplit_once(".test:") {
        Some((_, port)) => format!("127.0.0.1:{port}"),
        None => target.to_owned(),
    };
    let mut behind = TcpStream::connect(address).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    tokio::select! {
        copied = copy_bidirectional(&mut stream, &mut behind) => copied.map(drop),
        // Both connections stay open.
        Ok(()) = lost.changed() => std::future::pending().await,
    }
}

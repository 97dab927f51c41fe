//! Connections on their way in: counted, encrypted where asked for, and dropped when they lead nowhere.
//!
//! Each connection makes its way in a task of its own, so that a slow or silent one holds up nobody.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::server::transport::listener::{Listener, Stream};

/// How connections are treated before and between calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// How many there may be; another one is closed at once.
    pub(crate) most: usize,
    /// How long one may take to encrypt and then to say that it speaks HTTP/2.
    pub(crate) handshake: Duration,
    /// How long one may be silent. A live client answers the server's pings more often than that.
    pub(crate) silence: Duration,
}

/// The TLS settings for the next connection; they may change while the server runs.
pub(crate) type CurrentTls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `host:port`, or nothing for a unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// To end the connection.
    pub(crate) line: HangUp,
}

/// Ends a connection from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct HangUp(Arc<(AtomicBool, AtomicWaker)>);

impl HangUp {
    pub(crate) fn hang_up(&self) {
        let (over, reader) = &*self.0;
        over.store(true, Ordering::Release);
        reader.wake();
    }

    /// Whether the connection is over; wakes the reader when it is.
    fn poll_over(&self, context: &Context<'_>) -> bool {
        let (over, reader) = &*self.0;
        reader.register(context.waker());
        over.load(Ordering::Acquire)
    }
}

/// A connection that calls come in on.
pub(crate) struct Connection {
    transport: Transport,
    peer: Peer,
    deadline: Deadline,
    _place: OwnedSemaphorePermit,
}

enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

/// Ends a connection that has been silent for too long.
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    silence: Duration,
}

/// Takes connections until the receiver is dropped.
pub(crate) fn connections(
    listener: Listener,
    tls: Option<CurrentTls>,
    limits: ConnectionLimits,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (arrived, arrivals) = mpsc::channel(16);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(limits.most));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = arrived.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the client is gone already: neither ends the server.
                    tracing::warn!(%error, "could not take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(most = limits.most, "closed a new connection: too many are open");
                continue;
            };
            let tls = tls.as_ref().map(|current| current());
            let arrived = arrived.clone();
            tokio::spawn(async move {
                match timeout(limits.handshake, encrypt(stream, tls)).await {
                    Ok(Ok(transport)) => {
                        let connection = Connection {
                            transport,
                            peer: Peer { address, line: HangUp::default() },
                            deadline: Deadline::new(limits),
                            _place: place,
                        };
                        // The server may have stopped meanwhile.
                        let _ = arrived.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::info!(%error, peer.address = ?address, "a TLS handshake failed");
                    }
                    Err(_) => tracing::info!(peer.address = ?address, "a TLS handshake took too long"),
                }
            });
        }
    });
    arrivals
}

async fn encrypt(stream: Stream, tls: Option<Arc<ServerConfig>>) -> io::Result<Transport> {
    Ok(match tls {
        Some(config) => {
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            // rustls lets a client through that asks for no protocol at all.
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client does not ask for h2 by ALPN",
                ));
            }
            Transport::Tls(Box::new(stream))
        }
        None => Transport::Plain(stream),
    })
}

impl Deadline {
    /// The first words are due sooner than later ones.
    fn new(limits: ConnectionLimits) -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now() + limits.handshake)), silence: limits.silence }
    }

    fn heard(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.silence);
    }

    fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.peer.line.poll_over(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if read.is_pending() {
            ready!(self.deadline.poll_passed(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if buffer.filled().len() > before {
            self.deadline.heard();
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, data),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, data),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

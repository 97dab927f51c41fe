//! Connections: counted, encrypted where TLS is on, and closed when they are silent for too long.
//!
//! Each handshake runs in a task of its own, so that a slow or silent client delays no other.

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
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use crate::server::transport::frame_budget::{self, FrameBudget};
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
    /// Closes the connection.
    pub(crate) closer: Closer,
}

/// Closes a connection from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closer(Arc<(AtomicBool, AtomicWaker)>);

impl Closer {
    pub(crate) fn close(&self) {
        let (closed, reader) = &*self.0;
        closed.store(true, Ordering::Release);
        reader.wake();
    }

    /// Whether the connection is closed; wakes the reader when it is.
    fn poll_closed(&self, context: &Context<'_>) -> bool {
        let (closed, reader) = &*self.0;
        reader.register(context.waker());
        closed.load(Ordering::Acquire)
    }
}

/// A connection that calls arrive on.
pub(crate) struct Connection {
    transport: ByteStream,
    peer: Peer,
    silence: SilenceLimit,
    frames: FrameBudget,
    /// What ends the connection once its frames are over the budget: what is left to be read of it.
    ending: Option<&'static [u8]>,
    _permit: OwnedSemaphorePermit,
}

/// The bytes of a connection, plain or encrypted.
type ByteStream = Either<Stream, Box<TlsStream<Stream>>>;

/// Ends a connection that has been silent for too long.
struct SilenceLimit {
    sleep: Pin<Box<Sleep>>,
    silence: Duration,
}

/// Takes connections until the receiver is dropped.
pub(crate) fn accept_connections(
    listener: Listener,
    tls: Option<CurrentTls>,
    limits: ConnectionLimits,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let permits = Arc::new(Semaphore::new(limits.most));
        loop {
            let next = tokio::select! {
                next = listener.accept() => next,
                () = accepted.closed() => return,
            };
            let (stream, address) = match next {
                Ok(next) => next,
                Err(error) => {
                    // Out of file descriptors, or the client is gone already: neither ends the server.
                    tracing::warn!(%error, "could not take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                tracing::warn!(most = limits.most, "closed a new connection: too many are open");
                continue;
            };
            let tls = tls.as_ref().map(|current| current());
            let accepted = accepted.clone();
            tokio::spawn(async move {
                match timeout(limits.handshake, encrypt(stream, tls)).await {
                    Ok(Ok(transport)) => {
                        let connection = Connection {
                            transport,
                            peer: Peer { address, closer: Closer::default() },
                            silence: SilenceLimit::new(limits),
                            frames: FrameBudget::new(std::time::Instant::now()),
                            ending: None,
                            _permit: permit,
                        };
                        // The server may have stopped meanwhile.
                        let _ = accepted.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => {
                        tracing::info!(%error, peer.address = ?address, "a TLS handshake failed");
                    }
                    Err(_) => tracing::info!(peer.address = ?address, "a TLS handshake took too long"),
                }
            });
        }
    });
    connections
}

async fn encrypt(stream: Stream, tls: Option<Arc<ServerConfig>>) -> io::Result<ByteStream> {
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
            Either::Right(Box::new(stream))
        }
        None => Either::Left(stream),
    })
}

impl SilenceLimit {
    /// The first bytes are due sooner than later ones.
    fn new(limits: ConnectionLimits) -> Self {
        Self { sleep: Box::pin(sleep_until(Instant::now() + limits.handshake)), silence: limits.silence }
    }

    fn reset(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.silence);
    }

    fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(context)
    }
}

impl Connection {
    /// Reads what ends the connection.
    fn end(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let ending = self.ending.unwrap_or_default();
        if ending.is_empty() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let (now, later) = ending.split_at(ending.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.ending = Some(later);
        Ok(())
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.frames.send(*bytes);
        }
        self.or_closed(written)
    }

    /// A client that is being hung up on and reads nothing is not waited for.
    fn or_closed<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.ending.is_some() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        polled
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
        if self.peer.closer.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.ending.is_some() {
            return Poll::Ready(self.end(buffer));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(context, buffer);
        if read.is_pending() {
            ready!(self.silence.poll_passed(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if buffer.filled().len() > before {
            self.silence.reset();
            let received = self.frames.receive(&buffer.filled()[before..], std::time::Instant::now());
            if let Err(whole) = received {
                tracing::info!("hung up on a client that sends too many frames without data");
                buffer.set_filled(before + whole);
                self.ending = Some(frame_budget::FORBIDDEN);
                return Poll::Ready(self.end(buffer));
            }
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
        let written = Pin::new(&mut self.transport).poll_write(context, data);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, data);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        self.or_closed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

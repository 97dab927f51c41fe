//! Connections: each takes a slot, uses TLS if it is configured, and is closed if it is silent for too long
//! or another connection needs its slot.
//!
//! Each handshake runs in its own task, so that a slow or silent client delays no other client.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use crate::monitoring_http;
use crate::repeats::{Repeats, Verdict};
use crate::server::transport::allowance::{Allowance, TooMuch, poll_read_piece};
use crate::server::transport::authority::Authorities;
use crate::server::transport::closer::Closer;
use crate::server::transport::connection_slots::{ConnectionSlot, ConnectionSlots, OccupiedSlot};
use crate::server::transport::frame_budget::{self, FrameBudget};
use crate::server::transport::listener::{Listener, Stream};
use crate::server::transport::quota::Network;
use crate::server::transport::silence::{LONGEST_UNFINISHED, SilenceLimit};

/// How connections are treated before and between calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// The most connections; see [`ConnectionSlots`].
    pub(crate) most: usize,
    /// The longest time for the TLS handshake and then for the HTTP/2 preface.
    pub(crate) handshake: Duration,
    /// How long a connection may be silent. A live client answers the server's pings more often.
    pub(crate) silence: Duration,
}

/// Returns the TLS settings for the next connection; they can change while the server runs.
pub(crate) type CurrentTls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// The client of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `host:port`; `None` for a unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// The slot of the connection.
    pub(crate) slot: Arc<ConnectionSlot>,
    /// Limits the lines about connections.
    lines: Arc<Repeats>,
}

/// A connection that calls arrive on.
pub(crate) struct Connection {
    transport: ByteStream,
    peer: Peer,
    silence: SilenceLimit,
    /// Set for callers on a unix socket.
    authorities: Option<Authorities>,
    _occupied: OccupiedSlot,
    frames: FrameBudget,
    /// Limits the bytes that are read until a call is admitted.
    allowance: Allowance,
    /// The rest of the bytes that end the connection, once its frames exceed the budget.
    ending: Option<&'static [u8]>,
}

/// The bytes of a connection, plain or encrypted.
type ByteStream = Either<Stream, Box<TlsStream<Stream>>>;

/// How many lines of a kind a peer causes in the log within [`Repeats::WINDOW`].
const LINES: u32 = 5;
/// How often unauthenticated connections are checked.
const SWEEP: Duration = Duration::from_secs(1);
/// Pauses after a connection could not be accepted, for example without free file descriptors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How long a connection without a call stays open after the server begins to stop. Most clients disconnect when they
/// receive GOAWAY, but a client that reads nothing does not receive it.
const IDLE_AT_STOP: Duration = Duration::from_secs(5);

/// Accepts connections until the receiver is dropped, which tonic does when it begins to stop. Then closes each
/// connection that has had no call for [`IDLE_AT_STOP`].
pub(crate) fn accept_connections(
    listener: Listener,
    tls: Option<CurrentTls>,
    limits: ConnectionLimits,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(16);
    tokio::spawn(async move {
        let slots = ConnectionSlots::new(limits.most);
        let lines = Arc::new(Repeats::new(LINES));
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = PAUSES.0;
        loop {
            let next = tokio::select! {
                next = listener.accept() => next,
                _ = sweep.tick() => {
                    slots.sweep();
                    continue;
                }
                () = accepted.closed() => break,
            };
            let (stream, address) = match next {
                Ok(next) => next,
                Err(error) => {
                    // There are no free file descriptors, or the client has already disconnected: neither
                    // ends the server.
                    if let Verdict::Log { left_out } = lines.judge("accept", None) {
                        tracing::warn!(%error, left_out, "could not accept a connection");
                    }
                    slots.make_room();
                    sleep(pause).await;
                    pause = (2 * pause).min(PAUSES.1);
                    continue;
                }
            };
            pause = PAUSES.0;
            let from: Network = address.map(|address| monitoring_http::network(address.ip()));
            let Some(occupied) = slots.take(from) else {
                if let Verdict::Log { left_out } = lines.judge("full", from) {
                    let most = slots.most();
                    tracing::warn!(
                        most,
                        left_out,
                        "closed a new connection: the only other one has calls in progress"
                    );
                }
                continue;
            };
            let tls = tls.as_ref().map(|current| current());
            let (accepted, lines) = (accepted.clone(), Arc::clone(&lines));
            tokio::spawn(async move {
                let mut has_sent = false;
                let handshake = unless_closed(&occupied.0.closer, encrypt(stream, tls, &mut has_sent));
                let shaken = timeout(limits.handshake, handshake).await;
                let failure = match shaken {
                    Ok(Ok(transport)) => {
                        // If client certificates are required, only clients with a valid one pass the
                        // handshake.
                        if has_certificate(&transport) {
                            // Without a free slot, each call of the client retries this.
                            let _ = occupied.0.trust(None);
                        }
                        let connection = Connection {
                            transport,
                            peer: Peer { address, slot: Arc::clone(&occupied.0), lines },
                            silence: SilenceLimit::new(limits.handshake, limits.silence),
                            authorities: address.is_none().then(Authorities::default),
                            _occupied: occupied,
                            frames: FrameBudget::new(now()),
                            allowance: Allowance::default(),
                            ending: None,
                        };
                        // The server may have stopped in the meantime.
                        let _ = accepted.send(Ok(connection)).await;
                        return;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("it took longer than {} s", limits.handshake.as_secs()),
                };
                // A probe of a load balancer or a port scan sends nothing.
                if has_sent && let Verdict::Log { left_out } = lines.judge("handshake", from) {
                    let peer = shown(address);
                    tracing::info!(error = failure, peer.address = peer, left_out, "a TLS handshake failed");
                }
            });
        }
        // New clients are refused at once.
        drop(listener);
        sleep(IDLE_AT_STOP).await;
        // The slots remain until the last connection has ended, because calls in progress still need them.
        while !slots.are_free() {
            slots.close_idle(IDLE_AT_STOP);
            sweep.tick().await;
        }
    });
    connections
}

/// Returns an error if the connection is closed before `work` is done.
async fn unless_closed<T>(closer: &Closer, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let closed = std::future::poll_fn(|context| match closer.poll_closed(context) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    });
    tokio::select! {
        done = work => done,
        () = closed => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "another connection needed the slot, or the server is stopping")),
    }
}

/// Whether the client has a certificate. It has then been verified.
fn has_certificate(transport: &ByteStream) -> bool {
    match transport {
        Either::Left(_) => false,
        Either::Right(stream) => stream.get_ref().1.peer_certificates().is_some(),
    }
}

/// Performs the TLS handshake, if TLS is configured. Sets `has_sent` when the first byte of the client arrives.
async fn encrypt(
    stream: Stream,
    tls: Option<Arc<ServerConfig>>,
    has_sent: &mut bool,
) -> io::Result<ByteStream> {
    Ok(match tls {
        Some(config) => {
            *has_sent = match &stream {
                Either::Left(tcp) => tcp.peek(&mut [0]).await? > 0,
                Either::Right(_) => true,
            };
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            // rustls admits a client that requests no protocol.
            if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client does not request h2 by ALPN",
                ));
            }
            Either::Right(Box::new(stream))
        }
        None => Either::Left(stream),
    })
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// An address as the logs show it: empty for a unix socket.
fn shown(address: Option<SocketAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

impl Peer {
    /// Its address as the logs show it: empty for a unix socket.
    pub(crate) fn shown(&self) -> String {
        shown(self.address)
    }

    /// Logs that the connection was closed and why. `client` describes what the client did.
    pub(crate) fn log_hung_up(&self, client: &'static str) {
        if let Verdict::Log { left_out } = self.lines.judge(client, self.slot.network) {
            let peer = self.shown();
            tracing::info!(peer.address = peer, left_out, "closed the connection of a client that {client}");
        }
    }
}

impl Connection {
    /// A connection whose peer reads nothing is only polled for writing, so the check is needed there.
    ///
    /// # Errors
    /// The connection is closed.
    fn check_open(&self) -> io::Result<()> {
        if self.peer.slot.closer.is_closed() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn receive_unauthenticated(&mut self, bytes: usize, calls: bool) {
        self.allowance.receive(bytes, calls);
        if self.allowance.is_spent() {
            self.peer.slot.spend();
        }
    }

    /// Fills the buffer with the bytes that end the connection.
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

    /// Does not wait for a client that reads nothing while its connection is being closed.
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
        if self.peer.slot.closer.poll_closed(context) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.ending.is_some() {
            return Poll::Ready(self.end(buffer));
        }
        let before = buffer.filled().len();
        let is_unauthenticated = !self.peer.slot.is_trusted();
        let read = if is_unauthenticated {
            if let Err(TooMuch) = ready!(self.allowance.poll_ready(context)) {
                self.peer.log_hung_up("sends more than the server reads before it admits a call");
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            poll_read_piece(Pin::new(&mut self.transport), context, buffer)
        } else {
            Pin::new(&mut self.transport).poll_read(context, buffer)
        };
        if read.is_pending() {
            ready!(self.silence.poll_passed(context));
            if self
                .frames
                .unfinished_since()
                .is_some_and(|since| now().duration_since(since) >= LONGEST_UNFINISHED)
            {
                self.peer.log_hung_up("does not finish a frame or its headers");
            }
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if buffer.filled().len() > before {
            if let Some(authorities) = &mut self.authorities {
                authorities.pass(&mut buffer.filled_mut()[before..]);
            }
            let calls = self.frames.calls();
            let received = self.frames.receive(&buffer.filled()[before..], now());
            let unfinished = self.frames.unfinished_since().map(Instant::from_std);
            self.silence.reset(unfinished);
            if let Err(whole) = received {
                self.peer.log_hung_up("sends too many frames with little or no data");
                buffer.set_filled(before + whole);
                self.ending = Some(frame_budget::FORBIDDEN);
                return Poll::Ready(self.end(buffer));
            }
            if is_unauthenticated {
                let calls = self.frames.calls() > calls;
                self.receive_unauthenticated(buffer.filled().len() - before, calls);
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
        self.check_open()?;
        let written = Pin::new(&mut self.transport).poll_write(context, data);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open()?;
        let written = Pin::new(&mut self.transport).poll_write_vectored(context, data);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open()?;
        let flushed = Pin::new(&mut self.transport).poll_flush(context);
        self.or_closed(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}

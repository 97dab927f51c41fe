//! An HTTP server for monitoring: health probes and Prometheus. It has no authentication, so it accepts few
//! connections, each for a short time: they never use the file descriptors that agents' connections need. If
//! the limit is reached, the oldest connection that is late with its request is closed, or else the oldest
//! connection. Neither idle connections nor slow checks can therefore keep a probe out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

/// Concurrent connections.
pub(crate) const CONNECTIONS: usize = 32;
/// Longest time until a request has arrived.
const REQUEST: Duration = Duration::from_secs(5);
/// After this time without a request, a connection is closed before others.
const LATE: Duration = Duration::from_millis(100);
/// Longest duration of a connection: the request, the slowest answer, which is `/health` with its 30 seconds,
/// and the transfer.
const CONNECTION: Duration = Duration::from_secs(60);
/// Pauses after a connection could not be accepted, for example without free file descriptors.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// The shortest time between two log lines of a kind.
const QUIET: Duration = Duration::from_secs(10);

/// The open connections, in order of arrival.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<VecDeque<Seat>>>);

struct Seat {
    /// Shared with the connection, which sets it when its request has arrived.
    asked: Arc<AtomicBool>,
    since: Instant,
    /// Ends the connection when dropped.
    _keep: oneshot::Sender<Infallible>,
}

/// Answers one request on each connection, until dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router) -> Infallible {
    let open = Open::default();
    let (mut failed, mut full) = (Quiet::default(), Quiet::default());
    let mut pause = PAUSES.0;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if failed.is_over() {
                    tracing::warn!(%error, "could not accept a connection over HTTP");
                }
                open.make_room(open.len().saturating_sub(1));
                sleep(pause).await;
                pause = (2 * pause).min(PAUSES.1);
                continue;
            }
        };
        pause = PAUSES.0;
        if open.make_room(CONNECTIONS - 1) {
            log_full(&listener, &mut full, peer);
        }
        let (asked, end) = open.take();
        let (open, router) = (open.clone(), router.clone());
        tokio::spawn(async move {
            tokio::select! {
                // The client has disconnected or exceeded the time limit: there is nothing left to answer.
                _ = timeout(CONNECTION, answer(stream, router, Arc::clone(&asked))) => {}
                _ = end => {}
            }
            open.remove(&asked);
        });
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, router: Router, asked: Arc<AtomicBool>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        asked.store(true, Ordering::Relaxed);
        router.clone().oneshot(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).keep_alive(false);
    http.serve_connection(TokioIo::new(stream), service).await
}

/// The time of the last log line of a kind.
#[derive(Default)]
struct Quiet(Option<Instant>);

impl Quiet {
    /// Whether the line may be logged again. If so, it counts as logged.
    fn is_over(&mut self) -> bool {
        let over = self.0.is_none_or(|last| last.elapsed() >= QUIET);
        if over {
            self.0 = Some(Instant::now());
        }
        over
    }
}

fn log_full(listener: &TcpListener, full: &mut Quiet, peer: SocketAddr) {
    if !full.is_over() {
        return;
    }
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::warn!(
        address,
        peer.address = %peer,
        most = CONNECTIONS,
        "too many connections over HTTP, an old one was closed: that port is for probes and Prometheus alone"
    );
}

impl Seat {
    /// A new connection is not late: it may be a probe whose request is on its way.
    fn is_late(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && self.since.elapsed() >= LATE
    }
}

impl Open {
    fn len(&self) -> usize {
        self.seats().len()
    }

    /// Closes a connection if there are more than `most`, and returns whether one was closed.
    fn make_room(&self, most: usize) -> bool {
        let mut seats = self.seats();
        if seats.len() <= most {
            return false;
        }
        let late = seats.iter().position(Seat::is_late);
        seats.remove(late.unwrap_or_default()).is_some()
    }

    /// Adds one connection, and returns its flag and the receiver that ends it.
    fn take(&self) -> (Arc<AtomicBool>, oneshot::Receiver<Infallible>) {
        let asked = Arc::new(AtomicBool::new(false));
        let (keep, end) = oneshot::channel();
        self.seats().push_back(Seat { asked: Arc::clone(&asked), since: Instant::now(), _keep: keep });
        (asked, end)
    }

    fn remove(&self, asked: &Arc<AtomicBool>) {
        self.seats().retain(|seat| !Arc::ptr_eq(&seat.asked, asked));
    }

    fn seats(&self) -> MutexGuard<'_, VecDeque<Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_a_moment_to_send_its_request() {
        let open = Open::default();
        let mut seats: Vec<_> = (0..4).map(|_| open.take()).collect();
        let is_open = |seat: &mut (_, oneshot::Receiver<Infallible>)| {
            seat.1.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        };
        for (asked, _) in &seats[..3] {
            asked.store(true, Ordering::Relaxed);
        }
        // The last connection is new, and all others have sent their requests.
        assert!(open.make_room(3));
        assert_eq!(seats.iter_mut().map(is_open).collect::<Vec<_>>(), [false, true, true, true]);
        tokio::time::advance(LATE).await;
        seats.push(open.take());
        assert!(open.make_room(3));
        assert_eq!(seats.iter_mut().map(is_open).collect::<Vec<_>>(), [false, true, true, false, true]);
        assert!(!open.make_room(3));
    }
}

//! An HTTP server for monitoring: health probes and Prometheus. It has no authentication, so it accepts few
//! connections, each for a short time, and cannot use up the file descriptors that connections of agents
//! need. At the limit, it closes a connection of the address that has the most connections: the oldest one
//! whose request is late, or else the oldest one. Idle connections, slow checks and floods of requests
//! therefore cannot block a probe from another address.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
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
struct Open(Arc<Mutex<VecDeque<Slot>>>);

struct Slot {
    address: IpAddr,
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
                open.make_room(open.len().saturating_sub(1), None);
                sleep(pause).await;
                pause = (2 * pause).min(PAUSES.1);
                continue;
            }
        };
        pause = PAUSES.0;
        let caller = network(peer.ip());
        if open.make_room(CONNECTIONS - 1, Some(caller)) {
            log_full(&listener, &mut full, peer);
        }
        let (asked, end) = open.take(caller);
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
        "too many connections over HTTP, an old one was closed: this port is only for probes and Prometheus"
    );
}

impl Slot {
    /// A new connection is not late: it may be a probe whose request is on its way.
    fn is_late(&self) -> bool {
        !self.asked.load(Ordering::Relaxed) && self.since.elapsed() >= LATE
    }
}

/// The network of an address, which counts as one caller: the first 64 bits of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Open {
    fn len(&self) -> usize {
        self.slots().len()
    }

    /// Closes a connection if there are more than `most`, and returns whether it closed one. It closes a
    /// connection of the address that has the most, where the new one counts: the oldest whose request is late,
    /// or else the oldest. If several addresses have the most, their connections are treated as one group.
    fn make_room(&self, most: usize, newcomer: Option<IpAddr>) -> bool {
        let mut slots = self.slots();
        if slots.len() <= most {
            return false;
        }
        let mut counts = HashMap::new();
        for address in slots.iter().map(|slot| slot.address).chain(newcomer) {
            *counts.entry(address).or_insert(0_usize) += 1;
        }
        let count = |slot: &Slot| counts.get(&slot.address).copied().unwrap_or_default();
        let Some(largest) = slots.iter().map(count).max() else { return false };
        let late = slots.iter().position(|slot| count(slot) == largest && slot.is_late());
        let chosen = late.or_else(|| slots.iter().position(|slot| count(slot) == largest));
        chosen.is_some_and(|chosen| slots.remove(chosen).is_some())
    }

    /// Adds one connection of this address, and returns its flag and the receiver that ends it.
    fn take(&self, address: IpAddr) -> (Arc<AtomicBool>, oneshot::Receiver<Infallible>) {
        let asked = Arc::new(AtomicBool::new(false));
        let (keep, end) = oneshot::channel();
        let slot = Slot { address, asked: Arc::clone(&asked), since: Instant::now(), _keep: keep };
        self.slots().push_back(slot);
        (asked, end)
    }

    fn remove(&self, asked: &Arc<AtomicBool>) {
        self.slots().retain(|slot| !Arc::ptr_eq(&slot.asked, asked));
    }

    fn slots(&self) -> MutexGuard<'_, VecDeque<Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Taken = (Arc<AtomicBool>, oneshot::Receiver<Infallible>);

    fn from(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn are_open(slots: &mut [Taken]) -> Vec<bool> {
        let is_open = |slot: &mut Taken| slot.1.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        slots.iter_mut().map(is_open).collect()
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_a_moment_to_send_its_request() {
        let open = Open::default();
        let mut slots: Vec<_> = (0..4).map(|_| open.take(from(1))).collect();
        for (asked, _) in &slots[..3] {
            asked.store(true, Ordering::Relaxed);
        }
        // The last connection is new, and all others have sent their requests.
        assert!(open.make_room(3, Some(from(1))));
        assert_eq!(are_open(&mut slots), [false, true, true, true]);
        tokio::time::advance(LATE).await;
        slots.push(open.take(from(1)));
        assert!(open.make_room(3, Some(from(1))));
        assert_eq!(are_open(&mut slots), [false, true, true, false, true]);
        assert!(!open.make_room(3, Some(from(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn the_address_with_the_most_connections_loses_one() {
        let open = Open::default();
        let mut slots: Vec<_> = [1, 2, 2].into_iter().map(|last| open.take(from(last))).collect();
        // The only connection of its address stays although it is old and late.
        tokio::time::advance(LATE).await;
        assert!(open.make_room(2, Some(from(3))));
        assert_eq!(are_open(&mut slots), [true, false, true]);
        slots.push(open.take(from(2)));
        assert!(open.make_room(2, Some(from(2))));
        assert_eq!(are_open(&mut slots), [true, false, false, true]);
        slots.push(open.take(from(3)));
        // All addresses have one connection, so the oldest late one is closed.
        assert!(open.make_room(2, Some(from(4))));
        assert_eq!(are_open(&mut slots), [false, false, false, true, true]);
    }
}

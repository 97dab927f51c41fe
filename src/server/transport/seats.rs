//! The open connections, and which of them is closed to make room for a new one.
//!
//! A connection is unauthenticated until one of its calls or its client certificate is accepted.
//! Unauthenticated connections have few seats and lose them first: the oldest one of the network with the
//! most of them is closed. Idle connections therefore cannot keep out a caller that makes calls.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::server::transport::closer::Closer;
use crate::server::transport::places::Network;

/// All open connections.
#[derive(Debug, Clone)]
pub(crate) struct Seats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_unauthenticated: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In order of arrival, as in `trusted`.
    unauthenticated: BTreeMap<u64, Arc<Seat>>,
    trusted: BTreeMap<u64, Arc<Seat>>,
    unauthenticated_of: HashMap<Network, usize>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) number: u64,
    pub(crate) network: Network,
    /// Closes the connection.
    pub(crate) closer: Closer,
    trusted: AtomicBool,
    /// Whether the connection is unauthenticated and has sent nearly its allowance.
    spent: AtomicBool,
    calls: AtomicUsize,
    idle_since: Mutex<Instant>,
    seats: Weak<Inner>,
}

/// An occupied seat; released when dropped.
#[derive(Debug)]
pub(crate) struct Seated(pub(crate) Arc<Seat>);

/// A call in progress on a connection.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

/// The minimum number of seats for unauthenticated connections, if there are that many seats.
const FEW: usize = 16;
/// How long an unauthenticated connection may be without a call in progress.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// The same limit for a connection that has sent nearly its allowance.
const SPENT_LONGEST_IDLE: Duration = Duration::from_secs(1);
/// Concurrent calls of an unauthenticated connection. These are health checks: other calls require
/// authentication.
const UNAUTHENTICATED_CALLS: usize = 8;

impl Seats {
    /// Creates seats for `most` connections, a quarter of them for unauthenticated ones.
    pub(crate) fn new(most: usize) -> Self {
        let most_unauthenticated = (most / 4).max(FEW).min(most);
        Self(Arc::new(Inner { most, most_unauthenticated, open: Mutex::default() }))
    }

    /// The number of seats.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// Takes a seat for a new connection. Closes another connection if needed; `None` if all are busy.
    pub(crate) fn take(&self, network: Network) -> Option<Seated> {
        let mut open = self.0.open();
        if open.unauthenticated.len() >= self.0.most_unauthenticated {
            open.evict_unauthenticated(network);
        }
        if open.len() >= self.0.most && !open.evict(network) {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let seat = Arc::new(Seat {
            number,
            network,
            closer: Closer::default(),
            trusted: AtomicBool::new(false),
            spent: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            seats: Arc::downgrade(&self.0),
        });
        open.unauthenticated.insert(number, Arc::clone(&seat));
        *open.unauthenticated_of.entry(network).or_default() += 1;
        Some(Seated(seat))
    }

    /// Closes an idle connection, for example if there are no free file descriptors; false if all are busy.
    pub(crate) fn make_room(&self) -> bool {
        self.0.open().evict(None)
    }

    /// Closes unauthenticated connections that have been idle for too long. Their next health check opens a
    /// new connection.
    pub(crate) fn sweep(&self) {
        let mut open = self.0.open();
        let idle = |seat: &&Arc<Seat>| !seat.is_busy() && seat.idle() > seat.longest_idle();
        let idle: Vec<_> = open.unauthenticated.values().filter(idle).cloned().collect();
        for seat in idle {
            open.close(&seat);
        }
    }
}

impl Inner {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn len(&self) -> usize {
        self.unauthenticated.len() + self.trusted.len()
    }

    fn evict(&mut self, newcomer: Network) -> bool {
        self.evict_unauthenticated(newcomer) || self.evict_idle()
    }

    /// Closes the oldest unauthenticated connection of the network with the most of them, the new one
    /// included.
    fn evict_unauthenticated(&mut self, newcomer: Network) -> bool {
        let counted =
            |(network, count): (&Network, &usize)| (*count + usize::from(*network == newcomer), *network);
        let Some((_, crowd)) = self.unauthenticated_of.iter().map(counted).max() else { return false };
        let Some(seat) = self.unauthenticated.values().find(|seat| seat.network == crowd).cloned() else {
            return false;
        };
        self.close(&seat);
        true
    }

    /// Closes the connection that has been idle for longest.
    fn evict_idle(&mut self) -> bool {
        let idle = self.trusted.values().filter(|seat| !seat.is_busy()).max_by_key(|seat| seat.idle());
        let Some(seat) = idle.cloned() else { return false };
        self.close(&seat);
        true
    }

    fn close(&mut self, seat: &Seat) {
        self.remove(seat);
        seat.closer.close();
    }

    fn remove(&mut self, seat: &Seat) {
        if self.unauthenticated.remove(&seat.number).is_some() {
            self.unauthenticated_gone(seat.network);
        }
        self.trusted.remove(&seat.number);
    }

    fn unauthenticated_gone(&mut self, network: Network) {
        if let Some(count) = self.unauthenticated_of.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.unauthenticated_of.remove(&network);
            }
        }
    }
}

impl Seat {
    /// Marks the caller as authenticated.
    pub(crate) fn trust(&self) {
        if self.trusted.swap(true, Ordering::Relaxed) {
            return;
        }
        let Some(seats) = self.seats.upgrade() else { return };
        let mut open = seats.open();
        // The connection may have been closed at the same time.
        if let Some(seat) = open.unauthenticated.remove(&self.number) {
            open.unauthenticated_gone(self.network);
            open.trusted.insert(self.number, seat);
        }
    }

    /// Requests that the connection is closed as soon as it is idle, unless one of its calls is admitted
    /// first.
    pub(crate) fn spend(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }

    fn longest_idle(&self) -> Duration {
        if self.spent.load(Ordering::Relaxed) { SPENT_LONGEST_IDLE } else { LONGEST_IDLE }
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Begins a call; `None` if the connection is unauthenticated and has too many calls in progress.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let busy = Busy(Arc::clone(self));
        (before < UNAUTHENTICATED_CALLS || self.is_trusted()).then_some(busy)
    }

    fn is_busy(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    fn idle(&self) -> Duration {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        if let Some(seats) = self.0.seats.upgrade() {
            seats.open().remove(&self.0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn from(last: u8) -> Network {
        Some([10, 0, 0, last].into())
    }

    fn closed(seats: &[Seated]) -> Vec<usize> {
        (0..seats.len()).filter(|at| seats[*at].0.closer.is_closed()).collect()
    }

    #[test]
    fn unauthenticated_connections_of_the_largest_network_are_closed_first() {
        let seats = Seats::new(64);
        let mut open = vec![seats.take(from(1)).unwrap()];
        open.extend((0..15).map(|_| seats.take(from(2)).unwrap()));
        assert!(closed(&open).is_empty());
        open.extend((0..3).map(|_| seats.take(from(2)).unwrap()));
        assert_eq!(closed(&open), [1, 2, 3]);
        open.push(seats.take(from(3)).unwrap());
        assert_eq!(closed(&open), [1, 2, 3, 4]);
    }

    #[test]
    fn a_caller_keeps_its_seat_when_many_unauthenticated_connections_open() {
        let seats = Seats::new(20);
        let caller = seats.take(from(1)).unwrap();
        caller.0.trust();
        let crowd: Vec<_> = (0..100).map(|_| seats.take(from(1)).unwrap()).collect();
        assert!(!caller.0.closer.is_closed());
        assert_eq!(closed(&crowd).len(), 84);
    }

    #[test]
    fn closes_the_longest_idle_caller_and_never_a_busy_one() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(from(1)).unwrap(), seats.take(from(1)).unwrap());
        first.0.trust();
        second.0.trust();
        let busy = first.0.begin().unwrap();
        let third = seats.take(from(1)).unwrap();
        assert_eq!((first.0.closer.is_closed(), second.0.closer.is_closed()), (false, true));
        third.0.trust();
        let _third = third.0.begin().unwrap();
        assert!(seats.take(from(1)).is_none(), "a busy connection was closed");
        drop(busy);
        assert!(seats.take(from(1)).is_some());
        assert!(first.0.closer.is_closed());
    }

    #[test]
    fn a_seat_is_released_when_its_connection_ends() {
        let seats = Seats::new(1);
        for _ in 0..3 {
            let seat = seats.take(from(1)).unwrap();
            seat.0.trust();
            let _busy = seat.0.begin().unwrap();
            assert!(seats.take(from(1)).is_none());
        }
    }

    #[test]
    fn limits_the_concurrent_calls_of_an_unauthenticated_connection() {
        let seats = Seats::new(1);
        let seat = seats.take(from(1)).unwrap();
        let calls: Vec<_> = (0..UNAUTHENTICATED_CALLS).map(|_| seat.0.begin().unwrap()).collect();
        assert!(seat.0.begin().is_none());
        seat.0.trust();
        assert!(seat.0.begin().is_some());
        drop(calls);
        assert!(!seat.0.is_busy());
    }
}

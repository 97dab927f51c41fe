//! The open connections, and which of them is closed to make room for a new one.
//!
//! A connection is unauthenticated until one of its calls or its client certificate is accepted. Some slots
//! are reserved for unauthenticated connections, so that the server always accepts a new connection:
//!
//! - A new connection replaces the oldest unauthenticated connection of the network that has the most of
//!   them. If several networks have the most, networks from which no caller has authenticated come first.
//! - If all slots for authenticated connections are taken, a newly authenticated connection replaces a
//!   connection of the token that has the most, in the network from which this token has the most. Without
//!   tokens, it replaces a connection of the network that has the most.
//!
//! Therefore, neither idle connections nor calls of one caller can lock out another caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::server::transport::closer::Closer;
use crate::server::transport::quota::Network;
use crate::server::transport::tokens::TokenId;

/// All open connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSlots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_unauthenticated: usize,
    most_trusted: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In order of arrival, as in `trusted`.
    unauthenticated: BTreeMap<u64, Arc<ConnectionSlot>>,
    trusted: BTreeMap<u64, Arc<ConnectionSlot>>,
    unauthenticated_of: HashMap<Network, usize>,
    /// The networks from which callers have authenticated last, and when: the number of the next connection.
    known: HashMap<Network, u64>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    pub(crate) number: u64,
    pub(crate) network: Network,
    /// Closes the connection.
    pub(crate) closer: Closer,
    trusted: AtomicBool,
    /// The first token that was shown.
    token: OnceLock<TokenId>,
    /// Whether the connection is unauthenticated and has sent nearly its allowance.
    spent: AtomicBool,
    /// Calls that have begun, including those whose message has not arrived.
    begun: AtomicUsize,
    /// Calls in progress whose message has arrived. They delay the end of the connection.
    admitted: AtomicUsize,
    /// When the last of these calls ended.
    idle_since: Mutex<Instant>,
    /// When the last call that had begun ended, even if it was not admitted.
    quiet_since: Mutex<Instant>,
    slots: Weak<Inner>,
}

/// An occupied slot; released when dropped.
#[derive(Debug)]
pub(crate) struct OccupiedSlot(pub(crate) Arc<ConnectionSlot>);

/// A call that has begun on a connection.
#[derive(Debug)]
pub(crate) struct Begun(Arc<ConnectionSlot>);

/// A call in progress on a connection, whose message has arrived.
#[derive(Debug)]
pub(crate) struct Busy(Begun);

/// All slots of authenticated connections are taken, and this caller cannot replace another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoFreeSlot {
    /// The number of these slots.
    pub(crate) most: usize,
}

/// The minimum number of slots for unauthenticated connections, if there are that many slots.
const FEW: usize = 16;
/// How many networks are remembered from which callers have authenticated.
const KNOWN: usize = 1024;
/// How long an unauthenticated connection may be without a call in progress.
const LONGEST_IDLE: Duration = Duration::from_secs(30);
/// The same limit for a connection that has sent nearly its allowance.
const SPENT_LONGEST_IDLE: Duration = Duration::from_secs(1);
/// Concurrent calls of an unauthenticated connection. These are health checks: other calls require
/// authentication.
const UNAUTHENTICATED_CALLS: usize = 8;

impl ConnectionSlots {
    /// Creates slots for `most` connections. At least one, and a quarter of more than seven, is left to
    /// unauthenticated ones.
    pub(crate) fn new(most: usize) -> Self {
        let quarter = most / 4;
        let most_unauthenticated = quarter.max(FEW).min(most);
        let most_trusted = most.saturating_sub(quarter.max(1)).max(1);
        Self(Arc::new(Inner { most, most_unauthenticated, most_trusted, open: Mutex::default() }))
    }

    /// The number of slots.
    pub(crate) fn most(&self) -> usize {
        self.0.most
    }

    /// Takes a slot for a new connection. Closes another connection if needed; `None` if there is only one
    /// slot, and it is busy.
    pub(crate) fn take(&self, network: Network) -> Option<OccupiedSlot> {
        let mut open = self.0.open();
        if open.unauthenticated.len() >= self.0.most_unauthenticated {
            open.evict_unauthenticated(network);
        }
        if open.len() >= self.0.most && !open.evict(network) {
            return None;
        }
        let number = open.next;
        open.next += 1;
        let slot = Arc::new(ConnectionSlot {
            number,
            network,
            closer: Closer::default(),
            trusted: AtomicBool::new(false),
            token: OnceLock::new(),
            spent: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            quiet_since: Mutex::new(Instant::now()),
            slots: Arc::downgrade(&self.0),
        });
        open.unauthenticated.insert(number, Arc::clone(&slot));
        *open.unauthenticated_of.entry(network).or_default() += 1;
        Some(OccupiedSlot(slot))
    }

    /// Closes an idle connection, for example if there are no free file descriptors; false if all are busy.
    pub(crate) fn make_room(&self) -> bool {
        self.0.open().evict(None)
    }

    /// Closes unauthenticated connections that have been idle for too long. Their next health check opens a
    /// new connection.
    pub(crate) fn sweep(&self) {
        let mut open = self.0.open();
        let idle = |slot: &&Arc<ConnectionSlot>| !slot.is_busy() && slot.idle() > slot.longest_idle();
        let idle: Vec<_> = open.unauthenticated.values().filter(idle).cloned().collect();
        for slot in idle {
            open.close(&slot);
        }
    }

    /// Whether no connection is open.
    pub(crate) fn are_free(&self) -> bool {
        self.0.open().len() == 0
    }

    /// Closes every connection that has had no call for this long. The operating system needs this time to send the
    /// end of the last answer. A call whose message has not arrived counts too.
    pub(crate) fn close_idle(&self, quiet: Duration) {
        let mut open = self.0.open();
        let idle = |slot: &&Arc<ConnectionSlot>| slot.quiet().is_some_and(|time| time >= quiet);
        let all = open.unauthenticated.values().chain(open.trusted.values());
        let idle: Vec<_> = all.filter(idle).cloned().collect();
        for slot in idle {
            open.close(&slot);
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
        self.evict_unauthenticated(newcomer) || self.evict_trusted(None)
    }

    /// Closes the oldest unauthenticated connection of the network with the most of them, the new one
    /// included. If several networks have the most, a network from which no caller has authenticated loses one,
    /// so that unknown callers with many addresses do not keep out known ones. Of these, the oldest
    /// connection is closed: one that is about to be authenticated is usually new.
    fn evict_unauthenticated(&mut self, newcomer: Network) -> bool {
        let rank = |slot: &ConnectionSlot| {
            let count = self.unauthenticated_of.get(&slot.network).copied().unwrap_or_default();
            (count + usize::from(slot.network == newcomer), !self.known.contains_key(&slot.network))
        };
        let Some(first) = self.unauthenticated.values().map(|slot| rank(slot)).max() else { return false };
        let Some(slot) = self.unauthenticated.values().find(|slot| rank(slot) == first).cloned() else {
            return false;
        };
        self.close(&slot);
        true
    }

    /// Closes a connection of the holder with the most: the one that has been idle for longest, otherwise the
    /// oldest one. False if all of them are busy and the newcomer belongs to the same holder or is unknown.
    fn evict_trusted(&mut self, newcomer: Option<&Arc<ConnectionSlot>>) -> bool {
        let (mut of_network, mut of_token) = (HashMap::new(), HashMap::new());
        for slot in self.trusted.values().chain(newcomer) {
            *of_network.entry(slot.network).or_insert(0_usize) += 1;
            if let Some(token) = slot.token.get() {
                *of_token.entry(*token).or_insert(0_usize) += 1;
            }
        }
        // The token comes first, because a caller can have many addresses. A caller with few connections has a
        // small size, even if it shares its network with a caller that has many.
        let size = |slot: &ConnectionSlot| {
            let of_network = of_network.get(&slot.network).copied().unwrap_or(1);
            let of_token = slot.token.get().and_then(|token| of_token.get(token)).copied();
            (of_token.unwrap_or(of_network), of_network)
        };
        let Some(largest) = self.trusted.values().map(|slot| size(slot)).max() else { return false };
        let holder = || self.trusted.values().filter(|slot| size(slot) == largest);
        let idle = holder().filter(|slot| !slot.is_busy()).max_by_key(|slot| slot.idle());
        let smaller = newcomer.is_some_and(|newcomer| size(newcomer) < largest);
        // Closes an idle connection of the same caller before a busy connection of another caller. Without a
        // new connection, closes any idle connection.
        let is_own = |slot: &ConnectionSlot| {
            newcomer.is_none_or(|own| own.network == slot.network && own.token.get() == slot.token.get())
        };
        let own = || {
            let idle = self.trusted.values().filter(|slot| !slot.is_busy() && is_own(slot));
            idle.max_by_key(|slot| slot.idle())
        };
        let slot = idle.or_else(own).or_else(|| holder().next().filter(|_| smaller));
        let Some(slot) = slot.cloned() else { return false };
        self.close(&slot);
        true
    }

    /// Remembers that a caller from this network has authenticated.
    fn know(&mut self, network: Network) {
        self.known.insert(network, self.next);
        if self.known.len() > KNOWN
            && let Some(oldest) =
                self.known.iter().min_by_key(|(_, last)| **last).map(|(network, _)| *network)
        {
            self.known.remove(&oldest);
        }
    }

    fn close(&mut self, slot: &ConnectionSlot) {
        self.remove(slot);
        slot.closer.close();
    }

    fn remove(&mut self, slot: &ConnectionSlot) {
        if self.unauthenticated.remove(&slot.number).is_some() {
            self.unauthenticated_gone(slot.network);
        }
        self.trusted.remove(&slot.number);
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

impl ConnectionSlot {
    /// Marks the caller as authenticated, by this token if it has one. Closes another connection if needed.
    ///
    /// # Errors
    /// [`NoFreeSlot`]: the connection stays unauthenticated.
    pub(crate) fn trust(&self, token: Option<TokenId>) -> Result<(), NoFreeSlot> {
        if let Some(token) = token {
            // Only the first token counts.
            let _ = self.token.set(token);
        }
        if self.is_trusted() {
            return Ok(());
        }
        let Some(slots) = self.slots.upgrade() else { return Ok(()) };
        let mut open = slots.open();
        // The connection may have been closed at the same time.
        let Some(slot) = open.unauthenticated.get(&self.number).cloned() else { return Ok(()) };
        if open.trusted.len() >= slots.most_trusted && !open.evict_trusted(Some(&slot)) {
            return Err(NoFreeSlot { most: slots.most_trusted });
        }
        open.unauthenticated.remove(&self.number);
        open.unauthenticated_gone(self.network);
        open.know(self.network);
        open.trusted.insert(self.number, slot);
        self.trusted.store(true, Ordering::Relaxed);
        Ok(())
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
    pub(crate) fn begin(self: &Arc<Self>) -> Option<Begun> {
        let before = self.begun.fetch_add(1, Ordering::Relaxed);
        let begun = Begun(Arc::clone(self));
        (before < UNAUTHENTICATED_CALLS || self.is_trusted()).then_some(begun)
    }

    fn is_busy(&self) -> bool {
        self.admitted.load(Ordering::Relaxed) > 0
    }

    /// How long the connection has had no call of any kind; `None` if a call has begun.
    fn quiet(&self) -> Option<Duration> {
        let since = self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.begun.load(Ordering::Relaxed) == 0).then(|| since.elapsed())
    }

    fn idle(&self) -> Duration {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Begun {
    /// Marks that the message of the call has arrived, and that the call is in progress.
    pub(crate) fn admit(self) -> Busy {
        self.0.admitted.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut since = self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        self.0.begun.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let slot = &self.0.0;
        *slot.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        slot.admitted.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OccupiedSlot {
    fn drop(&mut self) {
        if let Some(slots) = self.0.slots.upgrade() {
            slots.open().remove(&self.0);
        }
    }
}

#[cfg(test)]
mod tests;

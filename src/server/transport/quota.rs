//! Tracks the share of each caller of a limited resource, so that no caller takes all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::server::transport::tokens::TokenId;

/// Counts a limited resource, such as calls or bytes: the total, and the amount that each connection and each
/// caller holds. A caller is a token or, without tokens, a network.
#[derive(Debug, Clone)]
pub(crate) struct Quota(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shares: Shares,
    held: Mutex<Held>,
    /// A caller has released a part of the resource.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_holder: HashMap<Holder, usize>,
}

/// The total of a resource, and how callers share it: each caller gets at most five eighths of what the others
/// leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) total: usize,
    /// The most that one connection gets.
    pub(crate) connection: usize,
}

/// The network of a peer: its IPv4 address, or the network of its IPv6 address, because one machine often has
/// all addresses of it. `None` for a unix socket.
pub(crate) type Network = Option<IpAddr>;

/// The caller of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Who {
    /// The number of the connection.
    pub(crate) connection: u64,
    pub(crate) network: Network,
    /// The token of the call; `None` if no token is needed.
    pub(crate) token: Option<TokenId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Connection(u64),
    Caller(Caller),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    Network(Network),
    Token(TokenId),
}

/// The amount that a caller holds; released when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    quota: Quota,
    who: Who,
    amount: usize,
}

/// The resource is exhausted for this caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// The holder whose share is used up, for a message: `all callers together`.
    pub(crate) whose: &'static str,
    /// The share at this moment.
    pub(crate) most: usize,
}

impl Shares {
    /// Half of the total, rounded up, for one connection.
    pub(crate) fn of(total: usize) -> Self {
        Self { total, connection: total.div_ceil(2) }
    }
}

/// The maximum amount that a caller can hold if the other callers leave this amount. A caller that holds nothing
/// can also take any free amount.
///
/// A fixed share per caller does not work: a few callers with full shares leave nothing for the next caller. If the
/// total is at least 12, five eighths are more than the limit of one connection, so the caller's other connections
/// continue to work. One hostile caller leaves 15 of 64 calls for an agent.
fn most_of(left: usize) -> usize {
    left / 8 * 5 + left % 8 * 5 / 8
}

impl Quota {
    pub(crate) fn new(shares: Shares) -> Self {
        Self(Arc::new(Inner { shares, held: Mutex::default(), freed: Notify::new() }))
    }

    /// Creates an empty hold; see [`Hold::add`].
    pub(crate) fn open(&self, who: Who) -> Hold {
        Hold { quota: self.clone(), who, amount: 0 }
    }

    /// Takes an amount.
    ///
    /// # Errors
    /// [`Full`]
    pub(crate) fn take(&self, who: Who, amount: usize) -> Result<Hold, Full> {
        let mut hold = self.open(who);
        hold.add(amount)?;
        Ok(hold)
    }

    /// Adds an amount to a hold, as soon as it is available for the holder.
    pub(crate) async fn wait(&self, hold: &Mutex<Hold>, amount: usize) {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            // Any release from now on wakes this task.
            freed.as_mut().enable();
            if hold.lock().unwrap_or_else(PoisonError::into_inner).add(amount).is_ok() {
                return;
            }
            freed.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn total(&self) -> usize {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Adds an amount.
    ///
    /// # Errors
    /// [`Full`]: nothing was added.
    pub(crate) fn add(&mut self, amount: usize) -> Result<(), Full> {
        if amount == 0 {
            return Ok(());
        }
        let shares = self.quota.0.shares;
        let mut held = self.quota.held();
        if held.total + amount > shares.total {
            return Err(Full { whose: "all callers together", most: shares.total });
        }
        if held.by(self.who.connection()) + amount > shares.connection {
            return Err(Full { whose: "this connection", most: shares.connection });
        }
        let caller = self.who.caller();
        let own = held.by(Holder::Caller(caller));
        let most = most_of(shares.total - (held.total - own));
        if own > 0 && own + amount > most {
            return Err(Full { whose: caller.name(), most: most.max(own) });
        }
        held.total += amount;
        for holder in self.who.holders() {
            *held.by_holder.entry(holder).or_default() += amount;
        }
        drop(held);
        self.amount += amount;
        Ok(())
    }

    pub(crate) fn amount(&self) -> usize {
        self.amount
    }

    /// Sets the amount, higher or lower than before.
    ///
    /// # Errors
    /// [`Full`]: nothing was added.
    pub(crate) fn set(&mut self, amount: usize) -> Result<(), Full> {
        if amount >= self.amount {
            return self.add(amount - self.amount);
        }
        self.remove(self.amount - amount);
        Ok(())
    }

    fn remove(&mut self, amount: usize) {
        // Most calls hold nothing, and must not wake all callers that wait.
        if amount == 0 {
            return;
        }
        self.amount -= amount;
        let mut held = self.quota.held();
        held.total -= amount;
        for holder in self.who.holders() {
            if let Some(of_holder) = held.by_holder.get_mut(&holder) {
                *of_holder -= amount;
                if *of_holder == 0 {
                    held.by_holder.remove(&holder);
                }
            }
        }
        drop(held);
        self.quota.0.freed.notify_waiters();
    }
}

impl Held {
    fn by(&self, holder: Holder) -> usize {
        self.by_holder.get(&holder).copied().unwrap_or_default()
    }
}

impl Who {
    fn connection(&self) -> Holder {
        Holder::Connection(self.connection)
    }

    fn caller(&self) -> Caller {
        self.token.map_or(Caller::Network(self.network), Caller::Token)
    }

    fn holders(&self) -> [Holder; 2] {
        [self.connection(), Holder::Caller(self.caller())]
    }
}

impl Caller {
    fn name(self) -> &'static str {
        match self {
            Self::Network(_) => "the address of this connection",
            Self::Token(_) => "callers with this token",
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.remove(self.amount);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn who(connection: u64, address: &str) -> Who {
        Who { connection, network: Some(address.parse().unwrap()), token: None }
    }

    fn whose(taken: Result<Hold, Full>) -> &'static str {
        taken.unwrap_err().whose
    }

    #[test]
    fn no_connection_or_address_gets_the_total() {
        let quota = Quota::new(Shares::of(8));
        let take = |connection, address| quota.take(who(connection, address), 1);
        let mut held: Vec<_> = (0..4).map(|_| take(1, "10.0.0.1").unwrap()).collect();
        assert_eq!(whose(take(1, "10.0.0.1")), "this connection");
        held.push(take(2, "10.0.0.1").unwrap());
        assert_eq!(whose(take(3, "10.0.0.1")), "the address of this connection");
        held.push(take(4, "10.0.0.2").unwrap());
        assert_eq!(whose(take(4, "10.0.0.2")), "the address of this connection");
        held.push(take(5, "10.0.0.3").unwrap());
        held.push(take(6, "10.0.0.4").unwrap());
        assert_eq!(whose(take(9, "10.0.0.5")), "all callers together");
        held.clear();
        assert!(quota.take(who(1, "10.0.0.1"), 4).is_ok());
        assert!(quota.held().by_holder.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_caller_gets_what_another_one_releases() {
        let quota = Quota::new(Shares::of(8));
        let first = quota.take(who(1, "10.0.0.1"), 4).unwrap();
        let second = Mutex::new(quota.open(who(2, "10.0.0.2")));
        quota.wait(&second, 2).await;
        let mut waiting = pin!(quota.wait(&second, 3));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(first);
        // One connection gets at most half of the total.
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(quota.held().total, 2);
        let third = quota.take(who(3, "10.0.0.3"), 1).unwrap();
        let mut waiting = pin!(quota.wait(&second, 2));
        waiting.as_mut().await;
        drop(third);
        assert_eq!(quota.held().total, 4);
    }

    #[test]
    fn an_amount_that_does_not_fit_changes_nothing() {
        let quota = Quota::new(Shares::of(8));
        let mut hold = quota.take(who(1, "::1"), 3).unwrap();
        assert!(hold.add(2).is_err());
        assert!(hold.add(1).is_ok());
        drop(hold);
        assert_eq!(quota.held().total, 0);
    }

    #[test]
    fn a_part_of_an_amount_can_be_released() {
        let quota = Quota::new(Shares::of(8));
        let mut hold = quota.take(who(1, "::1"), 4).unwrap();
        hold.set(1).unwrap();
        assert_eq!((quota.held().total, hold.amount), (1, 1));
        assert!(hold.set(5).is_err());
        hold.set(4).unwrap();
        assert_eq!((quota.held().total, hold.amount), (4, 4));
        drop(hold);
        assert!(quota.held().by_holder.is_empty());
    }

    /// Takes this much per call for callers with these tokens until no more is available. Each call comes from one
    /// of eight addresses, on a new connection.
    fn fill(quota: &Quota, tokens: u64, at_a_time: usize) -> Vec<Hold> {
        let mut connections = 0..;
        let mut held = Vec::new();
        loop {
            let before = held.len();
            for token in 0..tokens {
                held.extend(connections.by_ref().take(at_a_time).filter_map(|connection| {
                    let network = Some([10, 0, 0, u8::try_from(connection % 8).unwrap()].into());
                    let token = Some(TokenId::of(token));
                    quota.take(Who { connection, network, token }, 1).ok()
                }));
            }
            if held.len() == before {
                return held;
            }
        }
    }

    #[test]
    fn a_new_token_gets_a_slot_while_other_tokens_take_all_available_slots() {
        for total in 2..=64_usize {
            // Each takes most of what the previous one leaves.
            let hostile = u64::from(total.ilog2().saturating_sub(1).max(1));
            // One after the other, and in turn.
            for at_a_time in [total, 1] {
                let quota = Quota::new(Shares::of(total));
                let _held = fill(&quota, hostile, at_a_time);
                for last in [0, 200] {
                    let other = Who {
                        connection: 1_000_000,
                        network: Some([10, 0, 0, last].into()),
                        token: Some(TokenId::of(99)),
                    };
                    assert!(quota.take(other, 1).is_ok(), "{total}, {hostile} hostile, {at_a_time}, {last}");
                }
            }
        }
    }

    #[test]
    fn a_new_address_gets_a_slot_while_other_addresses_take_all_available_slots() {
        let quota = Quota::new(Shares::of(64));
        let mut held = Vec::new();
        let counts = (0..5_u64).map(|address| {
            let before = held.len();
            held.extend((0..64).map_while(|number| {
                quota.take(who(address * 100 + number, &format!("10.0.0.{address}")), 1).ok()
            }));
            held.len() - before
        });
        assert_eq!(counts.collect::<Vec<_>>(), [40, 15, 5, 2, 1]);
        assert!(quota.take(who(1000, "10.0.0.9"), 1).is_ok());
    }

    #[test]
    fn a_caller_that_is_alone_gets_most_of_the_total() {
        for (total, most) in [(1, 1), (2, 1), (3, 1), (4, 2), (8, 5), (64, 40)] {
            assert_eq!(fill(&Quota::new(Shares::of(total)), 1, total).len(), most, "of {total}");
        }
        assert_eq!(Shares::of(1), Shares { total: 1, connection: 1 });
        assert_eq!(Shares::of(64), Shares { total: 64, connection: 32 });
    }

    #[test]
    fn an_agent_gets_15_of_64_calls_beside_one_hostile_caller() {
        let quota = Quota::new(Shares::of(64));
        let _hostile = fill(&quota, 1, 64);
        let agent = |connection| Who { connection, network: None, token: Some(TokenId::of(99)) };
        let calls: Vec<_> =
            (1000..1064).map_while(|connection| quota.take(agent(connection), 1).ok()).collect();
        assert_eq!(calls.len(), 15);
    }
}

//! Tracks the share of each caller of a limited resource, so that no caller takes all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::server::transport::tokens::TokenId;

/// Counts a limited resource, such as calls or bytes: the total, and the amount that each connection, address
/// and token holds.
#[derive(Debug, Clone)]
pub(crate) struct Ledger(Arc<Inner>);

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

/// The total of a resource, and the most that one holder gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) total: usize,
    pub(crate) connection: usize,
    pub(crate) address: usize,
    pub(crate) token: usize,
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
    Network(Network),
    Token(TokenId),
}

/// The amount that a caller holds; released when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    who: Who,
    amount: usize,
}

/// The resource is exhausted for this caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// The holder whose share is used up, for a message: `all callers together`.
    pub(crate) whose: &'static str,
    /// The share.
    pub(crate) most: usize,
}

impl Shares {
    /// Half of the total for one connection, three quarters for one address and seven eighths for one token,
    /// rounded up.
    pub(crate) fn of(total: usize) -> Self {
        Self {
            total,
            connection: total.div_ceil(2),
            address: (total - total / 4).max(1),
            token: (total - total / 8).max(1),
        }
    }
}

impl Ledger {
    pub(crate) fn new(shares: Shares) -> Self {
        Self(Arc::new(Inner { shares, held: Mutex::default(), freed: Notify::new() }))
    }

    /// Creates an empty hold; see [`Hold::add`].
    pub(crate) fn open(&self, who: Who) -> Hold {
        Hold { ledger: self.clone(), who, amount: 0 }
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
        let Shares { total, .. } = self.ledger.0.shares;
        let mut held = self.ledger.held();
        if held.total + amount > total {
            return Err(Full { whose: "all callers together", most: total });
        }
        for (holder, most, whose) in self.holders() {
            if held.by_holder.get(&holder).copied().unwrap_or_default() + amount > most {
                return Err(Full { whose, most });
            }
        }
        held.total += amount;
        for (holder, ..) in self.holders() {
            *held.by_holder.entry(holder).or_default() += amount;
        }
        drop(held);
        self.amount += amount;
        Ok(())
    }

    fn holders(&self) -> impl Iterator<Item = (Holder, usize, &'static str)> + use<> {
        let Shares { connection, address, token, .. } = self.ledger.0.shares;
        let Who { connection: number, network, token: shown } = self.who;
        let fixed = [
            (Holder::Connection(number), connection, "this connection"),
            (Holder::Network(network), address, "the address of this connection"),
        ];
        let shown = shown.map(|shown| (Holder::Token(shown), token, "callers with this token"));
        fixed.into_iter().chain(shown)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.ledger.held();
        held.total -= self.amount;
        for (holder, ..) in self.holders() {
            if let Some(amount) = held.by_holder.get_mut(&holder) {
                *amount -= self.amount;
                if *amount == 0 {
                    held.by_holder.remove(&holder);
                }
            }
        }
        drop(held);
        self.ledger.0.freed.notify_waiters();
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
        let ledger = Ledger::new(Shares::of(8));
        let take = |connection, address| ledger.take(who(connection, address), 1);
        let mut held: Vec<_> = (0..4).map(|_| take(1, "10.0.0.1").unwrap()).collect();
        assert_eq!(whose(take(1, "10.0.0.1")), "this connection");
        held.extend((0..2).map(|_| take(2, "10.0.0.1").unwrap()));
        assert_eq!(whose(take(3, "10.0.0.1")), "the address of this connection");
        held.extend((0..2).map(|number| take(4 + number, "10.0.0.2").unwrap()));
        assert_eq!(whose(take(9, "10.0.0.3")), "all callers together");
        held.clear();
        assert!(ledger.take(who(1, "10.0.0.1"), 4).is_ok());
        assert!(ledger.held().by_holder.is_empty());
    }

    #[tokio::test]
    async fn a_waiting_caller_gets_what_another_one_releases() {
        let ledger = Ledger::new(Shares::of(8));
        let first = ledger.take(who(1, "10.0.0.1"), 4).unwrap();
        let second = Mutex::new(ledger.open(who(2, "10.0.0.2")));
        ledger.wait(&second, 2).await;
        let mut waiting = pin!(ledger.wait(&second, 3));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(first);
        // One connection gets at most half of the total.
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(ledger.held().total, 2);
        let third = ledger.take(who(3, "10.0.0.3"), 4).unwrap();
        let mut waiting = pin!(ledger.wait(&second, 2));
        waiting.as_mut().await;
        drop(third);
        assert_eq!(ledger.held().total, 4);
    }

    #[test]
    fn an_amount_that_does_not_fit_changes_nothing() {
        let ledger = Ledger::new(Shares::of(8));
        let mut hold = ledger.take(who(1, "::1"), 3).unwrap();
        assert!(hold.add(2).is_err());
        assert!(hold.add(1).is_ok());
        drop(hold);
        assert_eq!(ledger.held().total, 0);
    }

    #[test]
    fn shares_of_small_totals_are_never_zero() {
        assert_eq!(Shares::of(1), Shares { total: 1, connection: 1, address: 1, token: 1 });
        assert_eq!(Shares::of(2), Shares { total: 2, connection: 1, address: 2, token: 2 });
        assert_eq!(Shares::of(64), Shares { total: 64, connection: 32, address: 48, token: 56 });
    }
}

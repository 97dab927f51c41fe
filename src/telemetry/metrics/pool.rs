//! The state of the connection pool, asked for when somebody reads the metrics.

use std::sync::{PoisonError, RwLock};

/// Asks the pool, where there is one.
static POOL: RwLock<Option<PoolWatch>> = RwLock::new(None);

type PoolWatch = Box<dyn Fn() -> PoolState + Send + Sync>;

/// How many connections a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolState {
    /// Open, and free to be used.
    pub idle: u32,
    /// Open, and lent to a call.
    pub in_use: u32,
    /// As many as there may be.
    pub most: u32,
}

/// Has the pool asked for its state whenever somebody reads the metrics. A later pool takes the place of
/// an earlier one.
pub(crate) fn watch_pool(state: impl Fn() -> PoolState + Send + Sync + 'static) {
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(state));
}

/// The state of the pool; nothing where there is none.
pub(crate) fn pool_state() -> Option<PoolState> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|state| state())
}

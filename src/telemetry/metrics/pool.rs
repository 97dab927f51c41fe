//! The state of the connection pool, read when the metrics are read.

use std::sync::{PoisonError, RwLock};

/// Returns the state of the pool; `None` if there is no pool.
static POOL: RwLock<Option<PoolWatch>> = RwLock::new(None);

type PoolWatch = Box<dyn Fn() -> Option<PoolState> + Send + Sync>;

/// The number of connections of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolState {
    /// Open and idle.
    pub idle: u32,
    /// Open and in use by a call.
    pub in_use: u32,
    /// The most connections.
    pub most: u32,
}

/// Registers the function that returns the state of the pool when the metrics are read; `None` when the pool has been
/// dropped. A later pool replaces an earlier one.
pub(crate) fn watch_pool(state: impl Fn() -> Option<PoolState> + Send + Sync + 'static) {
    *POOL.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(state));
}

/// The state of the pool; `None` if there is no pool.
pub(crate) fn pool_state() -> Option<PoolState> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(|state| state())
}

//! The connection pool that all calls share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bb8::{ManageConnection, PooledConnection, RunError};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument;

use crate::postgres::error::PostgresError;
use crate::postgres::opener::Opener;
use crate::postgres::session::Session;
use crate::telemetry::metrics::{self, PoolState};
use crate::telemetry::watch;

/// Timeouts of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Timeouts {
    /// Timeout for opening a session, unless the connection string has a `connect_timeout`.
    #[serde(rename = "connect-timeout-seconds")]
    pub connect: Duration,
    /// Timeout for one statement.
    #[serde(rename = "statement-timeout-seconds")]
    pub statement: Duration,
    /// Timeout for waiting for a connection that others use.
    #[serde(rename = "pool-wait-seconds")]
    pub pool: Duration,
}

impl Timeouts {
    /// The defaults that `--help` documents.
    pub(crate) const DEFAULT: Self = Self {
        connect: Duration::from_secs(10),
        statement: Duration::from_secs(60),
        pool: Duration::from_secs(10),
    };
}

/// A bounded set of sessions.
pub(crate) struct Pool {
    inner: Arc<bb8::Pool<Manager>>,
    /// Limits concurrent changes. Changes wait for one another while they hold a connection. One connection
    /// is reserved for other calls, if there is more than one, so that they need not wait too.
    changes: Semaphore,
    wait: Duration,
    most: u32,
    target: String,
    /// Whether the server refused the password at the last attempt to open a session.
    login_refused: Arc<AtomicBool>,
}

/// An entry of the pool: a session, or the error of opening it.
///
/// bb8 keeps errors of connecting internal, and the caller only sees a timeout. An error returned like a
/// connection reaches the caller immediately and with its reason.
pub(crate) struct Slot {
    session: Result<Session, PostgresError>,
    made: Instant,
}

pub(crate) struct Manager {
    opener: Opener,
    login_refused: Arc<AtomicBool>,
}

impl ManageConnection for Manager {
    type Connection = Slot;
    type Error = std::convert::Infallible;

    async fn connect(&self) -> Result<Slot, Self::Error> {
        let session = self.opener.open().await;
        let refused = matches!(session, Err(PostgresError::LoginRefused { .. }));
        self.login_refused.store(refused, Ordering::Relaxed);
        Ok(Slot { session, made: Instant::now() })
    }

    async fn is_valid(&self, _: &mut Slot) -> Result<(), Self::Error> {
        Ok(())
    }

    fn has_broken(&self, slot: &mut Slot) -> bool {
        slot.session.as_ref().map_or(true, Session::is_spent)
    }
}

impl Pool {
    /// A pool that opens its first connection on the first call. `wait` is how long a call may wait for a
    /// connection that is busy or still being opened.
    pub(crate) fn new(opener: Opener, wait: Duration) -> Self {
        let settings = &opener.settings.pool;
        let (most, target) = (settings.max_connections, opener.settings.describe());
        let login_refused = Arc::<AtomicBool>::default();
        let inner = Arc::new(
            bb8::Pool::builder()
                .max_size(settings.max_connections)
                .min_idle((settings.min_connections > 0).then_some(settings.min_connections))
                .max_lifetime(Some(settings.max_lifetime + settings.max_lifetime_jitter))
                .idle_timeout(Some(settings.max_idle_time))
                .reaper_rate(settings.health_check_period)
                .connection_timeout(wait)
                .test_on_check_out(false)
                .build_unchecked(Manager { opener, login_refused: Arc::clone(&login_refused) }),
        );
        let watched = Arc::downgrade(&inner);
        metrics::watch_pool(move || {
            let state = watched.upgrade()?.state();
            let in_use = state.connections.saturating_sub(state.idle_connections);
            Some(PoolState { idle: state.idle_connections, in_use, most })
        });
        let changes = Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(1).max(1));
        Self { inner, changes, wait, most, target, login_refused }
    }

    /// Whether the server refused the password at the last attempt to open a session.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.login_refused.load(Ordering::Relaxed)
    }

    /// Acquires a permit for a change. The change must acquire it before it gets a session, and hold it until
    /// it ends.
    ///
    /// # Errors
    /// [`PostgresError::PoolExhausted`] if other changes hold all permits.
    pub(crate) async fn change_permit(&self) -> Result<SemaphorePermit<'_>, PostgresError> {
        match tokio::time::timeout(self.wait, self.changes.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed, so only a timeout is possible.
            Ok(Err(_)) | Err(_) => Err(PostgresError::PoolExhausted { limit: self.most, waited: self.wait }),
        }
    }

    /// Returns a session for exclusive use. Dropping it returns it to the pool.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] if no session can be opened, [`PostgresError::PoolExhausted`] if all stay
    /// busy.
    pub(crate) async fn get(&self) -> Result<Lease<'_>, PostgresError> {
        self.get_asked_at(Instant::now()).await
    }

    async fn get_asked_at(&self, asked: Instant) -> Result<Lease<'_>, PostgresError> {
        let watched = watch::pool_wait();
        self.wait_for_one(asked).instrument(watched.span()).await
    }

    async fn wait_for_one(&self, asked: Instant) -> Result<Lease<'_>, PostgresError> {
        loop {
            let mut slot = self.inner.get().await.map_err(|error| match error {
                RunError::TimedOut => self.too_long(),
                RunError::User(never) => match never {},
            })?;
            let fresh = slot.made >= asked;
            match &mut slot.session {
                Ok(session) if session.is_spent() && asked.elapsed() < self.wait => {}
                Ok(session) => {
                    session.begin_use();
                    return Ok(Lease { slot, fresh });
                }
                Err(error) if fresh => return Err(error.clone()),
                // The error may be from an earlier outage, so retry.
                Err(_) => {}
            }
        }
    }

    fn too_long(&self) -> PostgresError {
        if self.inner.state().connections >= self.most {
            return PostgresError::PoolExhausted { limit: self.most, waited: self.wait };
        }
        PostgresError::StillConnecting { target: self.target.clone(), waited: self.wait }
    }

    /// Returns a session opened after this call. Older sessions, which may have died with the old server, are
    /// discarded on the way.
    ///
    /// # Errors
    /// The same as for [`Pool::get`].
    pub(crate) async fn get_fresh(&self) -> Result<Lease<'_>, PostgresError> {
        let asked = Instant::now();
        loop {
            let lease = self.get_asked_at(asked).await?;
            if lease.fresh {
                return Ok(lease);
            }
            lease.session()?.retire();
        }
    }
}

/// A session that is checked out of the pool.
pub(crate) struct Lease<'a> {
    slot: PooledConnection<'a, Manager>,
    fresh: bool,
}

impl Lease<'_> {
    /// The session.
    ///
    /// # Errors
    /// Never for a lease from [`Pool::get`].
    pub(crate) fn session(&self) -> Result<&Session, PostgresError> {
        self.slot.session.as_ref().map_err(Clone::clone)
    }

    /// Whether the session was idle in the pool, where it may have died unnoticed.
    pub(crate) fn is_reused(&self) -> bool {
        !self.fresh
    }
}

//! The connections that all calls share.

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

/// How long the database may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Timeouts {
    /// To open a session, unless the connection string has a `connect_timeout`.
    #[serde(rename = "connect-timeout-seconds")]
    pub connect: Duration,
    /// To run one statement.
    #[serde(rename = "statement-timeout-seconds")]
    pub statement: Duration,
    /// To wait for a connection that others use.
    #[serde(rename = "pool-wait-seconds")]
    pub pool: Duration,
}

impl Timeouts {
    /// What `--help` says.
    pub(crate) const DEFAULT: Self = Self {
        connect: Duration::from_secs(10),
        statement: Duration::from_secs(60),
        pool: Duration::from_secs(10),
    };
}

/// A bounded set of sessions.
pub(crate) struct Pool {
    inner: bb8::Pool<Manager>,
    /// Changes wait for one another while they hold a connection; so that they do not keep everybody else
    /// waiting too, one connection is never theirs, where there is more than one.
    changes: Semaphore,
    wait: Duration,
    most: u32,
    target: String,
    /// Whether the server refused the password of the last session that was to be opened.
    login_refused: Arc<AtomicBool>,
}

/// What the pool holds: a session, or why there is none.
///
/// bb8 keeps a failed attempt to itself and lets the caller wait for a time-out; a failure that is
/// handed over like a connection reaches the caller at once, with its reason.
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
    /// A pool that opens its first connection when it is first asked for one; `wait` is how long a call
    /// may wait for a connection that is busy or still being opened.
    pub(crate) fn new(opener: Opener, wait: Duration) -> Self {
        let settings = &opener.settings.pool;
        let (most, target) = (settings.max_connections, opener.settings.describe());
        let login_refused = Arc::<AtomicBool>::default();
        let inner = bb8::Pool::builder()
            .max_size(settings.max_connections)
            .min_idle((settings.min_connections > 0).then_some(settings.min_connections))
            .max_lifetime(Some(settings.max_lifetime + settings.max_lifetime_jitter))
            .idle_timeout(Some(settings.max_idle_time))
            .reaper_rate(settings.health_check_period)
            .connection_timeout(wait)
            .test_on_check_out(false)
            .build_unchecked(Manager { opener, login_refused: Arc::clone(&login_refused) });
        let watched = inner.clone();
        metrics::watch_pool(move || {
            let state = watched.state();
            let in_use = state.connections.saturating_sub(state.idle_connections);
            PoolState { idle: state.idle_connections, in_use, most }
        });
        let changes = Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(1).max(1));
        Self { inner, changes, wait, most, target, login_refused }
    }

    /// Whether the server refused the password when a session was last to be opened.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.login_refused.load(Ordering::Relaxed)
    }

    /// A change has to have a place before it asks for a session, and to keep it until it ends.
    ///
    /// # Errors
    /// [`PostgresError::PoolExhausted`] when other changes keep all of them.
    pub(crate) async fn place_for_change(&self) -> Result<SemaphorePermit<'_>, PostgresError> {
        match tokio::time::timeout(self.wait, self.changes.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // It is never closed, so that only time can have run out.
            Ok(Err(_)) | Err(_) => Err(PostgresError::PoolExhausted { limit: self.most, waited: self.wait }),
        }
    }

    /// A session nobody else uses; it goes back to the pool when dropped.
    ///
    /// # Errors
    /// [`PostgresError::Connect`] when none can be opened, [`PostgresError::PoolExhausted`] when all stay busy.
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
                // Of an earlier outage, for all one knows.
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

    /// A session opened from now on: those that may have died with an old server are thrown away on the way
    /// to it.
    ///
    /// # Errors
    /// As [`Pool::get`].
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

/// A session on loan from the pool.
pub(crate) struct Lease<'a> {
    slot: PooledConnection<'a, Manager>,
    fresh: bool,
}

impl Lease<'_> {
    /// The session.
    ///
    /// # Errors
    /// Never for a lease that [`Pool::get`] gave out.
    pub(crate) fn session(&self) -> Result<&Session, PostgresError> {
        self.slot.session.as_ref().map_err(Clone::clone)
    }

    /// Whether the session has lain in the pool, where it may have died unseen.
    pub(crate) fn is_from_stock(&self) -> bool {
        !self.fresh
    }
}

//! One session with the server: its properties, its limits, and the cancellation of statements.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::postgres::identifier::literal;
use crate::postgres::reason::reason;

/// An open session.
pub(crate) struct Session {
    pub(super) client: Client,
    pub(super) tls: Option<MakeRustlsConnect>,
    pub(super) limits: Limits,
    pub(super) statement_timeout: Duration,
    pub(super) search_path: SearchPath,
    pub(super) version: i32,
    pub(super) expires: Instant,
    pub(super) used: bool,
    pub(super) broken: Arc<AtomicBool>,
}

/// The search_path that the role, the database or the connection string sets for a session.
///
/// Our statements run with [`PINNED`] instead. Otherwise, a role that may create objects in a schema of the
/// search_path could define an operator or a function that matches our arguments better than the one in
/// `pg_catalog`, and it would run with our privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// The value of the setting.
    pub(crate) setting: String,
    /// The existing, usable schemas in it, in order, without those that Postgres adds.
    pub(crate) schemas: Vec<String>,
}

/// The search_path for our statements. Only a superuser can create objects in `pg_catalog`, and operators and
/// functions are never looked up in `pg_temp`.
pub(crate) const PINNED: &str = "pg_catalog, pg_temp";

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// Writes are allowed.
    ReadWrite,
    /// The server rejects every write. Everything but a change runs like this (decision
    /// read-only-by-default).
    ReadOnly,
}

/// The scope of a session's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// This client alone uses the server session: it is read-only and keeps its statement timeout.
    OfSession,
    /// A pooler in between (PgBouncer, RDS Proxy) shares server sessions among clients. Each read therefore
    /// sets its own limits in a transaction and leaves nothing behind.
    OfTransaction {
        /// Timeout of a statement.
        statement_timeout: Duration,
    },
}

impl Session {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The original search_path of the session.
    pub(crate) fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// The server's version number as Postgres encodes it: 150004 for 15.4, 90624 for 9.6.24.
    pub(crate) fn version(&self) -> i32 {
        self.version
    }

    /// The statements that begin a transaction. They set the access mode and the search_path explicitly, so a
    /// function that changes the session's defaults does not affect the next transaction. Behind a pooler
    /// they also set the statement timeout.
    pub(crate) fn begin(&self, access: AccessMode) -> String {
        self.begin_as(match access {
            AccessMode::ReadWrite => "READ COMMITTED READ WRITE",
            AccessMode::ReadOnly => "READ COMMITTED READ ONLY",
        })
    }

    /// Like [`Session::begin`], for a read-only transaction whose statements all see the database at one
    /// moment.
    pub(crate) fn begin_consistent(&self) -> String {
        self.begin_as("REPEATABLE READ READ ONLY")
    }

    fn begin_as(&self, mode: &str) -> String {
        let mut begin = format!("BEGIN ISOLATION LEVEL {mode}; SET LOCAL search_path = {PINNED}");
        if let Limits::OfTransaction { statement_timeout } = self.limits {
            let limit = statement_timeout.as_millis().max(1);
            begin.push_str(&format!("; SET LOCAL statement_timeout = {limit}"));
        }
        begin
    }

    /// The statement that sets the search_path for the triggers of written tables: the original path with
    /// `pg_catalog` in front. It applies until the end of the transaction or [`PIN`].
    pub(crate) fn search_path_of_triggers(&self) -> String {
        let path = match self.search_path.setting.as_str() {
            "" => PINNED.to_owned(),
            setting => format!("pg_catalog, {setting}, pg_temp"),
        };
        format!("SELECT pg_catalog.set_config('search_path', {}, true)", literal(&path))
    }

    /// How long to wait for the result of a statement: longer than a server needs to cancel it on timeout and
    /// report that. A server that is silent for longer is frozen or unreachable.
    pub(crate) fn max_wait(&self) -> Duration {
        self.statement_timeout.saturating_add(GRACE)
    }

    /// Whether the session is lost, or was abandoned during a statement.
    pub(crate) fn is_lost(&self) -> bool {
        self.broken.load(Ordering::Relaxed) || self.client.is_closed()
    }

    /// Whether the session must not be used again: lost, or too old.
    pub(crate) fn is_spent(&self) -> bool {
        // A session serves at least once, even with a very short lifetime.
        self.is_lost() || (self.used && Instant::now() >= self.expires)
    }

    /// Marks the session as used.
    pub(crate) fn begin_use(&mut self) {
        self.used = true;
    }

    /// Prevents further use of the session.
    pub(crate) fn retire(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Guards a statement. If it is dropped before [`Running::finished`], it cancels the statement on the
    /// server and prevents further use of the session.
    pub(crate) fn running(&self) -> Running {
        Running {
            cancel: Some((self.client.cancel_token(), self.tls.clone())),
            broken: Arc::clone(&self.broken),
        }
    }
}

/// Reverts [`Session::search_path_of_triggers`].
pub(crate) const PIN: &str = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)";

/// Extra time for an answer beyond the statement's own timeout.
const GRACE: Duration = Duration::from_secs(5);

/// Timeout of a cancel request; a frozen server would block it forever.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// See [`Session::running`].
pub(crate) struct Running {
    cancel: Option<(CancelToken, Option<MakeRustlsConnect>)>,
    broken: Arc<AtomicBool>,
}

impl Running {
    pub(crate) fn finished(mut self) {
        self.cancel = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some((token, tls)) = self.cancel.take() else { return };
        self.broken.store(true, Ordering::Relaxed);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let cancel = async {
                match tls {
                    Some(tls) => token.cancel_query(tls).await,
                    None => token.cancel_query(NoTls).await,
                }
            };
            match timeout(CANCEL_LIMIT, cancel).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(error = %reason(&error), "could not cancel a statement"),
                Err(_) => tracing::debug!("could not cancel a statement: no answer"),
            }
        });
    }
}

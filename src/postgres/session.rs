//! One session with the server: what is known of it, its limits, and statements that are cancelled.

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

/// The search_path that the role, the database or the connection string gives a session.
///
/// Statements of ours run with [`PINNED`] instead: a role that may create in a schema of the search_path could
/// otherwise define an operator or a function that fits our arguments better than that of `pg_catalog`, and have
/// it run with our privileges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SearchPath {
    /// As the setting has it.
    pub(crate) setting: String,
    /// The schemas among them that are there and may be used, in their order, without those that Postgres adds.
    pub(crate) schemas: Vec<String>,
}

/// Where statements look names up: nobody but a superuser can create anything in `pg_catalog`, and in `pg_temp`
/// neither operators nor functions are looked up.
pub(crate) const PINNED: &str = "pg_catalog, pg_temp";

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessMode {
    /// It may.
    ReadWrite,
    /// The server refuses every write.
    ReadOnly,
}

/// Where the limits of a session live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// The server session is ours alone: it is read-only and has its statement timeout for good.
    OfSession,
    /// A pooler stands between (PgBouncer, RDS Proxy) and shares server sessions among clients, so
    /// each read sets its own limits in a transaction and leaves nothing behind.
    OfTransaction {
        /// Longest time that a statement may run.
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

    /// The search_path that the session was given.
    pub(crate) fn search_path(&self) -> &SearchPath {
        &self.search_path
    }

    /// The release of the server as Postgres numbers it: 150004 for 15.4, 90624 for 9.6.24.
    pub(crate) fn version(&self) -> i32 {
        self.version
    }

    /// What begins a transaction. The mode is its own: a function that changes the session's default does not
    /// make the next transaction write. The same holds for the search_path. Behind a pooler it brings the
    /// statement timeout too.
    pub(crate) fn begin(&self, access: AccessMode) -> String {
        self.begin_as(match access {
            AccessMode::ReadWrite => "READ COMMITTED READ WRITE",
            AccessMode::ReadOnly => "READ COMMITTED READ ONLY",
        })
    }

    /// As [`Session::begin`], for a read-only transaction all statements of which see the database at one moment.
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

    /// What gives the triggers of the tables that are written the search_path that they were made for, with
    /// `pg_catalog` in front, until the end of the transaction or [`PIN`].
    pub(crate) fn search_path_of_triggers(&self) -> String {
        let path = match self.search_path.setting.as_str() {
            "" => PINNED.to_owned(),
            setting => format!("pg_catalog, {setting}, pg_temp"),
        };
        format!("SELECT pg_catalog.set_config('search_path', {}, true)", literal(&path))
    }

    /// How long to wait for the answer to a statement: longer than a server needs to stop it by itself
    /// and say so. One that says nothing by then is frozen or cut off.
    pub(crate) fn patience(&self) -> Duration {
        self.statement_timeout.saturating_add(GRACE)
    }

    /// Whether the session can no longer be trusted: lost, abandoned in mid-statement, or too old.
    pub(crate) fn is_spent(&self) -> bool {
        // A session serves once at least, however short a life the settings give it.
        let too_old = self.used && Instant::now() >= self.expires;
        self.broken.load(Ordering::Relaxed) || self.client.is_closed() || too_old
    }

    /// Marks the session as used.
    pub(crate) fn begin_use(&mut self) {
        self.used = true;
    }

    /// Keeps the session from serving anybody else.
    pub(crate) fn retire(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Watches over a statement: dropped before [`Running::finished`], it asks the server to stop the
    /// statement and keeps the session from being used again.
    pub(crate) fn running(&self) -> Running {
        Running {
            cancel: Some((self.client.cancel_token(), self.tls.clone())),
            broken: Arc::clone(&self.broken),
        }
    }
}

/// Ends what [`Session::search_path_of_triggers`] began.
pub(crate) const PIN: &str = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)";

/// What an answer may take on top of the statement's own limit.
const GRACE: Duration = Duration::from_secs(5);

/// How long a request to cancel may take; a frozen server would hold it for ever.
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

//! Transactions.
//!
//! A transaction is READ COMMITTED regardless of the role's default: it takes its advisory locks first, so
//! that each later statement sees the changes of the previous lock holder. If a transaction is dropped before
//! its end, its session is closed, and the server rolls it back.

use tokio::sync::SemaphorePermit;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::postgres::error::PostgresError;
use crate::postgres::pool::{Lease, Pool};
use crate::postgres::reason::reason;
use crate::postgres::session::{AccessMode, PIN};
use crate::postgres::statement::{FromRow, Parameter, guarded, roll_back};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its changes are committed.
    Commit,
    /// Its changes are rolled back.
    Rollback,
}

/// When the deferred triggers and constraints of a write run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// At a later write, or at the commit.
    Later,
    /// Immediately after the write, so that the next statement sees what they did. Nothing is deferred in the
    /// rest of the transaction.
    AtOnce,
}

impl Deferred {
    /// The statements that follow the write.
    fn then(self) -> String {
        match self {
            Self::Later => PIN.to_owned(),
            Self::AtOnce => format!("SET CONSTRAINTS ALL IMMEDIATE; {PIN}"),
        }
    }
}

/// A transaction in progress.
pub(crate) struct Transaction<'a> {
    lease: Lease<'a>,
    open: bool,
    _permit: SemaphorePermit<'a>,
}

const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

/// Timeouts of the transaction. The first limits how long the server waits for our next statement before it
/// rolls back, because this process may be frozen or unreachable while others wait for the locks. The second
/// limits how long we wait for a lock, because a waiting change holds a connection. Stricter limits of the
/// role are kept.
const LIMITS: &str = r#"
SELECT set_config(name, most || 's', true)
FROM (VALUES ('idle_in_transaction_session_timeout', 30), ('lock_timeout', 5)) AS limits (name, most)
WHERE extract(epoch FROM current_setting(name)::interval) NOT BETWEEN 0.001 AND most
"#;

impl<'a> Transaction<'a> {
    /// Begins a transaction on a session of the pool. A session that is dead, or connected to a standby, is
    /// replaced by a new one.
    ///
    /// # Errors
    /// [`PostgresError::ReadOnly`] on a server that accepts no writes, and any cause that prevents the
    /// statement.
    pub(crate) async fn begin(pool: &'a Pool, access: AccessMode) -> Result<Self, PostgresError> {
        let permit = pool.change_permit().await?;
        let mut lease = pool.get().await?;
        match start(&lease, access).await {
            // After a failover, a pooled connection can lead to a server that is now a standby.
            Err(error)
                if (error.is_lost_session() || matches!(error, PostgresError::ReadOnly { .. }))
                    && lease.is_reused() =>
            {
                drop(lease);
                lease = pool.get_fresh().await?;
                start(&lease, access).await?;
            }
            started => started?,
        }
        Ok(Self { lease, open: true, _permit: permit })
    }

    /// Like [`Transaction::begin`], on a session that is opened now.
    ///
    /// # Errors
    /// The same as for [`Transaction::begin`].
    pub(crate) async fn begin_on_new_session(
        pool: &'a Pool,
        access: AccessMode,
    ) -> Result<Self, PostgresError> {
        let permit = pool.change_permit().await?;
        let lease = pool.get_fresh().await?;
        start(&lease, access).await?;
        Ok(Self { lease, open: true, _permit: permit })
    }

    /// Whether its session was idle in the pool, so that it can lead to a server that is now a standby.
    pub(crate) fn is_reused(&self) -> bool {
        self.lease.is_reused()
    }

    /// Waits until no other transaction holds the advisory lock with this number, and holds it until the end.
    ///
    /// # Errors
    /// [`PostgresError::Locked`] if another transaction holds it for too long, and the errors of any
    /// statement.
    pub(crate) async fn lock(&self, number: i64) -> Result<(), PostgresError> {
        let parameters: [Parameter<'_>; 1] = [(&number, Type::INT8)];
        self.read("transaction.lock", LOCK, &parameters, |_| Ok(())).await.map(|_| ())
    }

    /// Runs a statement and converts its rows to `T`. `name` is its name in metrics and traces.
    ///
    /// # Errors
    /// See [`PostgresError::of_write`].
    pub(crate) async fn read<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, PostgresError> {
        let session = self.lease.session()?;
        let run = async {
            let rows = session.client().query_typed(statement, parameters).await;
            let rows = rows.and_then(|rows| rows.iter().map(from_row).collect());
            rows.map_err(|error| PostgresError::of_write(&error))
        };
        guarded(&self.lease, name, run).await
    }

    /// Runs a statement that writes and converts its rows to `T`, in one round trip. The table's triggers run
    /// with the session's original search_path, so the statement must qualify its names.
    ///
    /// # Errors
    /// See [`PostgresError::of_write`].
    pub(crate) async fn write<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        deferred: Deferred,
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, PostgresError> {
        let session = self.lease.session()?;
        let client = session.client();
        let run = async {
            let (open, then) = (session.search_path_of_triggers(), deferred.then());
            let (opened, rows, pinned) = tokio::join!(
                client.batch_execute(&open),
                client.query_typed(statement, parameters),
                client.batch_execute(&then)
            );
            // If one of the statements fails, the later ones fail because of it, so the first error is
            // returned.
            let rows = opened.and(rows).and_then(|rows| pinned.map(|()| rows));
            let rows = rows.and_then(|rows| rows.iter().map(from_row).collect());
            rows.map_err(|error| PostgresError::of_write(&error))
        };
        guarded(&self.lease, name, run).await
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// The errors of the commit or rollback. [`PostgresError::Uncertain`] if the session is lost or the
    /// server is silent during a commit: it is unknown whether the commit took effect. Any other error of a
    /// commit means that the server has rolled back.
    pub(crate) async fn end(mut self, end: End) -> Result<(), PostgresError> {
        if end == End::Rollback {
            // On a lost session, this does not wait for an answer: the server rolls back when the session ends.
            roll_back(&self.lease).await?;
            self.open = false;
            return Ok(());
        }
        let session = self.lease.session()?;
        // Triggers that defer others run those at the commit.
        let statement = format!("{}; COMMIT", session.search_path_of_triggers());
        let ended = async {
            session.client().batch_execute(&statement).await.map_err(|error| PostgresError::of_commit(&error))
        };
        let ended = guarded(&self.lease, "transaction.end", ended).await;
        self.open = match &ended {
            Ok(()) => false,
            Err(PostgresError::Uncertain { .. } | PostgresError::Silent { .. }) => true,
            // The server refused the commit. After a rollback, the session can be used again.
            Err(_) => roll_back(&self.lease).await.is_err(),
        };
        match ended {
            Err(error @ PostgresError::Silent { .. }) => {
                Err(PostgresError::Uncertain { reason: error.to_string().into() })
            }
            ended => ended,
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(session) = self.lease.session()
        {
            session.retire();
        }
    }
}

/// Begins a transaction on a session, with timeouts that keep it from blocking others.
///
/// # Errors
/// [`PostgresError::ReadOnly`], and the errors of beginning a transaction.
async fn start(lease: &Lease<'_>, access: AccessMode) -> Result<(), PostgresError> {
    let session = lease.session()?;
    let begin = format!("{}; {LIMITS}", session.begin(access));
    let begun = async {
        session.client().batch_execute(&begin).await.map_err(|error| match error.code() {
            // A standby rejects a read-write transaction with this code.
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => PostgresError::ReadOnly { reason: reason(&error) },
            _ => PostgresError::of_write(&error),
        })
    };
    let begun = guarded(lease, "transaction.begin", begun).await;
    if begun.is_err() {
        // The first of the statements may have taken effect.
        session.retire();
    }
    begun
}

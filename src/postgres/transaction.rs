//! Transactions: all of it, or nothing.
//!
//! A transaction is READ COMMITTED, whatever the role's default is: it takes its advisory locks first, so that each
//! statement behind them sees what the previous holder has left. One that is dropped before its end takes its session
//! along, and the server undoes it.

use tokio::sync::SemaphorePermit;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use crate::postgres::error::PostgresError;
use crate::postgres::pool::{Lease, Pool};
use crate::postgres::reason::reason;
use crate::postgres::session::{AccessMode, PIN};
use crate::postgres::statement::{FromRow, Parameter, guarded};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What it did lasts.
    Commit,
    /// What it did is undone.
    Rollback,
}

/// A transaction under way.
pub(crate) struct Transaction<'a> {
    lease: Lease<'a>,
    open: bool,
    _place: SemaphorePermit<'a>,
}

const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

/// How long a server waits for our next statement before it undoes the transaction: we may have been frozen or cut
/// off, and others wait for the locks. And how long we wait for somebody else's lock: a change that waits holds a
/// connection. Stricter limits of the role's own stand.
const LIMITS: &str = r#"
SELECT set_config(name, most || 's', true)
FROM (VALUES ('idle_in_transaction_session_timeout', 30), ('lock_timeout', 5)) AS limits (name, most)
WHERE extract(epoch FROM current_setting(name)::interval) NOT BETWEEN 0.001 AND most
"#;

impl<'a> Transaction<'a> {
    /// Begins a transaction on a session of the pool. A session that turns out to be dead, or to lead to a standby, is
    /// replaced by a fresh one.
    ///
    /// # Errors
    /// [`PostgresError::ReadOnly`] on a server that takes no writes, and whatever keeps the server from being asked.
    pub(crate) async fn begin(pool: &'a Pool, access: AccessMode) -> Result<Self, PostgresError> {
        let place = pool.place_for_change().await?;
        let mut lease = pool.get().await?;
        match start(&lease, access).await {
            // After a failover, a connection of the pool can lead to the server that is the standby now.
            Err(error)
                if (error.is_lost_session() || matches!(error, PostgresError::ReadOnly { .. }))
                    && lease.is_from_stock() =>
            {
                drop(lease);
                lease = pool.get_fresh().await?;
                start(&lease, access).await?;
            }
            started => started?,
        }
        Ok(Self { lease, open: true, _place: place })
    }

    /// Waits until no other transaction holds the advisory lock of this number, and holds it to the end.
    ///
    /// # Errors
    /// [`PostgresError::Locked`] when another holds it for too long, and those of any statement.
    pub(crate) async fn lock(&self, number: i64) -> Result<(), PostgresError> {
        let parameters: [Parameter<'_>; 1] = [(&number, Type::INT8)];
        self.read("transaction.lock", LOCK, &parameters, |_| Ok(())).await.map(|_| ())
    }

    /// Runs a statement and turns its rows into `T`. `name` is what metrics and traces call it.
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

    /// Runs a statement that writes and turns its rows into `T`, in one round trip. The triggers of the table run
    /// with the search_path that the session was given; the statement itself has to qualify its names.
    ///
    /// # Errors
    /// See [`PostgresError::of_write`].
    pub(crate) async fn write<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, PostgresError> {
        let session = self.lease.session()?;
        let client = session.client();
        let run = async {
            let open = session.search_path_of_triggers();
            let (opened, rows, pinned) = tokio::join!(
                client.batch_execute(&open),
                client.query_typed(statement, parameters),
                client.batch_execute(PIN)
            );
            // What follows a statement that failed fails for that reason.
            let rows = opened.and(rows).and_then(|rows| pinned.map(|()| rows));
            let rows = rows.and_then(|rows| rows.iter().map(from_row).collect());
            rows.map_err(|error| PostgresError::of_write(&error))
        };
        guarded(&self.lease, name, run).await
    }

    /// Ends the transaction.
    ///
    /// # Errors
    /// What keeps it from ending so. [`PostgresError::Uncertain`] when the session is lost during a commit: nobody can tell
    /// whether it was made.
    pub(crate) async fn end(mut self, end: End) -> Result<(), PostgresError> {
        let session = self.lease.session()?;
        let statement = match end {
            // Triggers can be put off until here.
            End::Commit => format!("{}; COMMIT", session.search_path_of_triggers()),
            End::Rollback => "ROLLBACK".to_owned(),
        };
        let ended = async {
            session.client().batch_execute(&statement).await.map_err(|error| PostgresError::of_write(&error))
        };
        let ended = guarded(&self.lease, "transaction.end", ended).await;
        self.open = ended.is_err();
        match ended {
            Err(PostgresError::Interrupted { reason }) if end == End::Commit => {
                Err(PostgresError::Uncertain { reason })
            }
            Err(error @ PostgresError::Silent { .. }) if end == End::Commit => {
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

/// Begins a transaction on a session, with the limits that keep it from holding others up.
///
/// # Errors
/// [`PostgresError::ReadOnly`], and what keeps the server from beginning one.
pub(crate) async fn start(lease: &Lease<'_>, access: AccessMode) -> Result<(), PostgresError> {
    let session = lease.session()?;
    let begin = format!("{}; {LIMITS}", session.begin(access));
    let begun = async {
        session.client().batch_execute(&begin).await.map_err(|error| match error.code() {
            // How a standby refuses the very beginning of a transaction that writes.
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => PostgresError::ReadOnly { reason: reason(&error) },
            _ => PostgresError::of_write(&error),
        })
    };
    let begun = guarded(lease, "transaction.begin", begun).await;
    if begun.is_err() {
        // The first of the statements may have been carried out.
        session.retire();
    }
    begun
}

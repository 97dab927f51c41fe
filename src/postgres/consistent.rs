//! Several statements that see the database at one moment.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use tokio_postgres::Row;
use tracing::Instrument;

use crate::postgres::error::PostgresError;
use crate::postgres::pool::{Lease, Pool};
use crate::postgres::statement::{Parameter, guarded};
use crate::telemetry::watch;

/// A read-only transaction whose statements all see what was committed when its first statement began. One that is
/// dropped before its end takes its session along.
pub(crate) struct ConsistentRead<'a> {
    lease: Lease<'a>,
    open: bool,
}

/// How long a server waits for our next statement: a transaction that stays open keeps dead rows from being removed.
const LIMITS: &str = "SET LOCAL idle_in_transaction_session_timeout = 30000";

impl<'a> ConsistentRead<'a> {
    /// Begins the transaction on a session of the pool. A session that turns out to be dead is replaced once.
    ///
    /// # Errors
    /// Whatever keeps the server from being asked.
    pub(crate) async fn begin(pool: &'a Pool) -> Result<Self, PostgresError> {
        let mut lease = pool.get().await?;
        match start(&lease).await {
            Err(error) if error.is_lost_session() && lease.is_from_stock() => {
                drop(lease);
                lease = pool.get_fresh().await?;
                start(&lease).await?;
            }
            started => started?,
        }
        Ok(Self { lease, open: true })
    }

    /// Runs a statement and hands each of its rows to `take` as it arrives, until that breaks: then the statement is
    /// cancelled on the server, and the transaction cannot go on. So it is when the future is dropped before its
    /// end. `name` is what traces and metrics call the statement.
    ///
    /// # Errors
    /// See [`PostgresError::of_statement`].
    pub(crate) async fn each(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        mut take: impl FnMut(&Row) -> Result<ControlFlow<()>, tokio_postgres::Error>,
    ) -> Result<ControlFlow<()>, PostgresError> {
        let session = self.lease.session()?;
        let running = session.running();
        let waited = session.patience();
        let watched = watch::statement(name);
        let rows = async {
            let parameters = parameters.iter().map(|(value, ty)| (*value, ty.clone()));
            let mut stream = std::pin::pin!(session.client().query_typed_raw(statement, parameters).await?);
            while let Some(row) = stream.try_next().await? {
                if take(&row)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        let result = match tokio::time::timeout(waited, rows.instrument(watched.span())).await {
            Ok(result) => result.map_err(|error| PostgresError::of_statement(&error)),
            Err(_) => Err(PostgresError::Silent { waited }),
        };
        watched.ended(result.is_ok());
        match &result {
            Ok(ControlFlow::Continue(())) => running.finished(),
            // Dropped, it cancels the statement.
            Ok(ControlFlow::Break(())) | Err(PostgresError::Silent { .. }) => drop(running),
            Err(_) => {
                running.finished();
                session.retire();
            }
        }
        result
    }

    /// Ends the transaction and gives the session back.
    ///
    /// # Errors
    /// What keeps it from ending so.
    pub(crate) async fn end(mut self) -> Result<(), PostgresError> {
        let session = self.lease.session()?;
        let ended = async {
            session
                .client()
                .batch_execute("COMMIT")
                .await
                .map_err(|error| PostgresError::of_statement(&error))
        };
        let ended = guarded(&self.lease, "transaction.end", ended).await;
        self.open = ended.is_err();
        ended
    }
}

impl Drop for ConsistentRead<'_> {
    fn drop(&mut self) {
        if self.open
            && let Ok(session) = self.lease.session()
        {
            session.retire();
        }
    }
}

async fn start(lease: &Lease<'_>) -> Result<(), PostgresError> {
    let session = lease.session()?;
    let begin = format!("{}; {LIMITS}", session.begin_consistent());
    let begun = async {
        session.client().batch_execute(&begin).await.map_err(|error| PostgresError::of_statement(&error))
    };
    let begun = guarded(lease, "transaction.begin", begun).await;
    if begun.is_err() {
        session.retire();
    }
    begun
}

//! Several statements that see the database at one moment.

use std::ops::ControlFlow;

use futures_util::TryStreamExt;
use tokio_postgres::Row;
use tracing::Instrument;

use crate::postgres::error::{PostgresError, session_continues};
use crate::postgres::pool::{Lease, Pool};
use crate::postgres::statement::{Parameter, guarded, roll_back};
use crate::telemetry::watch;

/// A read-only transaction whose statements all see the data committed when its first statement began. If it
/// is dropped before [`ConsistentRead::end`] or [`ConsistentRead::abandon`], its session is closed.
pub(crate) struct ConsistentRead<'a> {
    lease: Lease<'a>,
    open: bool,
}

/// Limits how long the server waits for our next statement, because an open transaction prevents the removal
/// of dead rows.
const LIMITS: &str = "SET LOCAL idle_in_transaction_session_timeout = 30000";

impl<'a> ConsistentRead<'a> {
    /// Begins the transaction on a session of the pool. A dead session is replaced once.
    ///
    /// # Errors
    /// Any cause that prevents the statement.
    pub(crate) async fn begin(pool: &'a Pool) -> Result<Self, PostgresError> {
        let mut lease = pool.get().await?;
        match start(&lease).await {
            Err(error) if error.is_lost_session() && lease.is_reused() => {
                drop(lease);
                lease = pool.get_fresh().await?;
                start(&lease).await?;
            }
            started => started?,
        }
        Ok(Self { lease, open: true })
    }

    /// Runs a statement and passes each row to `take` as it arrives, until `take` breaks. The statement is
    /// then cancelled on the server, and the transaction cannot continue. The same happens if the future is
    /// dropped before its end. `name` is the statement's name in traces and metrics.
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
        let waited = session.max_wait();
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
            Ok(result) => result.map_err(|error| {
                // The server may still send rows if one of them could not be converted.
                if !session_continues(&error) {
                    session.retire();
                }
                PostgresError::of_statement(&error)
            }),
            Err(_) => Err(PostgresError::Silent { waited }),
        };
        watched.ended(result.is_ok());
        match &result {
            // Dropping it cancels the statement.
            Ok(ControlFlow::Break(())) | Err(PostgresError::Silent { .. }) => drop(running),
            Ok(ControlFlow::Continue(())) | Err(_) => running.finished(),
        }
        result
    }

    /// Rolls the transaction back after an error, and returns the session to the pool if it continues.
    pub(crate) async fn abandon(mut self) {
        self.open = roll_back(&self.lease).await.is_err();
    }

    /// Commits the transaction and returns the session to the pool.
    ///
    /// # Errors
    /// The errors of the commit.
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

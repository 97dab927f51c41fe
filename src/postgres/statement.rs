//! Runs one statement with a timeout. It is cancelled if dropped, and retried once if a pooled session was
//! dead.

use futures_util::TryStreamExt;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tracing::Instrument;

use crate::postgres::error::PostgresError;
use crate::postgres::pool::{Lease, Pool};
use crate::postgres::session::{AccessMode, Session};
use crate::telemetry::watch;

/// A bound parameter with its type on the server. With the types, statements need no preparation under a name
/// (decision unnamed-statements).
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Converts a row to the caller's type.
pub(crate) type FromRow<T> = fn(&Row) -> Result<T, tokio_postgres::Error>;

/// Runs one SELECT on a session of the pool and converts its rows to `T`. `name` is the statement's name in
/// traces and metrics.
///
/// A dead pooled session is replaced once by a new one, and a statement that the server rolled back is run once more.
/// Dropping the future before the statement ends cancels the statement on the server.
///
/// # Errors
/// See [`PostgresError`].
pub(crate) async fn read<T>(
    pool: &Pool,
    name: &'static str,
    statement: &str,
    parameters: &[Parameter<'_>],
    from_row: FromRow<T>,
) -> Result<Vec<T>, PostgresError> {
    let lease = pool.get().await?;
    match guarded(&lease, name, run(lease.session()?, statement, parameters, from_row)).await {
        Err(error) if error.is_lost_session() && lease.is_reused() => {
            tracing::info!(%error, "a pooled database connection was closed; retrying once on a new one");
            drop(lease);
            let lease = pool.get_fresh().await?;
            guarded(&lease, name, run(lease.session()?, statement, parameters, from_row)).await
        }
        // A standby rolls back a statement that conflicts with the changes that it replays. A server also
        // rolls back a statement if it runs out of memory or disk space, and may have enough for a retry.
        Err(error) if error.is_rolled_back() => {
            guarded(&lease, name, run(lease.session()?, statement, parameters, from_row)).await
        }
        result => result,
    }
}

/// Runs a statement so that dropping the future cancels it on the server. Stops waiting for a server that
/// does not even report a timeout of the statement.
///
/// # Errors
/// The errors of the statement, and [`PostgresError::Silent`].
pub(crate) async fn guarded<T>(
    lease: &Lease<'_>,
    name: &'static str,
    statement: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    let session = lease.session()?;
    let running = session.running();
    let waited = session.max_wait();
    let watched = watch::statement(name);
    let Ok(result) = tokio::time::timeout(waited, statement.instrument(watched.span())).await else {
        watched.ended(false);
        return Err(PostgresError::Silent { waited });
    };
    watched.ended(result.is_ok());
    running.finished();
    if result.as_ref().is_err_and(PostgresError::is_lost_session) {
        lease.session()?.retire();
    }
    result
}

/// Rolls back the transaction of a session that continues after an error, so that the session can be used again.
///
/// # Errors
/// The session is lost, or the errors of the rollback.
pub(super) async fn roll_back(lease: &Lease<'_>) -> Result<(), PostgresError> {
    let session = lease.session()?;
    if session.is_lost() {
        return Err(PostgresError::Interrupted { reason: "the session was lost".into(), session_lost: true });
    }
    let rolled_back = async {
        session.client().batch_execute("ROLLBACK").await.map_err(|error| PostgresError::of_statement(&error))
    };
    guarded(lease, "transaction.rollback", rolled_back).await
}

/// Runs one SELECT on a session, in its own read-only transaction. It takes one round trip: the three
/// messages are sent without waiting for one another.
///
/// # Errors
/// See [`PostgresError::of_statement`].
pub(crate) async fn run<T>(
    session: &Session,
    statement: &str,
    parameters: &[Parameter<'_>],
    from_row: FromRow<T>,
) -> Result<Vec<T>, PostgresError> {
    let client = session.client();
    let rows = async {
        let parameters = parameters.iter().map(|(value, ty)| (*value, ty.clone()));
        let mut stream = std::pin::pin!(client.query_typed_raw(statement, parameters).await?);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(from_row(&row)?);
        }
        Ok(rows)
    };
    let begin = session.begin(AccessMode::ReadOnly);
    let (begun, rows, ended) =
        tokio::join!(client.batch_execute(&begin), rows, client.batch_execute("COMMIT"));
    let rows = begun.and(rows).and_then(|rows| ended.map(|()| rows));
    rows.map_err(|error| PostgresError::of_statement(&error))
}

/// The only row of a statement that always returns one.
///
/// # Errors
/// [`PostgresError::Statement`] if it returns none.
pub(crate) fn only<T>(rows: Vec<T>) -> Result<T, PostgresError> {
    let nothing =
        || PostgresError::Statement { reason: "a statement that always returns a row returned none".into() };
    rows.into_iter().next().ok_or_else(nothing)
}

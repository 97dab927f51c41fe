//! Retool's Postgres database: sessions, what the role may read, and one module per table family.

pub mod admins;
pub mod connection_string;
pub mod diagnosis;
pub mod error;
pub mod groups;
pub mod identifier;
mod managed_groups;
pub mod memberships;
pub mod organizations;
pub mod page_access;
pub mod pages;
mod pool;
pub mod privileges;
pub mod resources;
mod session;
pub mod setup;
mod sql;
mod time;
pub mod tls;
pub mod transaction;
pub mod users;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tracing::Instrument;

use connection_string::ConnectionSettings;
use error::Error;
use pool::{Lease, Pool};
use privileges::{Feature, Privileges, Scope};
use session::{Opener, Session};

use crate::retool::id::OutOfRange;
use crate::telemetry::watch;

/// How long the database may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To open a session, unless the connection string has a `connect_timeout`.
    pub connect: Duration,
    /// To run one statement.
    pub statement: Duration,
    /// To wait for a connection that others use.
    pub pool: Duration,
}

/// A Retool database. Opening one makes no connection: the first call does.
pub struct Database {
    pool: Pool,
    scope: Scope,
    privileges: RwLock<Option<Arc<Privileges>>>,
}

/// What traces and metrics call the statement that asks what the role may do.
const PROBE: &str = "privileges.probe";

/// A bound parameter with the type that the server shall take it for.
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Database {
    /// A database to be reached as `settings` say.
    ///
    /// # Errors
    /// When the certificates that the connection string names cannot be used.
    pub fn new(
        settings: ConnectionSettings,
        timeouts: Timeouts,
        scope: Scope,
    ) -> Result<Self, tls::TlsError> {
        let tls = tls::connector(&settings.ssl)?;
        let connect_timeout = settings.connect_timeout.unwrap_or(timeouts.connect);
        let opener = Opener {
            settings: Arc::new(settings),
            tls,
            connect_timeout,
            statement_timeout: timeouts.statement,
        };
        Ok(Self { pool: Pool::new(opener, timeouts.pool), scope, privileges: RwLock::new(None) })
    }

    /// Reaches the database, probes the role's privileges anew, and makes sure that they suffice.
    ///
    /// # Errors
    /// Whatever keeps the database from being read; see [`Error`].
    pub async fn check(&self) -> Result<Arc<Privileges>, Error> {
        let privileges = self.probe().await?;
        privileges.require(self.scope)?;
        Ok(privileges)
    }

    /// What the role may read, probed by the first caller.
    async fn privileges(&self) -> Result<Arc<Privileges>, Error> {
        let known = self.privileges.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(privileges) => Ok(privileges),
            None => self.probe().await,
        }
    }

    /// Probes the role's privileges anew unless those that are known suffice for these changes.
    ///
    /// # Errors
    /// [`Error::MissingPrivileges`] with the GRANTs that are missing, and whatever keeps the database from
    /// being asked.
    async fn require_changes(&self, features: &[Feature]) -> Result<Arc<Privileges>, Error> {
        let known = self.privileges().await?;
        if known.require_changes(features).is_ok() {
            return Ok(known);
        }
        // Somebody may have run the GRANT meanwhile.
        let privileges = self.probe().await?;
        privileges.require_changes(features)?;
        Ok(privileges)
    }

    async fn probe(&self) -> Result<Arc<Privileges>, Error> {
        let lease = self.pool.get().await?;
        let probed = match guarded(&lease, PROBE, Privileges::probe(lease.session()?, self.scope, &[])).await
        {
            Err(error) if error.is_lost_session() && lease.is_from_stock() => {
                drop(lease);
                let lease = self.pool.get_fresh().await?;
                guarded(&lease, PROBE, Privileges::probe(lease.session()?, self.scope, &[])).await
            }
            other => other,
        };
        let privileges = Arc::new(probed?);
        let mut known = self.privileges.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().map(|known| known.warnings()) != Some(privileges.warnings()) {
            for warning in privileges.warnings() {
                tracing::warn!("{warning}");
            }
        }
        *known = Some(Arc::clone(&privileges));
        Ok(privileges)
    }

    /// Runs one reading statement and turns its rows into `T`. `name` is what traces and metrics call the
    /// statement: table and purpose, such as `groups.list`.
    ///
    /// A session that turns out to have died is replaced once by a fresh one. Dropped before it has
    /// ended, the statement is cancelled on the server.
    ///
    /// # Errors
    /// See [`Error`]; a refused column is answered with the GRANT that is missing.
    async fn read<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, Error> {
        let rendered = sql::render(statement, &*self.privileges().await?);
        match self.read_once(name, &rendered, parameters, from_row).await {
            Err(error) if error.is_refusal() => {
                let privileges = self.probe().await?;
                privileges.require(self.scope)?;
                // A privilege that the statement can do without may have gone meanwhile.
                let without = sql::render(statement, &privileges);
                if without == rendered {
                    return Err(error);
                }
                self.read_once(name, &without, parameters, from_row).await
            }
            result => result,
        }
    }

    async fn read_once<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, Error> {
        let lease = self.pool.get().await?;
        match guarded(&lease, name, run(lease.session()?, statement, parameters, from_row)).await {
            Err(error) if error.is_lost_session() && lease.is_from_stock() => {
                tracing::info!(%error, "a pooled database connection was dead; trying once on a fresh one");
                drop(lease);
                let lease = self.pool.get_fresh().await?;
                guarded(&lease, name, run(lease.session()?, statement, parameters, from_row)).await
            }
            result => result,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Database").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// Runs a statement so that dropping it half-way cancels it on the server, and gives up on a server that
/// does not even say that the statement took too long.
async fn guarded<T>(
    lease: &Lease<'_>,
    name: &'static str,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let session = lease.session()?;
    let running = session.running();
    let waited = session.patience();
    let watched = watch::statement(name);
    let Ok(result) = tokio::time::timeout(waited, statement.instrument(watched.span())).await else {
        watched.ended(false);
        return Err(Error::Silent { waited });
    };
    watched.ended(result.is_ok());
    running.finished();
    if result.as_ref().is_err_and(Error::is_lost_session) {
        lease.session()?.retire();
    }
    result
}

/// One round trip: alone on a session of our own, else in a read-only transaction that carries the
/// statement timeout, its three messages sent without waiting for one another.
async fn run<T>(
    session: &Session,
    statement: &str,
    parameters: &[Parameter<'_>],
    from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<Vec<T>, Error> {
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
    match session.scope() {
        session::Scope::Session => rows.await,
        session::Scope::Transaction { statement_timeout } => {
            let begin = format!(
                "BEGIN READ ONLY; SET LOCAL statement_timeout = {}",
                statement_timeout.as_millis().max(1)
            );
            let (begun, rows, ended) =
                tokio::join!(client.batch_execute(&begin), rows, client.batch_execute("COMMIT"));
            begun.and(rows).and_then(|rows| ended.map(|()| rows))
        }
    }
    .map_err(|error| Error::of_statement(&error))
}

/// The key in a column of type `int8`.
fn key<T>(row: &Row, index: usize) -> Result<T, tokio_postgres::Error>
where
    T: TryFrom<i64, Error = OutOfRange>,
{
    Ok(row.try_get::<_, Key<T>>(index)?.0)
}

/// The key in a column of type `int8` that may be NULL.
fn optional_key<T>(row: &Row, index: usize) -> Result<Option<T>, tokio_postgres::Error>
where
    T: TryFrom<i64, Error = OutOfRange>,
{
    Ok(row.try_get::<_, Option<Key<T>>>(index)?.map(|Key(key)| key))
}

/// Reads a key as the driver reads a number.
struct Key<T>(T);

impl<'a, T: TryFrom<i64, Error = OutOfRange>> FromSql<'a> for Key<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(T::try_from(i64::from_sql(ty, raw)?)?))
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as FromSql<'_>>::accepts(ty)
    }
}

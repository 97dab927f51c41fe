//! Retool's Postgres database: a pool of sessions, and what the role may do there.

use std::fmt::Display;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_postgres::Row;
use tokio_postgres::row::RowIndex;
use tokio_postgres::types::{FromSql, Type};

use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::error::PostgresError;
use crate::postgres::opener::Opener;
use crate::postgres::pool::{Lease, Pool, Timeouts};
use crate::postgres::session::AccessMode;
use crate::postgres::statement::{self, FromRow, Parameter, guarded};
use crate::postgres::tls::{self, TlsError};
use crate::postgres::transaction::{End, Transaction};
use crate::retool::error::DatabaseError;
use crate::retool::id::OutOfRange;
use crate::retool::privileges::{Feature, Privileges, Scope};
use crate::retool::template;

/// A Retool database. Opening one makes no connection: the first call does.
pub(crate) struct Database {
    pool: Pool,
    scope: Scope,
    privileges: RwLock<Option<Arc<Privileges>>>,
}

/// What traces and metrics call the statement that asks what the role may do.
pub(crate) const PROBE: &str = "privileges.probe";

impl Database {
    /// A database to be reached as `settings` say.
    ///
    /// # Errors
    /// When the certificates that the connection string names cannot be used.
    pub(crate) fn new(
        settings: ConnectionSettings,
        timeouts: Timeouts,
        scope: Scope,
    ) -> Result<Self, TlsError> {
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
    /// Whatever keeps the database from being read; see [`DatabaseError`].
    pub(crate) async fn check(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let privileges = self.probe().await?;
        privileges.require(self.scope)?;
        Ok(privileges)
    }

    /// Whether the server refused the password when a session was last to be opened.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.pool.is_login_refused()
    }

    /// As [`Database::check`], and makes sure that the server takes changes where the configuration makes any.
    ///
    /// # Errors
    /// Those of [`Database::check`], and [`PostgresError::ReadOnly`] on a standby.
    pub(crate) async fn check_whole(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let privileges = self.check().await?;
        if self.scope.provisioning {
            Transaction::begin(&self.pool, AccessMode::ReadWrite).await?.end(End::Rollback).await?;
        }
        Ok(privileges)
    }

    /// What the role may read, probed by the first caller.
    pub(crate) async fn privileges(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let known = self.privileges.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(privileges) => Ok(privileges),
            None => self.probe().await,
        }
    }

    /// Probes the role's privileges anew unless those that are known suffice for these changes.
    ///
    /// # Errors
    /// [`DatabaseError::MissingPrivileges`] with the GRANTs that are missing, and whatever keeps the database from
    /// being asked.
    pub(crate) async fn require_changes(
        &self,
        features: &[Feature],
    ) -> Result<Arc<Privileges>, DatabaseError> {
        let known = self.privileges().await?;
        if known.require_changes(features).is_ok() {
            return Ok(known);
        }
        // Somebody may have run the GRANT meanwhile.
        let privileges = self.probe().await?;
        privileges.require_changes(features)?;
        Ok(privileges)
    }

    pub(crate) async fn probe(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let lease = self.pool.get().await?;
        let probed = match self.probe_on(&lease).await {
            Err(error) if error.is_lost_session() && lease.is_from_stock() => {
                drop(lease);
                self.probe_on(&self.pool.get_fresh().await?).await
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

    async fn probe_on(&self, lease: &Lease<'_>) -> Result<Privileges, PostgresError> {
        guarded(lease, PROBE, Privileges::probe(lease.session()?, self.scope, &[])).await
    }

    /// Runs one reading statement and turns its rows into `T`. `name` is what traces and metrics call the
    /// statement: table and purpose, such as `groups.list`.
    ///
    /// A session that turns out to have died is replaced once by a fresh one. Dropped before it has
    /// ended, the statement is cancelled on the server.
    ///
    /// # Errors
    /// See [`DatabaseError`]; a refused column is answered with the GRANT that is missing.
    pub(crate) async fn read<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        let rendered = template::render(statement, &*self.privileges().await?);
        match self.read_catalog(name, &rendered, parameters, from_row).await {
            Err(error) if error.is_refusal() => {
                let privileges = self.probe().await?;
                privileges.require(self.scope)?;
                // A privilege that the statement can do without may have gone meanwhile.
                let without = template::render(statement, &privileges);
                if without == rendered {
                    return Err(error);
                }
                self.read_catalog(name, &without, parameters, from_row).await
            }
            result => result,
        }
    }

    /// As [`Database::read`], for a statement whose refusal needs no explanation.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) async fn read_once<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        let rendered = template::render(statement, &*self.privileges().await?);
        self.read_catalog(name, &rendered, parameters, from_row).await
    }

    /// As [`Database::read_once`], for a statement that names nothing outside `pg_catalog` and runs as it stands.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub(crate) async fn read_catalog<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: FromRow<T>,
    ) -> Result<Vec<T>, DatabaseError> {
        Ok(statement::read(&self.pool, name, statement, parameters, from_row).await?)
    }

    /// The sessions that all calls share.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What of Retool is read and changed.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// The key in a column of type `int8`.
pub(crate) fn key<T>(row: &Row, column: impl RowIndex + Display) -> Result<T, tokio_postgres::Error>
where
    T: TryFrom<i64, Error = OutOfRange>,
{
    Ok(row.try_get::<_, Key<T>>(column)?.0)
}

/// The key in a column of type `int8` that may be NULL.
pub(crate) fn optional_key<T>(
    row: &Row,
    column: impl RowIndex + Display,
) -> Result<Option<T>, tokio_postgres::Error>
where
    T: TryFrom<i64, Error = OutOfRange>,
{
    Ok(row.try_get::<_, Option<Key<T>>>(column)?.map(|Key(key)| key))
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

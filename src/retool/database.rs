//! Retool's Postgres database: a pool of sessions, and the privileges of the role.

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

/// A Retool database. Creating it opens no connection; the first call does (decision start-without-database).
pub(crate) struct Database {
    pool: Pool,
    scope: Scope,
    privileges: RwLock<Option<Arc<Privileges>>>,
}

/// Name of the statement that probes the role's privileges, in traces and metrics.
pub(crate) const PROBE: &str = "privileges.probe";

impl Database {
    /// Creates a database from these settings.
    ///
    /// # Errors
    /// The certificates that the connection string names are unusable.
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

    /// Connects to the database, probes the role's privileges again, and verifies that they suffice.
    ///
    /// # Errors
    /// Any cause that prevents reading the database; see [`DatabaseError`].
    pub(crate) async fn check(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let privileges = self.probe().await?;
        privileges.require(self.scope)?;
        Ok(privileges)
    }

    /// Whether the server refused the password at the last attempt to open a session.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.pool.is_login_refused()
    }

    /// Like [`Database::check`]. If the configuration allows changes, also verifies that the server accepts
    /// them.
    ///
    /// # Errors
    /// The errors of [`Database::check`], and [`PostgresError::ReadOnly`] on a standby.
    pub(crate) async fn check_whole(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let privileges = self.check().await?;
        if self.scope.provisioning {
            Transaction::begin(&self.pool, AccessMode::ReadWrite).await?.end(End::Rollback).await?;
        }
        Ok(privileges)
    }

    /// The role's privileges. The first call probes them.
    pub(crate) async fn privileges(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let known = self.privileges.read().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(privileges) => Ok(privileges),
            None => self.probe().await,
        }
    }

    /// Returns the role's privileges. Probes them again unless the known ones suffice for these changes.
    ///
    /// # Errors
    /// [`DatabaseError::MissingPrivileges`] with the missing GRANTs, and any cause that prevents the probe.
    pub(crate) async fn require_changes(
        &self,
        features: &[Feature],
    ) -> Result<Arc<Privileges>, DatabaseError> {
        let known = self.privileges().await?;
        if known.require_changes(features).is_ok() {
            return Ok(known);
        }
        // An administrator may have run the GRANT in the meantime.
        let privileges = self.probe().await?;
        privileges.require_changes(features)?;
        Ok(privileges)
    }

    pub(crate) async fn probe(&self) -> Result<Arc<Privileges>, DatabaseError> {
        let lease = self.pool.get().await?;
        let probed = match self.probe_on(&lease).await {
            Err(error) if error.is_lost_session() && lease.is_reused() => {
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

    /// Runs one SELECT and converts its rows to `T`. `name` is the statement's name in traces and metrics:
    /// table and purpose, such as `groups.list`.
    ///
    /// A lost session is replaced once by a new one, and a statement that the server rolled back runs once
    /// more. Dropping the future before the statement ends cancels the statement on the server.
    ///
    /// # Errors
    /// See [`DatabaseError`]; if a column is refused, the error has the missing GRANT.
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
                // A privilege that the statement does not require may have been revoked in the meantime.
                let without = template::render(statement, &privileges);
                if without == rendered {
                    return Err(error);
                }
                self.read_catalog(name, &without, parameters, from_row).await
            }
            result => result,
        }
    }

    /// Like [`Database::read`], for a statement whose refusal needs no explanation.
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

    /// Like [`Database::read_once`], for a statement that uses only `pg_catalog` and contains no template.
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

    /// The session pool that all calls share.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The parts of Retool that are read and changed.
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

/// Decodes a key from an `int8`.
struct Key<T>(T);

impl<'a, T: TryFrom<i64, Error = OutOfRange>> FromSql<'a> for Key<T> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(T::try_from(i64::from_sql(ty, raw)?)?))
    }

    fn accepts(ty: &Type) -> bool {
        <i64 as FromSql<'_>>::accepts(ty)
    }
}

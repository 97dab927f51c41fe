//! Changes of Retool's rows. Each change runs in its own transaction, which holds locks on the changed
//! objects and reads each write again (decision whole-changes).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::postgres::session::AccessMode;
use crate::postgres::statement::Parameter;
use crate::postgres::transaction::{self, Deferred, End};
use crate::retool::change::{Mode, Refusal};
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, PageId};
use crate::retool::privileges::{Feature, Privileges};
use crate::retool::template;
use crate::retool::trigger_path;

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// Retool's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database returned an error.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<PostgresError> for ChangeError {
    fn from(error: PostgresError) -> Self {
        Self::Database(error.into())
    }
}

/// An object that only one change at a time may modify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// The access to a page. Locked before groups, so that two changes never wait for each other.
    Page(PageId),
    /// The members of a group.
    Group(GroupId),
}

impl Lock {
    /// The number of the advisory lock: half of a digest of the object's name, so that no other client uses
    /// it by accident.
    fn key(self) -> i64 {
        let name = match self {
            Self::Page(page) => format!("baton-retool page {page}"),
            Self::Group(group) => format!("baton-retool group {group}"),
        };
        let digest = Sha256::digest(name.as_bytes());
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }
}

/// The target of a write, for error messages.
pub(crate) struct Write<'a> {
    /// The table.
    pub(crate) table: &'a str,
    /// The content, as the object of a sentence.
    pub(crate) what: &'a str,
}

/// A change in progress.
pub(crate) struct Transaction<'a> {
    inner: transaction::Transaction<'a>,
    privileges: Arc<Privileges>,
    mode: Mode,
}

impl Database {
    /// Makes a change in its own transaction, which holds `lock`: either everything that `change` does, or
    /// nothing. Nothing is written while triggers could run code of other roles.
    ///
    /// # Errors
    /// [`DatabaseError::ShadowingObjects`] if a trigger could run code of other roles.
    /// The errors of `change`, and of beginning and ending the transaction. If the session is lost during the
    /// commit, it is unknown whether the change was made; a retry is safe. If the server refuses a statement
    /// because of missing privileges, the error has the GRANTs that are missing now.
    ///
    /// After a failover, a pooled session can lead to a server that accepts no writes any more. If a statement
    /// fails for that reason, nothing was committed, and the change is tried once on a new session.
    pub(crate) async fn change<T>(
        &self,
        features: &[Feature],
        mode: Mode,
        lock: Lock,
        change: impl for<'a> Fn(&'a Transaction<'_>) -> BoxFuture<'a, Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        let privileges = self.require_changes(features).await?;
        let access = match mode {
            Mode::Real => AccessMode::ReadWrite,
            Mode::DryRun => AccessMode::ReadOnly,
        };
        let inner = transaction::Transaction::begin(self.pool(), access).await?;
        let is_reused = inner.is_reused();
        let transaction = Transaction { inner, privileges: Arc::clone(&privileges), mode };
        let outcome = match transaction.run(lock, &change).await {
            Err(ChangeError::Database(DatabaseError::Postgres(error @ PostgresError::ReadOnly { .. })))
                if is_reused =>
            {
                tracing::info!(%error, "a pooled database connection accepts no changes; retrying once on a new one");
                let inner = transaction::Transaction::begin_on_new_session(self.pool(), access).await?;
                Transaction { inner, privileges, mode }.run(lock, &change).await
            }
            outcome => outcome,
        };
        match outcome {
            Err(ChangeError::Database(error)) if error.is_refusal() => {
                self.check().await?.require_changes(features)?;
                Err(error.into())
            }
            outcome => outcome,
        }
    }
}

impl Transaction<'_> {
    /// Makes the change and ends the transaction.
    async fn run<T>(
        self,
        lock: Lock,
        change: &impl for<'a> Fn(&'a Transaction<'_>) -> BoxFuture<'a, Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        let outcome = match self.prepare(lock).await {
            Ok(()) => change(&self).await,
            Err(error) => Err(error.into()),
        };
        self.end(outcome).await
    }

    /// Whether the change is only described.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.mode == Mode::DryRun
    }

    /// Takes the lock, and makes sure that triggers run only code of roles that could change Retool's tables
    /// anyway. A dry run does so too, to report what a real change would.
    async fn prepare(&self, lock: Lock) -> Result<(), DatabaseError> {
        self.lock(&[lock]).await?;
        let shadowing_objects = trigger_path::shadowing_objects(&self.inner, &self.privileges).await?;
        if shadowing_objects.is_empty() {
            Ok(())
        } else {
            Err(DatabaseError::ShadowingObjects { shadowing_objects })
        }
    }

    pub(crate) fn privileges(&self) -> &Privileges {
        &self.privileges
    }

    /// Waits until no other change holds these locks.
    ///
    /// # Errors
    /// [`PostgresError::Locked`] if another change holds a lock for too long, and the errors of any
    /// statement.
    pub(crate) async fn lock(&self, locks: &[Lock]) -> Result<(), DatabaseError> {
        let mut locks = locks.to_vec();
        locks.sort_unstable();
        for lock in locks {
            self.inner.lock(lock.key()).await?;
        }
        Ok(())
    }

    /// Runs a statement and converts its rows to `T`. `name` is its name in metrics and traces.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn read<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, DatabaseError> {
        let statement = template::render(statement, &self.privileges);
        Ok(self.inner.read(name, &statement, parameters, from_row).await?)
    }

    /// Runs a statement that changes rows, and returns the number of rows it reports as changed. The table's
    /// triggers run with the role's own search_path, so every name in the statement must be qualified. The last
    /// write of a change runs the deferred triggers too, so that [`Transaction::judge`] sees what they did.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn write(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        deferred: Deferred,
    ) -> Result<usize, DatabaseError> {
        let rows = self.write_returning(name, statement, parameters, deferred, |_| Ok(())).await?;
        Ok(rows.len())
    }

    /// Like [`Transaction::write`], but returns the statement's rows.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn write_returning<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        deferred: Deferred,
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, DatabaseError> {
        let statement = template::render(statement, &self.privileges);
        Ok(self.inner.write(name, &statement, parameters, deferred, from_row).await?)
    }

    /// Judges a write by the state that is read after it in the same transaction. `wrote` is true if the
    /// statement reports all rows as written.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] if a trigger or a policy of the table prevented the write or wrote
    /// something else; [`PostgresError::Interrupted`] if another client changed the row first.
    pub(crate) fn judge<T: PartialEq>(
        &self,
        write: &Write<'_>,
        wrote: bool,
        before: &T,
        now: &T,
        wanted: &T,
    ) -> Result<(), DatabaseError> {
        match (wrote, now == wanted, now == before) {
            (true, true, _) => Ok(()),
            // Written rows stay locked until the end of the transaction, so only a trigger can have changed
            // them.
            (true, false, _) | (false, false, true) => Err(self.kept_from_writing(write.table)),
            (false, ..) => Err(changed_meanwhile(write.what)),
        }
    }

    /// The error for a trigger or a policy of the table that prevented the write of a row.
    pub(crate) fn kept_from_writing(&self, table: &str) -> DatabaseError {
        let reason = if self.privileges.is_policed(table) {
            let role = quoted(self.privileges.role());
            format!(
                "row-level security or a trigger of {table} keeps the role {role} from writing the row, or hides it; to lift row-level security, run as a superuser: ALTER ROLE {role} BYPASSRLS;"
            )
        } else {
            format!("a trigger of {table} kept the row from being written as requested")
        };
        PostgresError::Refused { reason: reason.into() }.into()
    }

    /// Commits if the change has been made, otherwise rolls back.
    async fn end<T>(self, outcome: Result<T, ChangeError>) -> Result<T, ChangeError> {
        let end = if outcome.is_ok() && self.mode == Mode::Real { End::Commit } else { End::Rollback };
        match (outcome, self.inner.end(end).await) {
            (Ok(_), Err(error)) => Err(error.into()),
            // The reason for the rollback is more useful than a failure of the rollback.
            (outcome, _) => outcome,
        }
    }
}

/// The error for a row that Retool changed between our read and our write. Retool does not use our locks. A
/// retry reads the new state.
pub(crate) fn changed_meanwhile(what: &str) -> DatabaseError {
    let reason = format!("another session changed {what} at the same time").into();
    PostgresError::Interrupted { reason, session_lost: false }.into()
}

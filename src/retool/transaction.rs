//! Changes of Retool's rows: each in a transaction of its own that holds the locks of what it is about.

use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio_postgres::Row;

use crate::postgres::error::PostgresError;
use crate::postgres::identifier::quoted;
use crate::postgres::session::AccessMode;
use crate::postgres::statement::Parameter;
use crate::postgres::transaction::{self, End};
use crate::retool::change::{Mode, Refusal};
use crate::retool::database::Database;
use crate::retool::error::DatabaseError;
use crate::retool::id::{GroupId, PageId};
use crate::retool::privileges::{Feature, Privileges};
use crate::retool::template;

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It may not be made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<PostgresError> for ChangeError {
    fn from(error: PostgresError) -> Self {
        Self::Database(error.into())
    }
}

/// Something that only one change at a time may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// The access to a page. Taken before those of groups, so that no two changes wait for each other.
    Page(PageId),
    /// The members of a group.
    Group(GroupId),
}

impl Lock {
    /// The number of the advisory lock: half of a digest of what the lock is about, which nobody else takes by
    /// accident.
    fn key(self) -> i64 {
        let name = match self {
            Self::Page(page) => format!("baton-retool page {page}"),
            Self::Group(group) => format!("baton-retool group {group}"),
        };
        let digest = Sha256::digest(name.as_bytes());
        digest.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }
}

/// What a statement writes, for errors.
pub(crate) struct Write<'a> {
    /// The table.
    pub(crate) table: &'a str,
    /// What it holds, as the object of a sentence.
    pub(crate) what: &'a str,
}

/// A change under way.
pub(crate) struct Transaction<'a> {
    inner: transaction::Transaction<'a>,
    privileges: std::sync::Arc<Privileges>,
    mode: Mode,
}

impl Database {
    /// Makes a change in a transaction of its own: everything that `change` does, or nothing.
    ///
    /// # Errors
    /// Those of `change`, of beginning and of ending the transaction. When the session is lost during the commit,
    /// nobody can tell whether the change was made; repeating it is safe. What the server refuses for want of
    /// privileges is answered with the GRANTs that are missing by now.
    pub(crate) async fn change<T>(
        &self,
        features: &[Feature],
        mode: Mode,
        change: impl for<'a> FnOnce(&'a Transaction<'_>) -> BoxFuture<'a, Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        let privileges = self.require_changes(features).await?;
        let access = match mode {
            Mode::Real => AccessMode::ReadWrite,
            Mode::DryRun => AccessMode::ReadOnly,
        };
        let inner = transaction::Transaction::begin(self.pool(), access).await?;
        let transaction = Transaction { inner, privileges, mode };
        let outcome = change(&transaction).await;
        match transaction.end(outcome).await {
            Err(ChangeError::Database(error)) if error.is_refusal() => {
                self.check().await?.require_changes(features)?;
                Err(error.into())
            }
            outcome => outcome,
        }
    }
}

impl Transaction<'_> {
    /// Whether the change is only described.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.mode == Mode::DryRun
    }

    pub(crate) fn privileges(&self) -> &Privileges {
        &self.privileges
    }

    /// Waits until nobody else changes these.
    ///
    /// # Errors
    /// [`PostgresError::Timeout`] when another change holds one for too long, and those of any statement.
    pub(crate) async fn lock(&self, locks: &[Lock]) -> Result<(), DatabaseError> {
        let mut locks = locks.to_vec();
        locks.sort_unstable();
        for lock in locks {
            self.inner.lock(lock.key()).await?;
        }
        Ok(())
    }

    /// Runs a statement and turns its rows into `T`. `name` is what metrics and traces call it.
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

    /// Runs a statement that changes rows; how many it says it has changed. The triggers of the table run with the
    /// search_path that the role has: every name in the statement has to be qualified.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn write(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<usize, DatabaseError> {
        self.write_returning(name, statement, parameters, |_| Ok(())).await.map(|rows| rows.len())
    }

    /// As [`Transaction::write`], with what the statement returns of each row.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn write_returning<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, DatabaseError> {
        let statement = template::render(statement, &self.privileges);
        Ok(self.inner.write(name, &statement, parameters, from_row).await?)
    }

    /// Judges a write by what is read behind it in the same transaction. `wrote` is whether the statement says that
    /// it wrote what it was to write.
    ///
    /// # Errors
    /// [`PostgresError::Refused`] when a trigger or a policy of the table has kept the row from being written, or has
    /// written something else; [`PostgresError::Interrupted`] when somebody else was there before.
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
            // What was written stays locked until the end, so nobody but a trigger can have changed it.
            (true, false, _) | (false, false, true) => Err(self.kept_from_writing(write.table)),
            (false, ..) => Err(changed_meanwhile(write.what)),
        }
    }

    /// A trigger or a policy of the table has kept a row from being written.
    pub(crate) fn kept_from_writing(&self, table: &str) -> DatabaseError {
        let reason = if self.privileges.is_policed(table) {
            let role = quoted(self.privileges.role());
            format!(
                "row-level security or a trigger of {table} keeps the role {role} from writing the row, or hides it; to lift row-level security run as a superuser: ALTER ROLE {role} BYPASSRLS;"
            )
        } else {
            format!("a trigger of {table} kept the row from being written as it was asked for")
        };
        PostgresError::Refused { reason: reason.into() }.into()
    }

    /// Commits when the change has been made, else undoes it.
    async fn end<T>(self, outcome: Result<T, ChangeError>) -> Result<T, ChangeError> {
        let end = if outcome.is_ok() && self.mode == Mode::Real { End::Commit } else { End::Rollback };
        match (outcome, self.inner.end(end).await) {
            (Ok(_), Err(error)) => Err(error.into()),
            // A failure to undo says less than the reason to undo.
            (outcome, _) => outcome,
        }
    }
}

/// Retool has written between our reading and our writing, under no lock of ours. Another try sees what is there now.
pub(crate) fn changed_meanwhile(what: &str) -> DatabaseError {
    let reason = format!("somebody else changed {what} in the same moment").into();
    PostgresError::Interrupted { reason }.into()
}

//! Changes of Retool's rows: each in a transaction of its own that holds the locks of what it is about.

use futures_util::future::BoxFuture;
use tokio_postgres::Row;

use crate::postgres::error::PostgresError;
use crate::postgres::statement::Parameter;
use crate::postgres::transaction::{self, AccessMode, End};
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
    /// A pair of numbers that nobody else takes advisory locks by; the first spells "brt" and the kind.
    fn key(self) -> (i32, i32) {
        match self {
            Self::Page(page) => (0x6272_7470, page.get()),
            Self::Group(group) => (0x6272_7467, group.get()),
        }
    }
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

    /// Runs a statement that changes rows; how many it has changed.
    ///
    /// # Errors
    /// See [`PostgresError`].
    pub(crate) async fn write(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<usize, DatabaseError> {
        self.read(name, statement, parameters, |_| Ok(())).await.map(|rows| rows.len())
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
    PostgresError::Interrupted { reason: format!("somebody else changed {what} in the same moment") }.into()
}

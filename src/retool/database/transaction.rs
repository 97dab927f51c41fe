//! Transactions that change something: all of it, or nothing.
//!
//! A transaction is READ COMMITTED, whatever the role's default is: it takes its advisory locks first, so
//! that each statement behind them sees what the holder before it has left. One that is dropped before its
//! end takes its session along, and the server undoes it.

use futures_util::future::BoxFuture;
use tokio::sync::SemaphorePermit;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::error::{Error, reason};
use super::pool::Lease;
use super::privileges::Feature;
use super::session::Scope;
use super::{Database, Parameter, Privileges, guarded, sql};
use crate::retool::change::Refusal;
use crate::retool::id::{GroupId, PageId};

/// Whether a change is made or only described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is made.
    Real,
    /// Everything is read and decided as for a real change, in a transaction that cannot write.
    DryRun,
}

/// Why a change was not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeError {
    /// It may not be made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Something that only one change at a time may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lock {
    /// The access to a page. Taken before those of groups, so that nobody waits in a circle.
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

/// A transaction under way.
pub(super) struct Transaction<'a> {
    lease: Lease<'a>,
    privileges: std::sync::Arc<Privileges>,
    mode: Mode,
    open: bool,
    _place: SemaphorePermit<'a>,
}

const LOCK: &str = "SELECT pg_advisory_xact_lock($1, $2)";

/// How long a server waits for our next statement before it undoes the transaction: we may have been
/// frozen or cut off, and others wait for the locks. And how long we wait for a lock of somebody else's: a change
/// that waits holds a connection. Stricter limits of the role's own stand.
const LIMITS: &str = r#"
SELECT set_config(name, most || 's', true)
FROM (VALUES ('idle_in_transaction_session_timeout', 30), ('lock_timeout', 5)) AS limits (name, most)
WHERE extract(epoch FROM current_setting(name)::interval) NOT BETWEEN 0.001 AND most
"#;

impl Database {
    /// Makes a change in a transaction of its own: what `change` says is so, or nothing.
    ///
    /// # Errors
    /// Those of `change`, of beginning and of [ending](Transaction::end) the transaction. What the server
    /// refuses for want of privileges is answered with the GRANTs that are missing by now.
    pub(super) async fn change<T>(
        &self,
        features: &[Feature],
        mode: Mode,
        change: impl for<'a> FnOnce(&'a Transaction<'_>) -> BoxFuture<'a, Result<T, ChangeError>>,
    ) -> Result<T, ChangeError> {
        let transaction = self.begin(features, mode).await?;
        let outcome = change(&transaction).await;
        match transaction.end(outcome).await {
            Err(ChangeError::Database(error)) if error.is_refusal() => {
                let privileges = self.probe().await?;
                privileges.require(self.scope)?;
                privileges.require_changes(features)?;
                Err(error.into())
            }
            outcome => outcome,
        }
    }

    /// Begins a transaction for these kinds of changes. A session that turns out to have died meanwhile is
    /// replaced by a fresh one.
    ///
    /// # Errors
    /// [`Error::MissingPrivileges`], [`Error::ReadOnly`], and whatever keeps the database from being asked.
    async fn begin(&self, features: &[Feature], mode: Mode) -> Result<Transaction<'_>, Error> {
        let privileges = self.require_changes(features).await?;
        let place = self.pool.place_for_change().await?;
        let mut lease = self.pool.get().await?;
        match start(&lease, mode).await {
            Err(error) if error.is_lost_session() && lease.is_from_stock() => {
                drop(lease);
                lease = self.pool.get_fresh().await?;
                start(&lease, mode).await?;
            }
            started => started?,
        }
        Ok(Transaction { lease, privileges, mode, open: true, _place: place })
    }
}

/// Begins a transaction on a session, with the limits that keep it from holding others up.
///
/// # Errors
/// [`Error::ReadOnly`], and what keeps the server from beginning one.
pub(super) async fn start(lease: &Lease<'_>, mode: Mode) -> Result<(), Error> {
    let session = lease.session()?;
    let access = match mode {
        Mode::Real => "READ WRITE",
        Mode::DryRun => "READ ONLY",
    };
    let mut begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED {access}; {LIMITS}");
    if let Scope::Transaction { statement_timeout } = session.scope() {
        let limit = statement_timeout.as_millis().max(1);
        begin.push_str(&format!("; SET LOCAL statement_timeout = {limit}"));
    }
    let begun = async {
        session.client().batch_execute(&begin).await.map_err(|error| match error.code() {
            // How a standby refuses the very beginning of a transaction that writes.
            Some(&SqlState::FEATURE_NOT_SUPPORTED) => Error::ReadOnly { reason: reason(&error) },
            _ => Error::of_write(&error),
        })
    };
    let begun = guarded(lease, "transaction.begin", begun).await;
    if begun.is_err() {
        // The first of the statements may have been carried out.
        session.retire();
    }
    begun
}

impl Transaction<'_> {
    /// Whether the change is only described.
    pub(super) fn is_dry_run(&self) -> bool {
        self.mode == Mode::DryRun
    }

    pub(super) fn privileges(&self) -> &Privileges {
        &self.privileges
    }

    /// Waits until nobody else changes these.
    ///
    /// # Errors
    /// [`Error::Timeout`] when somebody does for too long, and those of any statement.
    pub(super) async fn lock(&self, locks: &[Lock]) -> Result<(), Error> {
        let mut locks = locks.to_vec();
        locks.sort_unstable();
        for lock in locks {
            let (kind, id) = lock.key();
            self.read("transaction.lock", LOCK, &[(&kind, Type::INT4), (&id, Type::INT4)], |_| Ok(()))
                .await?;
        }
        Ok(())
    }

    /// Runs a statement and turns its rows into `T`. `name` is what metrics and traces call it.
    ///
    /// # Errors
    /// See [`Error::of_write`].
    pub(super) async fn read<T>(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
        from_row: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, Error> {
        let statement = sql::render(statement, &self.privileges);
        let session = self.lease.session()?;
        let run = async {
            let rows = session.client().query_typed(&statement, parameters).await;
            let rows = rows.and_then(|rows| rows.iter().map(from_row).collect());
            rows.map_err(|error| Error::of_write(&error))
        };
        guarded(&self.lease, name, run).await
    }

    /// Runs a statement that changes rows; how many it has changed.
    ///
    /// # Errors
    /// See [`Error::of_write`].
    pub(super) async fn write(
        &self,
        name: &'static str,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<usize, Error> {
        self.read(name, statement, parameters, |_| Ok(())).await.map(|rows| rows.len())
    }

    /// Ends the transaction: for good when the change has been made, else as if it had never begun.
    ///
    /// # Errors
    /// What `outcome` says, or what keeps the transaction from being committed. When the session is lost in
    /// that very moment nobody can tell whether it was; repeating the change is safe.
    async fn end<T>(mut self, outcome: Result<T, ChangeError>) -> Result<T, ChangeError> {
        let end = if outcome.is_ok() && self.mode == Mode::Real { "COMMIT" } else { "ROLLBACK" };
        let session = self.lease.session()?;
        let ended =
            async { session.client().batch_execute(end).await.map_err(|error| Error::of_write(&error)) };
        let ended = guarded(&self.lease, "transaction.end", ended).await;
        self.open = ended.is_err();
        match (outcome, ended) {
            (Ok(_), Err(Error::Interrupted { reason })) if self.mode == Mode::Real => {
                Err(Error::Uncertain { reason }.into())
            }
            (Ok(_), Err(error @ Error::Silent { .. })) if self.mode == Mode::Real => {
                Err(Error::Uncertain { reason: error.to_string() }.into())
            }
            (Ok(_), Err(error)) => Err(error.into()),
            // How undoing failed says less than why it was undone.
            (outcome, _) => outcome,
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

/// Retool has written between our reading and our writing, under no lock of ours. Another try sees what
/// is there now.
pub(super) fn overtaken(what: &str) -> Error {
    Error::Interrupted { reason: format!("somebody else changed {what} in the same moment") }
}

/// The only row of a statement that always has one.
///
/// # Errors
/// [`Error::Statement`] when it has none.
pub(super) fn only<T>(rows: Vec<T>) -> Result<T, Error> {
    let nothing = || Error::Statement { reason: "a statement that always has a row gave none".to_owned() };
    rows.into_iter().next().ok_or_else(nothing)
}

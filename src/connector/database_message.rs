//! Database errors for operators: what happened, in which database, and which setting to change.
//!
//! The modules below know neither our flags nor how an agent reacts, so this module adds that advice.

use crate::postgres::error::PostgresError;
use crate::retool::error::DatabaseError;

/// The error in one line, with the fix if there is one.
pub(crate) fn database_message(error: &DatabaseError) -> String {
    match error {
        DatabaseError::Postgres(error) => postgres_message(error),
        DatabaseError::MissingPrivileges(missing) => missing.to_string(),
        DatabaseError::OtherVersion { absent } => format!(
            "this Retool is of a version that baton-retool does not know, older or newer than those it was made for: {}; ask for an update of baton-retool, and name the version of Retool",
            absent.join(", ")
        ),
    }
}

fn postgres_message(error: &PostgresError) -> String {
    use PostgresError::{
        BadValue, Connect, ConnectForbidden, Forbidden, Gone, Interrupted, Locked, LoginRefused,
        NoTransactions, PoolExhausted, ReadOnly, Refused, Silent, Statement, StillConnecting, Timeout,
        Uncertain, UnknownSchema,
    };
    match error {
        Connect { target, reason } => format!("cannot connect to the Retool database at {target}: {reason}"),
        StillConnecting { target, waited } => format!(
            "cannot connect to the Retool database at {target}: still connecting after {} s (--pool-wait-seconds)",
            waited.as_secs()
        ),
        LoginRefused { target, reason } => format!(
            "cannot connect to the Retool database at {target}: {reason}; check user and password in the connection string, or the password file"
        ),
        ConnectForbidden { .. } => error.to_string(),
        PoolExhausted { limit, waited } => format!(
            "no database connection came free within {} s: all {limit} are busy; raise pool_max_conns in the connection string or send fewer calls at once",
            waited.as_secs()
        ),
        Interrupted { reason } => format!("the Retool database broke off the statement: {reason}"),
        Uncertain { reason } => format!(
            "the Retool database broke off while a change was being made final: {reason}; asking again is safe and tells whether it was made"
        ),
        Timeout { reason } => format!(
            "the Retool database stopped a statement: {reason}; a statement may run for --statement-timeout-seconds or the role's own statement_timeout, whichever is lower, and wait for a lock for its lock_timeout"
        ),
        Locked { reason } => format!(
            "somebody else holds a lock in the Retool database for too long: {reason}; a change waits for a lock for 5 s at a time or the role's own lock_timeout, whichever is lower; nothing was changed, and asking again is safe"
        ),
        Silent { waited } => format!(
            "the Retool database did not answer a statement within {} s, its limit and some more: the server hangs or cannot be reached any more",
            waited.as_secs()
        ),
        Forbidden { reason } => format!("the Retool database refuses: {reason}"),
        ReadOnly { reason } => format!(
            "the Retool database takes no changes: {reason}; the connection string leads to a standby or the role is read-only: name the primary, or add target_session_attrs=read-write"
        ),
        NoTransactions { reason } => format!(
            "the pooler in front of the Retool database allows no transactions: {reason}; set pool_mode=transaction or session for this database in PgBouncer, or name Postgres itself in the connection string"
        ),
        Refused { reason } => format!("Retool's database refuses the change: {reason}"),
        Gone { reason } => format!("what the change is about was deleted from Retool meanwhile ({reason})"),
        BadValue { reason } => format!("a value does not fit Retool's database: {reason}"),
        UnknownSchema { reason } => format!(
            "this is not the database of a Retool that baton-retool knows: {reason}; check the database name in the connection string (a self-hosted Retool calls it hammerhead_production) and the role's search_path"
        ),
        Statement { reason } => format!("a statement failed in the Retool database: {reason}"),
    }
}

//! Database errors for operators: what happened, in which database, and which setting to change.
//!
//! The modules below depend neither on the flags of the program nor on how agents react, so this module adds the advice.

use crate::postgres::error::PostgresError;
use crate::retool::error::DatabaseError;
use crate::retool::shadowing_object::listed;

/// The error in one line, with the fix if there is one.
pub(crate) fn database_message(error: &DatabaseError) -> String {
    match error {
        DatabaseError::Postgres(error) => postgres_message(error),
        DatabaseError::MissingPrivileges(missing) => missing.to_string(),
        DatabaseError::ShadowingObjects { shadowing_objects } => format!(
            "nothing was changed, because triggers of Retool's tables could run code of other roles with the rights of this role: objects in the search_path share names with objects of Postgres or Retool: {}; drop or rename them, or, if the database needs them, give them to the owner of Retool's tables or make their owners members of that role; and revoke CREATE on the schema from the roles that own them",
            listed(shadowing_objects)
        ),
        DatabaseError::OtherVersion { absent } => format!(
            "baton-retool does not support this version of Retool, which is older or newer than the supported ones: {}; install a newer version of baton-retool, or report the version of Retool to its maintainers",
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
            "no database connection became free within {} s: all {limit} are busy; raise pool_max_conns in the connection string or send fewer calls at a time",
            waited.as_secs()
        ),
        Interrupted { reason, .. } => format!("the Retool database interrupted the statement: {reason}"),
        Uncertain { reason } => format!(
            "the Retool database interrupted the commit of a change: {reason}; retrying is safe and shows whether the change was made"
        ),
        Timeout { reason } => format!(
            "the Retool database stopped a statement: {reason}; a statement may run for --statement-timeout-seconds or the role's own statement_timeout, whichever is lower, and wait for a lock for its lock_timeout"
        ),
        Locked { reason } => format!(
            "another session holds a lock in the Retool database for too long: {reason}; a change waits for a lock for 5 s at a time or the role's own lock_timeout, whichever is lower; nothing was changed, and retrying is safe"
        ),
        Silent { waited } => format!(
            "the Retool database did not answer a statement within {} s, its timeout plus a margin: the server does not respond or is unreachable",
            waited.as_secs()
        ),
        Forbidden { reason } => format!("the Retool database denies access: {reason}"),
        ReadOnly { reason } => format!(
            "the Retool database accepts no changes: {reason}; the connection string leads to a standby or the role is read-only: set host to the primary, or add target_session_attrs=read-write"
        ),
        NoTransactions { reason } => format!(
            "the pooler in front of the Retool database allows no transactions: {reason}; set pool_mode=transaction or session for this database in PgBouncer, or connect to Postgres directly"
        ),
        Refused { reason } => format!("Retool's database refuses the change: {reason}"),
        Gone { reason } => {
            format!("an object of the change was deleted from Retool in the meantime ({reason})")
        }
        BadValue { reason } => format!("a value does not fit Retool's database: {reason}"),
        UnknownSchema { reason } => format!(
            "this is not a Retool database that baton-retool supports: {reason}; check the database name in the connection string (hammerhead_production for a self-hosted Retool) and the role's search_path"
        ),
        Statement { reason } => format!("a statement failed in the Retool database: {reason}"),
    }
}

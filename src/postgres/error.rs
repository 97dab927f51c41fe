//! What can go wrong between a client and its Postgres server. The messages state what happened; what to do about it
//! depends on the program and its settings, so that its own modules add that.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::postgres::reason::{Reason, reason, refused_by};

/// Why the database did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PostgresError {
    /// No session could be had: the server is down, unreachable, full or refuses the login.
    #[error("cannot connect to the database at {target}: {reason}")]
    Connect {
        /// Where to, without the password.
        target: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The server does not accept the password. Another attempt would send the same one.
    #[error("the database at {target} does not accept the password: {reason}")]
    LoginRefused {
        /// Where to, without the password.
        target: String,
        /// What the server said.
        reason: String,
    },
    /// The login was accepted, and the role may not connect to this database.
    #[error("the role {role} may not connect to the database {database}")]
    ConnectForbidden {
        /// The role.
        role: String,
        /// The database.
        database: String,
    },
    /// Opening a session took longer than a caller waits.
    #[error("cannot connect to the database at {target}: still connecting after {} s", waited.as_secs())]
    StillConnecting {
        /// Where to, without the password.
        target: String,
        /// How long the call waited.
        waited: Duration,
    },
    /// Every connection of the pool stayed busy.
    #[error(
        "no database connection came free within {} s: all {limit} are busy",
        waited.as_secs()
    )]
    PoolExhausted {
        /// How many connections the pool may hold.
        limit: u32,
        /// How long the call waited.
        waited: Duration,
    },
    /// The session ended or the server gave up on the statement; a retry can succeed.
    #[error("the database broke off the statement: {reason}")]
    Interrupted {
        /// The server's or the socket's own words.
        reason: Reason,
    },
    /// The session was lost while a change was being made final: it may have been, or not.
    #[error("the database broke off during a commit: {reason}")]
    Uncertain {
        /// The server's or the socket's own words.
        reason: Reason,
    },
    /// The statement ran longer than it may.
    #[error("the database stopped a statement: {reason}")]
    Timeout {
        /// The server's own words.
        reason: Reason,
    },
    /// Somebody else holds a lock for longer than a statement waits for one.
    #[error("somebody else holds a lock in the database for too long: {reason}")]
    Locked {
        /// The server's own words.
        reason: Reason,
    },
    /// The server said nothing at all, not even that the statement ran too long.
    #[error("the database did not answer a statement within {} s", waited.as_secs())]
    Silent {
        /// How long the call waited.
        waited: Duration,
    },
    /// The server refuses the role something for which we know no GRANT.
    #[error("the database refuses: {reason}")]
    Forbidden {
        /// The server's own words.
        reason: Reason,
    },
    /// The server does not take writes.
    #[error("the database takes no changes: {reason}")]
    ReadOnly {
        /// The server's own words.
        reason: Reason,
    },
    /// A pooler hands each statement to another session, so that no transaction is possible.
    #[error("the pooler in front of the database allows no transactions (statement pooling): {reason}")]
    NoTransactions {
        /// The pooler's own words.
        reason: Reason,
    },
    /// A trigger or a constraint refuses the change.
    #[error("the database refuses the change: {reason}")]
    Refused {
        /// The words of the trigger, or the name of the constraint.
        reason: Reason,
    },
    /// Something that the change is about was deleted in the same moment.
    #[error("a row that the change refers to does not exist ({reason})")]
    Gone {
        /// The constraint that noticed.
        reason: Reason,
    },
    /// A value does not fit its column.
    #[error("a value does not fit its column: {reason}")]
    BadValue {
        /// The kind of misfit; never the value.
        reason: Reason,
    },
    /// Tables or columns are not there.
    #[error("a table or column does not exist: {reason}")]
    UnknownSchema {
        /// What is missing.
        reason: Reason,
    },
    /// Anything else that the server or the driver says of a statement.
    #[error("a statement failed: {reason}")]
    Statement {
        /// The words of the server or the driver.
        reason: Reason,
    },
}

/// What a failure says about another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// The database was away or busy: later it may answer.
    Outage,
    /// The role or the server is not set up for it: the same until an operator has changed that.
    SetUp,
    /// The database's own rules or rows stand against it: the same until the request or the rows change.
    Refusal,
    /// Something is not as we know it.
    Fault,
}

impl PostgresError {
    /// What it says about another try.
    pub(crate) fn nature(&self) -> Nature {
        match self {
            Self::Connect { .. }
            | Self::StillConnecting { .. }
            | Self::PoolExhausted { .. }
            | Self::Interrupted { .. }
            | Self::Uncertain { .. }
            | Self::Timeout { .. }
            | Self::Locked { .. }
            | Self::Silent { .. } => Nature::Outage,
            Self::LoginRefused { .. }
            | Self::ConnectForbidden { .. }
            | Self::Forbidden { .. }
            | Self::ReadOnly { .. }
            | Self::NoTransactions { .. } => Nature::SetUp,
            Self::Refused { .. } | Self::Gone { .. } | Self::BadValue { .. } => Nature::Refusal,
            Self::UnknownSchema { .. } | Self::Statement { .. } => Nature::Fault,
        }
    }

    /// Whether a fresh connection may do better: the session was lost, not the statement refused.
    pub(crate) fn is_lost_session(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }

    /// Whether the role was refused something or could not see it, so that probing its privileges can
    /// name the GRANT.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::UnknownSchema { .. })
    }

    /// What happened, in one word for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::StillConnecting { .. } => "database_unreachable",
            Self::LoginRefused { .. } => "database_login_refused",
            Self::PoolExhausted { .. } => "pool_exhausted",
            Self::Interrupted { .. } => "database_interrupted",
            Self::Uncertain { .. } => "commit_uncertain",
            Self::Timeout { .. } => "statement_timeout",
            Self::Locked { .. } => "lock_timeout",
            Self::Silent { .. } => "database_silent",
            Self::ConnectForbidden { .. } => "missing_privileges",
            Self::Forbidden { .. } => "database_forbids",
            Self::ReadOnly { .. } => "database_read_only",
            Self::NoTransactions { .. } => "statement_pooling",
            Self::Refused { .. } => "database_refuses",
            Self::Gone { .. } => "gone",
            Self::BadValue { .. } => "bad_value",
            Self::UnknownSchema { .. } => "unknown_schema",
            Self::Statement { .. } => "statement_failed",
        }
    }

    /// Reads what the driver says of a statement that changes something.
    pub(crate) fn of_write(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else { return Self::of_statement(error) };
        let state = server.code();
        let named = || refused_by(server);
        match *state {
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly { reason: reason(error) },
            SqlState::RAISE_EXCEPTION => Self::Refused { reason: reason(error) },
            SqlState::FOREIGN_KEY_VIOLATION => Self::Gone { reason: named() },
            // Numbers come from a sequence, which gives none twice unless somebody has set it back.
            SqlState::UNIQUE_VIOLATION if server.constraint().is_some_and(|name| name.ends_with("_pkey")) => {
                let table = server.table().unwrap_or("the table");
                Self::Statement {
                    reason: format!(
                        "the sequence that numbers the rows of {table} is behind them ({}); set it as the owner of the table: SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}));",
                        named()
                    )
                    .into(),
                }
            }
            // Somebody else was there in the same moment; another try sees what is there now.
            SqlState::UNIQUE_VIOLATION => Self::Interrupted { reason: named() },
            ref other if other.code().starts_with("23") => Self::Refused { reason: named() },
            ref other if other.code().starts_with("22") => Self::BadValue { reason: reason(error) },
            _ => Self::of_statement(error),
        }
    }

    /// Reads what the driver says of a statement.
    pub(crate) fn of_statement(error: &tokio_postgres::Error) -> Self {
        let reason = reason(error);
        let Some(state) = error.code() else {
            return match error.source() {
                _ if error.is_closed() => Self::Interrupted { reason },
                Some(source) if source.is::<std::io::Error>() => Self::Interrupted { reason },
                _ => Self::Statement { reason },
            };
        };
        // How PgBouncer words it; the code is that of any other disagreement over the protocol.
        if error.as_db_error().is_some_and(|server| server.message().contains("statement pooling mode")) {
            return Self::NoTransactions { reason };
        }
        match *state {
            SqlState::QUERY_CANCELED => Self::Timeout { reason },
            SqlState::LOCK_NOT_AVAILABLE => Self::Locked { reason },
            SqlState::INSUFFICIENT_PRIVILEGE => Self::Forbidden { reason },
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INVALID_SCHEMA_NAME => {
                Self::UnknownSchema { reason }
            }
            SqlState::T_R_SERIALIZATION_FAILURE
            | SqlState::T_R_DEADLOCK_DETECTED
            | SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::DATABASE_DROPPED
            | SqlState::IDLE_SESSION_TIMEOUT
            | SqlState::TOO_MANY_CONNECTIONS => Self::Interrupted { reason },
            // Connection, resources, sessions that sat idle for too long, the machine below.
            ref other
                if ["08", "53", "25P03", "25P04", "58"]
                    .iter()
                    .any(|class| other.code().starts_with(class)) =>
            {
                Self::Interrupted { reason }
            }
            _ => Self::Statement { reason },
        }
    }
}

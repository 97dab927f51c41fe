//! Errors of calls to a Postgres server. The messages state what happened. How to fix it depends on the
//! program and its settings, so other modules add that.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::error::{Severity, SqlState};

use crate::postgres::reason::{Reason, of_function, reason, refused_by};

/// Why a call to the database failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PostgresError {
    /// No session could be opened: the server is down, unreachable, full or refuses the login.
    #[error("cannot connect to the database at {target}: {reason}")]
    Connect {
        /// The server, without the password.
        target: String,
        /// The error of the last attempt.
        reason: String,
    },
    /// The server does not accept the password. A retry would send the same password.
    #[error("the database at {target} does not accept the password: {reason}")]
    LoginRefused {
        /// The server, without the password.
        target: String,
        /// The server's message.
        reason: String,
    },
    /// The login was accepted, but the role may not connect to this database.
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
        /// The server, without the password.
        target: String,
        /// How long the call waited.
        waited: Duration,
    },
    /// Every connection of the pool stayed busy.
    #[error(
        "no database connection became free within {} s: all {limit} are busy",
        waited.as_secs()
    )]
    PoolExhausted {
        /// The maximum number of connections of the pool.
        limit: u32,
        /// How long the call waited.
        waited: Duration,
    },
    /// The session ended or the server rolled the statement back; a retry can succeed.
    #[error("the database interrupted the statement: {reason}")]
    Interrupted {
        /// The message of the server or the socket.
        reason: Reason,
        /// Whether the session ended, so that a retry needs a new one.
        session_lost: bool,
    },
    /// The session was lost during a commit. The change may have been made or not.
    #[error("the database interrupted a commit: {reason}")]
    Uncertain {
        /// The message of the server or the socket.
        reason: Reason,
    },
    /// The statement exceeded its timeout.
    #[error("the database stopped a statement: {reason}")]
    Timeout {
        /// The server's message.
        reason: Reason,
    },
    /// Another client holds a lock for longer than a statement waits.
    #[error("another session holds a lock in the database for too long: {reason}")]
    Locked {
        /// The server's message.
        reason: Reason,
    },
    /// The server did not answer at all, not even with a timeout of the statement.
    #[error("the database did not answer a statement within {} s", waited.as_secs())]
    Silent {
        /// How long the call waited.
        waited: Duration,
    },
    /// The server denies the role something, and no GRANT is known that would fix it.
    #[error("the database denies access: {reason}")]
    Forbidden {
        /// The server's message.
        reason: Reason,
    },
    /// The server does not accept writes.
    #[error("the database accepts no changes: {reason}")]
    ReadOnly {
        /// The server's message.
        reason: Reason,
    },
    /// A pooler assigns each statement to another session, so transactions are impossible.
    #[error("the pooler in front of the database allows no transactions (statement pooling): {reason}")]
    NoTransactions {
        /// The pooler's message.
        reason: Reason,
    },
    /// A trigger or a constraint rejects the change.
    #[error("the database refuses the change: {reason}")]
    Refused {
        /// The trigger's message, or the name of the constraint.
        reason: Reason,
    },
    /// An object of the change was deleted at the same time.
    #[error("a row that the change refers to does not exist ({reason})")]
    Gone {
        /// The violated constraint.
        reason: Reason,
    },
    /// A value does not fit its column.
    #[error("a value does not fit its column: {reason}")]
    BadValue {
        /// The kind of mismatch, never the value.
        reason: Reason,
    },
    /// Tables or columns are missing.
    #[error("a table or column does not exist: {reason}")]
    UnknownSchema {
        /// The missing tables or columns.
        reason: Reason,
    },
    /// Any other error of a statement, from the server or the driver.
    #[error("a statement failed: {reason}")]
    Statement {
        /// The message of the server or the driver.
        reason: Reason,
    },
}

/// How an error affects a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryClass {
    /// The database was unavailable or busy; a later retry can succeed.
    Outage,
    /// The role or the server is not set up for the call. A retry fails until an operator changes that.
    SetUp,
    /// The database's rules or rows do not allow it. A retry fails until the request or the rows change.
    Refusal,
    /// Something does not match what this program expects.
    Fault,
}

impl PostgresError {
    /// How the error affects a retry.
    pub(crate) fn retry_class(&self) -> RetryClass {
        match self {
            Self::Connect { .. }
            | Self::StillConnecting { .. }
            | Self::PoolExhausted { .. }
            | Self::Interrupted { .. }
            | Self::Uncertain { .. }
            | Self::Timeout { .. }
            | Self::Locked { .. }
            | Self::Silent { .. } => RetryClass::Outage,
            Self::LoginRefused { .. }
            | Self::ConnectForbidden { .. }
            | Self::Forbidden { .. }
            | Self::ReadOnly { .. }
            | Self::NoTransactions { .. } => RetryClass::SetUp,
            Self::Refused { .. } | Self::Gone { .. } | Self::BadValue { .. } => RetryClass::Refusal,
            Self::UnknownSchema { .. } | Self::Statement { .. } => RetryClass::Fault,
        }
    }

    /// Whether a new connection may succeed: the session was lost, and the statement was not refused.
    pub(crate) fn is_lost_session(&self) -> bool {
        matches!(self, Self::Interrupted { session_lost: true, .. })
    }

    /// Whether the statement may succeed on the same session: the server rolled it back, for example because of
    /// another session.
    pub(crate) fn is_rolled_back(&self) -> bool {
        matches!(self, Self::Interrupted { session_lost: false, .. })
    }

    /// Whether the server refused access or hid an object, so that a probe of the privileges can name the
    /// missing GRANT.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::UnknownSchema { .. })
    }

    /// A short code for logs.
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

    /// Converts the driver's error of a statement that writes.
    pub(crate) fn of_write(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else { return Self::of_statement(error) };
        let state = server.code();
        let named = || refused_by(server);
        match *state {
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly { reason: reason(error) },
            SqlState::RAISE_EXCEPTION => Self::Refused { reason: reason(error) },
            SqlState::FOREIGN_KEY_VIOLATION => Self::Gone { reason: named() },
            // Primary keys come from a sequence, which returns no number twice unless it was reset. A function
            // can raise the same error with any text in the names.
            SqlState::UNIQUE_VIOLATION
                if !of_function(server)
                    && server.constraint().is_some_and(|name| name.ends_with("_pkey")) =>
            {
                let table = server.table().unwrap_or("the table");
                Self::Statement {
                    reason: format!(
                        "the sequence that numbers the rows of {table} is behind their ids ({}); set it as the owner of the table: SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}));",
                        named()
                    )
                    .into(),
                }
            }
            // The table can be any table that a trigger writes.
            SqlState::UNIQUE_VIOLATION if server.constraint().is_some_and(|name| name.ends_with("_pkey")) => {
                Self::Statement { reason: named() }
            }
            // Another client wrote the row at the same time; a retry sees the new state.
            SqlState::UNIQUE_VIOLATION => {
                Self::Interrupted { reason: named(), session_lost: !session_continues(error) }
            }
            ref other if other.code().starts_with("23") => Self::Refused { reason: named() },
            ref other if other.code().starts_with("22") => Self::BadValue { reason: reason(error) },
            _ => Self::of_statement(error),
        }
    }

    /// Converts the driver's error of a commit. The commit may have taken effect, unless the server reports an
    /// error after which the session continues: it has then rolled back.
    pub(crate) fn of_commit(error: &tokio_postgres::Error) -> Self {
        match Self::of_write(error) {
            Self::Interrupted { reason, .. } | Self::Statement { reason } if !session_continues(error) => {
                Self::Uncertain { reason }
            }
            other => other,
        }
    }

    /// Converts the driver's error of a statement.
    pub(crate) fn of_statement(error: &tokio_postgres::Error) -> Self {
        let reason = reason(error);
        let session_lost = !session_continues(error);
        let Some(state) = error.code() else {
            return match error.source() {
                _ if error.is_closed() => Self::Interrupted { reason, session_lost },
                Some(source) if source.is::<std::io::Error>() => Self::Interrupted { reason, session_lost },
                _ => Self::Statement { reason },
            };
        };
        // PgBouncer's message. Its code is the same as for other protocol errors.
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
            | SqlState::TOO_MANY_CONNECTIONS => Self::Interrupted { reason, session_lost },
            // Connection, resources, sessions that were idle for too long, and system errors of the server.
            ref other
                if ["08", "53", "25P03", "25P04", "58"]
                    .iter()
                    .any(|class| other.code().starts_with(class)) =>
            {
                Self::Interrupted { reason, session_lost }
            }
            _ => Self::Statement { reason },
        }
    }
}

/// Whether the server itself reports that a statement failed and was rolled back, and that the session continues. A
/// pooler reports the loss of its connection to the server with a code of class 08.
pub(super) fn session_continues(error: &tokio_postgres::Error) -> bool {
    let is_of_session = |code: &str| code.starts_with("08") || code.starts_with("57P");
    error.as_db_error().is_some_and(|server| {
        server.parsed_severity() == Some(Severity::Error) && !is_of_session(server.code().code())
    })
}

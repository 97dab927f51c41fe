//! Logging in, and what the server has against it.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::identifier::quoted;
use crate::postgres::opener::{Failed, Opener};
use crate::postgres::pool::Timeouts;
use crate::postgres::tls::{TlsError, connector};

/// Why the server does not let the role in, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginProblem {
    /// Wrong or expired password, none set, or no such role: the server says the same of all.
    Password,
    /// The settings have no password, and the server wants one.
    NoPassword,
    /// There is no such role. The server says so only where it asks for no password.
    NoRole,
    /// The role may not log in.
    NoLogin,
    /// The method that `pg_hba.conf` has for this login wants something else than a password.
    OtherMethod,
    /// The rules of the server (`pg_hba.conf`) have no place for this role, database, address and encryption.
    NoRule,
    /// There is no such database.
    NoDatabase,
    /// The role may not enter the database.
    NoConnect {
        /// What to run.
        grant: String,
    },
    /// The role, the database or the server has no connection left.
    Full,
    /// The database takes no sessions.
    Closed {
        /// What to run.
        statement: String,
    },
    /// The server starts, stops or recovers.
    Starting,
    /// The server is of another kind than `target_session_attrs` wants.
    OtherKind,
    /// Nothing came back in time.
    Silent,
    /// What answers is not Postgres.
    NotPostgres,
    /// Something else.
    Other,
}

/// A way to connect that led nowhere.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// Which, for people.
    pub attempt: String,
    /// Why, in the server's own words or ours.
    pub reason: String,
    /// What that means.
    pub problem: LoginProblem,
}

/// What the driver says of bytes that are no message of Postgres.
const NOT_UNDERSTOOD: [&str; 3] =
    ["error parsing response from server", "unexpected message from server", "unknown message tag"];

/// Logs in as the program does: the ways to connect in their order, until one succeeds. That way, and those
/// that were tried before it.
///
/// # Errors
/// The certificates that the connection string names cannot be used. No way that works is no error: then the
/// first half is `None`.
pub(crate) async fn log_in(
    settings: Arc<ConnectionSettings>,
    timeouts: Timeouts,
) -> Result<(Option<String>, Vec<Refused>), TlsError> {
    let tls = connector(&settings.ssl)?;
    let opener = Opener {
        connect_timeout: settings.connect_timeout.unwrap_or(timeouts.connect),
        statement_timeout: timeouts.statement,
        settings: Arc::clone(&settings),
        tls,
    };
    let mut refused = Vec::new();
    for attempt in settings.attempts() {
        match opener.try_once(&attempt).await {
            Ok(true) => return Ok((Some(attempt.to_string()), refused)),
            Ok(false) => refused.push(Refused {
                attempt: attempt.to_string(),
                reason: "the server is not of the kind that target_session_attrs asks for".to_owned(),
                problem: LoginProblem::OtherKind,
            }),
            Err(failed) => {
                let problem = problem_of(&failed, &settings);
                refused.push(Refused { attempt: attempt.to_string(), reason: failed.reason, problem });
                if failed.login_refused || failed.connect_forbidden {
                    break;
                }
            }
        }
    }
    Ok((None, refused))
}

fn problem_of(failed: &Failed, settings: &ConnectionSettings) -> LoginProblem {
    let says = |words: &str| failed.reason.contains(words);
    let Some(state) = &failed.state else {
        return match () {
            () if says("password missing") => LoginProblem::NoPassword,
            () if says("no answer within") => LoginProblem::Silent,
            () if NOT_UNDERSTOOD.iter().any(|words| says(words)) => LoginProblem::NotPostgres,
            () => LoginProblem::Other,
        };
    };
    let database = quoted(&settings.database);
    match *state {
        SqlState::INVALID_PASSWORD => LoginProblem::Password,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => match () {
            () if says("pg_hba.conf") => LoginProblem::NoRule,
            () if says("is not permitted to log in") => LoginProblem::NoLogin,
            () if says("does not exist") => LoginProblem::NoRole,
            () => LoginProblem::OtherMethod,
        },
        SqlState::INVALID_CATALOG_NAME => LoginProblem::NoDatabase,
        SqlState::INSUFFICIENT_PRIVILEGE => LoginProblem::NoConnect {
            grant: format!("GRANT CONNECT ON DATABASE {database} TO {};", quoted(&settings.user)),
        },
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
            LoginProblem::Closed { statement: format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true;") }
        }
        SqlState::CANNOT_CONNECT_NOW => LoginProblem::Starting,
        SqlState::TOO_MANY_CONNECTIONS => LoginProblem::Full,
        _ => LoginProblem::Other,
    }
}

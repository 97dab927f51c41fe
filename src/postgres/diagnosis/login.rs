//! The login, and the server's reasons to refuse it.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::postgres::connection_string::ConnectionSettings;
use crate::postgres::identifier::quoted;
use crate::postgres::opener::{Failed, Opener};
use crate::postgres::pool::Timeouts;
use crate::postgres::tls::{TlsError, connector};

/// Why the server refuses the login, as far as it reports a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginProblem {
    /// The password is wrong, expired or not set, or the role does not exist. The server reports all of these
    /// in the same way.
    Password,
    /// The settings have no password, but the server requires one.
    NoPassword,
    /// The role does not exist. The server reports this only if it requires no password.
    NoRole,
    /// The role may not log in.
    NoLogin,
    /// The method in `pg_hba.conf` for this login requires something other than a password.
    OtherMethod,
    /// No rule of the server (`pg_hba.conf`) matches this role, database, address and encryption.
    NoRule,
    /// The database does not exist.
    NoDatabase,
    /// The role may not connect to the database.
    NoConnect {
        /// The GRANT to run.
        grant: String,
    },
    /// The connection limit of the role, the database or the server is reached.
    Full,
    /// The database does not accept connections.
    Closed {
        /// The statement to run.
        statement: String,
    },
    /// The server is starting, stopping or recovering.
    Starting,
    /// The server is not of the kind that `target_session_attrs` requires.
    OtherKind,
    /// The server did not answer before the timeout.
    Silent,
    /// The server is not Postgres.
    NotPostgres,
    /// Any other problem.
    Other,
}

/// A failed attempt to connect.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// A readable description of the attempt.
    pub attempt: String,
    /// The reason, in the server's text or ours.
    pub reason: String,
    /// The problem behind the reason.
    pub problem: LoginProblem,
}

/// The driver's errors for bytes that are not messages of Postgres.
const NOT_UNDERSTOOD: [&str; 3] =
    ["error parsing response from server", "unexpected message from server", "unknown message tag"];

/// Logs in as the program does, with each way to connect in order, until one succeeds. Returns the successful
/// attempt and the failed attempts before it.
///
/// # Errors
/// The certificates that the connection string names are unusable. If all attempts fail, that is not an
/// error: the first value is `None`.
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
                reason: "the server does not match target_session_attrs".to_owned(),
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

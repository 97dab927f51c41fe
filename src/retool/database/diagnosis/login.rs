//! Logging in, and what the server has against it.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::retool::database::Timeouts;
use crate::retool::database::connection_string::ConnectionSettings;
use crate::retool::database::identifier::quoted;
use crate::retool::database::session::{Failed, Opener};
use crate::retool::database::tls::{TlsError, connector};

/// Why the server does not let the role in, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginProblem {
    /// Wrong password or no such role: the server says the same of both.
    Password,
    /// The settings have no password, and the server wants one.
    NoPassword,
    /// The role may not log in.
    NoLogin,
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
    /// The server is of another kind than `target_session_attrs` wants.
    OtherKind,
    /// Something else.
    Other,
}

/// A way to connect that led nowhere.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Which, for people.
    pub attempt: String,
    /// Why, in the server's own words or ours.
    pub reason: String,
    /// What that means.
    pub problem: LoginProblem,
}

/// Logs in as the program does: the ways to connect in their order, until one succeeds. That way, and those
/// that were tried before it.
///
/// # Errors
/// The certificates that the connection string names cannot be used. No way that works is no error: then the
/// first half is `None`.
pub async fn log_in(
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
    let Some(state) = &failed.state else {
        return if failed.reason.contains("password missing") {
            LoginProblem::NoPassword
        } else {
            LoginProblem::Other
        };
    };
    match *state {
        SqlState::INVALID_PASSWORD => LoginProblem::Password,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION if failed.reason.contains("pg_hba.conf") => {
            LoginProblem::NoRule
        }
        // Only this code, of those that mean the login, says it of a known role.
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => LoginProblem::NoLogin,
        SqlState::INVALID_CATALOG_NAME => LoginProblem::NoDatabase,
        SqlState::INSUFFICIENT_PRIVILEGE => LoginProblem::NoConnect {
            grant: format!(
                "GRANT CONNECT ON DATABASE {} TO {};",
                quoted(&settings.database),
                quoted(&settings.user)
            ),
        },
        SqlState::TOO_MANY_CONNECTIONS => LoginProblem::Full,
        _ => LoginProblem::Other,
    }
}

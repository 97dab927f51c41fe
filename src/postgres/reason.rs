//! The reason of a failure as the server or the driver reports it, safe to log.

use std::error::Error as _;
use std::fmt;

use tokio_postgres::error::DbError;

use crate::postgres::tls::CertificateProblem;
use crate::private_text::PrivateText;

/// Why a statement or a session failed.
///
/// Functions in the database choose their own error messages, and triggers of Retool name users in them. The
/// message of such an error is therefore [`PrivateText`]: the caller sees it, and the log has only the
/// SQLSTATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    said: Option<PrivateText>,
    known: String,
}

impl Reason {
    /// The message of a database function with its code.
    fn of_function(server: &DbError) -> Self {
        Self { said: Some(server.message().into()), known: sqlstate(server) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => write!(f, "{} ({})", said.unquoted(), self.known),
            None => f.write_str(&self.known),
        }
    }
}

impl From<String> for Reason {
    fn from(known: String) -> Self {
        Self { said: None, known }
    }
}

impl From<&str> for Reason {
    fn from(known: &str) -> Self {
        known.to_owned().into()
    }
}

/// The driver's error in one line: the server's message with its code, or the chain of causes. The driver
/// never puts a password into either. Messages about values (classes 22 and 23) quote the values, so they are
/// replaced by the code. Other messages have row data only in the detail, which is left out.
pub(crate) fn reason(error: &tokio_postgres::Error) -> Reason {
    if let Some(server) = error.as_db_error() {
        if of_function(server) {
            return Reason::of_function(server);
        }
        let state = server.code().code();
        if ["22", "23"].iter().any(|class| state.starts_with(class)) {
            return format!("a value does not fit the statement ({})", sqlstate(server)).into();
        }
        return format!("{} ({})", server.message(), sqlstate(server)).into();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = match CertificateProblem::of(inner) {
            Some(problem) => format!("{problem}; {}", problem.fix()),
            None => inner.to_string(),
        };
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text.into()
}

/// The violated constraint, or the table and the column of a rejected write, with the code. They are more
/// useful than the message, which quotes the row.
pub(crate) fn refused_by(server: &DbError) -> Reason {
    if of_function(server) {
        return Reason::of_function(server);
    }
    let state = sqlstate(server);
    match (server.constraint(), server.table(), server.column()) {
        (Some(constraint), ..) => format!("{constraint}, {state}"),
        (None, Some(table), Some(column)) => {
            format!("column \"{column}\" of table {table} needs a value, {state}")
        }
        (None, ..) => state,
    }
    .into()
}

/// Whether the message comes from a database function: only for these errors, the server reports a context.
pub(crate) fn of_function(server: &DbError) -> bool {
    server.where_().is_some_and(|place| !place.is_empty())
}

fn sqlstate(server: &DbError) -> String {
    format!("SQLSTATE {}", server.code().code())
}

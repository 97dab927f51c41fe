//! What the server or the driver says of a failure, safe to log.

use std::error::Error as _;
use std::fmt;

use tokio_postgres::error::DbError;

use crate::postgres::tls::CertificateProblem;
use crate::private_text::PrivateText;

/// Why a statement or a session failed.
///
/// Functions of the database word their errors as they like, and triggers of Retool name people in them. So the words
/// of such an error are [`PrivateText`]: the caller reads them, and a log has the SQLSTATE only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    said: Option<PrivateText>,
    known: String,
}

impl Reason {
    /// What a function of the database says, and the code that came with it.
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

/// The driver's error in one line: the server's message with its code, or the chain of causes. The
/// driver never puts a password into either. Messages about values (classes 22 and 23) quote them, so of
/// these there is the code only; a row's contents stand otherwise in the detail, which is left out.
pub(crate) fn reason(error: &tokio_postgres::Error) -> Reason {
    if let Some(server) = error.as_db_error() {
        if of_function(server) {
            return Reason::of_function(server);
        }
        let state = server.code().code();
        if ["22", "23"].iter().any(|class| state.starts_with(class)) {
            return format!("a value is not as the statement needs it ({})", sqlstate(server)).into();
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

/// The constraint, or the table and the column, that a write was refused for, and the code. They say more than
/// the words, which quote the row.
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

/// Whether the words are those of a function: only for such errors the server says where they happened.
fn of_function(server: &DbError) -> bool {
    server.where_().is_some_and(|place| !place.is_empty())
}

fn sqlstate(server: &DbError) -> String {
    format!("SQLSTATE {}", server.code().code())
}

//! Errors in a connection string and in the files and variables that complete it.
//!
//! No message repeats an unrecognized value, because it may be a misplaced password.

use std::{fmt, io, path::PathBuf};

use crate::operator_file::shown;

/// Why [`ConnectionSettings`](crate::postgres::connection_string::ConnectionSettings) cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionStringError {
    /// The keyword form contains text that is not `keyword=value`.
    #[error(
        "the connection string is not a list of keyword=value: word {position} has no equals sign (a value \
         with spaces needs single quotes); the other form begins with postgres://"
    )]
    NoEqualsSign {
        /// The position of the setting, counted from 1.
        position: usize,
    },
    /// The keyword form ends inside a quoted value.
    #[error("the connection string ends inside the quoted value of setting {position}")]
    OpenQuote {
        /// The position of the setting, counted from 1.
        position: usize,
    },
    /// The keyword form ends with a backslash.
    #[error("the connection string ends with a backslash that escapes nothing")]
    LoneBackslash,
    /// A part of the URL form is invalid.
    #[error("the connection URL has {part} that cannot be read: {expected}")]
    Url {
        /// The part, with an article.
        part: &'static str,
        /// The valid form.
        expected: &'static str,
    },
    /// A key is not a valid name.
    #[error(
        "a setting {origin} has a name that is neither a connection setting nor a Postgres parameter; the \
         name is not shown, because it may contain part of a password"
    )]
    BadName {
        /// The source of the setting.
        origin: Origin,
    },
    /// A key is almost the name of a setting.
    #[error("{key} {origin} is not a connection setting; did you mean {suggestion}?")]
    Misspelled {
        /// The key as given.
        key: String,
        /// The source of the setting.
        origin: Origin,
        /// The nearest setting.
        suggestion: &'static str,
    },
    /// A setting of libpq requests something that this program does not support (decision refused-keys).
    #[error("{key} {origin} is not supported{}", only(.accepted))]
    Unsupported {
        /// The setting.
        key: String,
        /// The source of the setting.
        origin: Origin,
        /// The values that match the fixed behavior of the program; may be empty.
        accepted: &'static [&'static str],
    },
    /// The setting does not accept the value.
    #[error("{key} {origin} must be {expected}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// The source of the setting.
        origin: Origin,
        /// The valid values.
        expected: &'static str,
    },
    /// A value contains a NUL byte, which the Postgres protocol cannot carry.
    #[error("{key} {origin} contains a NUL character")]
    Nul {
        /// The setting.
        key: String,
        /// The source of the setting.
        origin: Origin,
    },
    /// No database is set.
    #[error("the database name is missing: set dbname in the connection string, or PGDATABASE")]
    NoDatabase,
    /// No user is set, and the operating system has no name for the user of this process.
    #[error("the user name is missing: set user in the connection string, or PGUSER")]
    NoUser,
    /// A list that belongs to the list of hosts has another length.
    #[error("{key} lists {given} entries for {hosts} hosts: set {wanted}")]
    ListLength {
        /// The list.
        key: &'static str,
        /// Its length.
        given: usize,
        /// The number of hosts.
        hosts: usize,
        /// The valid lengths.
        wanted: &'static str,
    },
    /// Only the certificate or only the key of a client certificate is set.
    #[error("{given} is set without {missing}: a client certificate needs both")]
    HalfIdentity {
        /// The setting that is set.
        given: &'static str,
        /// The setting that is missing.
        missing: &'static str,
    },
    /// The platform's certificate authorities are requested without verification of the server's name.
    #[error(
        "sslrootcert=system needs sslmode=verify-full: anyone can get a certificate from a public certificate \
         authority, so without the name it proves nothing"
    )]
    WeakSystemRoots,
    /// The limits of the pool contradict each other.
    #[error("pool_min_conns ({min}) is larger than pool_max_conns ({max})")]
    PoolBounds {
        /// The lower bound.
        min: u32,
        /// The upper bound.
        max: u32,
    },
    /// A service is set, but there is no service file.
    #[error("service is set, but there is no service file: set servicefile or PGSERVICEFILE")]
    NoServiceFile,
    /// The service file cannot be read.
    #[error("the service file {} (servicefile) cannot be read: {source}", shown(.path))]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line of the service file is invalid.
    #[error("line {line} of the service file {} is neither [service], keyword=value nor a comment", shown(.path))]
    ServiceFileLine {
        /// The file.
        path: PathBuf,
        /// The line number, counted from 1.
        line: usize,
    },
    /// A service refers to another service.
    #[error("line {line} of the service file {} names another service, which is not supported", shown(.path))]
    NestedService {
        /// The file.
        path: PathBuf,
        /// The line number, counted from 1.
        line: usize,
    },
    /// The service file has no such service.
    #[error("the service file {} has no section for the service set {origin}", shown(.path))]
    NoSuchService {
        /// The file.
        path: PathBuf,
        /// The source of the service's name.
        origin: Origin,
    },
}

fn only(accepted: &[&str]) -> String {
    if accepted.is_empty() {
        String::from(" by this program: remove it")
    } else {
        format!(" by this program, except with: {}", accepted.join(", "))
    }
}

/// The source of a setting; `Display` continues a sentence that begins with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The connection string itself.
    ConnectionString,
    /// A section of the service file.
    ServiceFile,
    /// An environment variable with this name.
    Environment(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnectionString => f.write_str("in the connection string"),
            Self::ServiceFile => f.write_str("in the service file"),
            Self::Environment(variable) => write!(f, "from the environment variable {variable}"),
        }
    }
}

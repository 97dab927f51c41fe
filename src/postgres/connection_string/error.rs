//! What can be wrong with a connection string and with the files and variables that complete it.
//!
//! No message repeats a value that is not understood, since it may well be a password in the wrong place.

use std::{fmt, io, path::PathBuf};

/// Why no [`ConnectionSettings`](crate::postgres::connection_string::ConnectionSettings) could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionStringError {
    /// The keyword form has something that is not `keyword=value`.
    #[error(
        "the connection string is not a list of keyword=value: word {position} has no equals sign (a value \
         with spaces needs single quotes); the other form begins with postgres://"
    )]
    NoEqualsSign {
        /// Which setting, counted from 1.
        position: usize,
    },
    /// The keyword form ends inside a quoted value.
    #[error("the connection string ends inside the quoted value of setting {position}")]
    OpenQuote {
        /// Which setting, counted from 1.
        position: usize,
    },
    /// The keyword form ends with a backslash.
    #[error("the connection string ends with a backslash that escapes nothing")]
    LoneBackslash,
    /// A part of the URL form cannot be read.
    #[error("the connection URL has {part} that cannot be read: {expected}")]
    Url {
        /// Which part, with an article.
        part: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A key that is no name at all.
    #[error(
        "a setting {origin} has a name that is neither a connection setting nor a Postgres parameter; the \
         name is withheld since it may hold part of a password"
    )]
    BadName {
        /// Where it was given.
        origin: Origin,
    },
    /// A key that is almost the name of a setting.
    #[error("{key} {origin} is not a connection setting; did you mean {suggestion}?")]
    Misspelled {
        /// The key as given.
        key: String,
        /// Where it was given.
        origin: Origin,
        /// The nearest setting.
        suggestion: &'static str,
    },
    /// A setting of libpq that asks for something this program cannot do.
    #[error("{key} {origin} is not supported{}", only(.accepted))]
    Unsupported {
        /// The setting.
        key: String,
        /// Where it was given.
        origin: Origin,
        /// The values that describe what the program does anyway; may be empty.
        accepted: &'static [&'static str],
    },
    /// A value that the setting does not take.
    #[error("{key} {origin} must be {expected}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Where it was given.
        origin: Origin,
        /// What would be right.
        expected: &'static str,
    },
    /// A value with a NUL byte, which the Postgres protocol cannot carry.
    #[error("{key} {origin} contains a NUL character")]
    Nul {
        /// The setting.
        key: String,
        /// Where it was given.
        origin: Origin,
    },
    /// No database was named anywhere.
    #[error("no database is named: set dbname in the connection string, or PGDATABASE")]
    NoDatabase,
    /// No user was named, and the operating system has no name for the one running this program.
    #[error("no user is named: set user in the connection string, or PGUSER")]
    NoUser,
    /// A list that must go with the list of hosts has another length.
    #[error("{key} lists {given} entries for {hosts} hosts: give {wanted}")]
    ListLength {
        /// The list.
        key: &'static str,
        /// Its length.
        given: usize,
        /// How many hosts there are.
        hosts: usize,
        /// Which lengths are right.
        wanted: &'static str,
    },
    /// One half of a client certificate was given.
    #[error("{given} is set without {missing}: a client certificate needs both")]
    HalfIdentity {
        /// The setting that is there.
        given: &'static str,
        /// The setting that is not.
        missing: &'static str,
    },
    /// The platform's certificate authorities were asked for without checking the server's name.
    #[error(
        "sslrootcert=system needs sslmode=verify-full: anyone can get a certificate from a public authority, \
         so without the name it proves nothing"
    )]
    WeakSystemRoots,
    /// The pool's bounds contradict each other.
    #[error("pool_min_conns ({min}) is larger than pool_max_conns ({max})")]
    PoolBounds {
        /// The lower bound.
        min: u32,
        /// The upper bound.
        max: u32,
    },
    /// A service was named, but there is no file to find it in.
    #[error("service is set, but there is no service file: set servicefile or PGSERVICEFILE")]
    NoServiceFile,
    /// The service file cannot be read.
    #[error("the service file {} (servicefile) cannot be read: {source}", .path.display())]
    ServiceFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of the service file is not understood.
    #[error("line {line} of the service file {} is neither [service], keyword=value nor a comment", .path.display())]
    ServiceFileLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A service points at another service.
    #[error("line {line} of the service file {} names another service, which services cannot do", .path.display())]
    NestedService {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// The service file lacks the service.
    #[error("the service file {} has no section for the service that is asked for {origin}", .path.display())]
    NoSuchService {
        /// The file.
        path: PathBuf,
        /// Where the service was named.
        origin: Origin,
    },
}

fn only(accepted: &[&str]) -> String {
    if accepted.is_empty() {
        String::from(" by this program: remove it")
    } else {
        format!(" by this program, other than as: {}", accepted.join(", "))
    }
}

/// Where a setting was given; reads as the end of "`key` ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The connection string itself.
    ConnectionString,
    /// A section of the service file.
    ServiceFile,
    /// An environment variable, by name.
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

//! The environment of a connection string: variables, the user's files, sockets, processors.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    thread,
};

use crate::postgres::connection_string::error::{ConnectionStringError, Origin};
use crate::postgres::connection_string::keys::VARIABLES;
use crate::postgres::connection_string::layers::Layer;

/// The variables that turn a protection off if they are ignored.
const PROTECTING: [&str; 3] = ["PGCHANNELBINDING", "PGSSLMODE", "PGSSLROOTCERT"];

/// Socket directories of Postgres packages, the most likely first.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// Everything outside the string that
/// [`ConnectionSettings::parse`](crate::postgres::connection_string::ConnectionSettings::parse) reads.
///
/// The default is an empty environment: no variables, no home directory, no user, no sockets.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// The environment variables by name. Only libpq's variables (such as `PGHOST`) are read.
    pub variables: BTreeMap<String, String>,
    /// The home directory, with `.pgpass`, `.pg_service.conf` and `.postgresql`.
    pub home: Option<PathBuf>,
    /// The name of the operating system's user, which is the default database user.
    pub user: Option<String>,
    /// The directories to search for a server's socket if no host is set, in order.
    pub socket_directories: Vec<PathBuf>,
    /// The number of available processors, which sizes the pool.
    pub processors: u32,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        let variables = VARIABLES.iter().filter_map(|(variable, _)| {
            std::env::var_os(variable)
                .map(|value| ((*variable).to_owned(), value.to_string_lossy().into_owned()))
        });
        Self {
            variables: variables.collect(),
            home: std::env::home_dir(),
            user: whoami::username().ok(),
            socket_directories: SOCKET_DIRECTORIES.map(PathBuf::from).to_vec(),
            processors: thread::available_parallelism()
                .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
        }
    }

    /// The settings from the variables. An empty variable counts as absent, except those that request a protection: like
    /// an empty value in the connection string, they are errors.
    pub(crate) fn layer(&self) -> Result<Layer, ConnectionStringError> {
        Layer::new(VARIABLES.iter().filter_map(|(variable, key)| {
            let value = self.variables.get(*variable)?;
            if value.is_empty() && !PROTECTING.contains(variable) {
                return None;
            }
            Some(((*key).to_owned(), value.clone(), Origin::Environment(variable)))
        }))
    }

    /// A file in the home directory.
    pub(crate) fn at_home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(file))
    }

    /// The first directory with the socket of a server on `port`.
    pub(crate) fn socket_directory(&self, port: u16) -> Option<&Path> {
        let socket = format!(".s.PGSQL.{port}");
        self.socket_directories
            .iter()
            .map(PathBuf::as_path)
            .find(|directory| directory.join(&socket).exists())
    }
}

/// Shows only the names of the variables, because `PGPASSWORD` is one of them.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .field("user", &self.user)
            .field("socket_directories", &self.socket_directories)
            .field("processors", &self.processors)
            .finish()
    }
}

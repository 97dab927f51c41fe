//! What surrounds a connection string: variables, the user's files, sockets, processors.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    thread,
};

use crate::postgres::connection_string::error::{ConnectionStringError, Origin};
use crate::postgres::connection_string::keys::VARIABLES;
use crate::postgres::connection_string::layers::Layer;

/// Where Postgres packages put their sockets, the likeliest first.
const SOCKET_DIRECTORIES: [&str; 3] = ["/var/run/postgresql", "/private/tmp", "/tmp"];

/// Everything outside the string that [`ConnectionSettings::parse`](crate::postgres::connection_string::ConnectionSettings::parse) looks at.
///
/// The default is an empty world: no variables, no home, no user, no sockets.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    /// The environment variables by name; only libpq's (`PGHOST` and so on) are looked at.
    pub variables: BTreeMap<String, String>,
    /// The home directory, where `.pgpass`, `.pg_service.conf` and `.postgresql` are looked for.
    pub home: Option<PathBuf>,
    /// The name of the operating system's user, the default database user.
    pub user: Option<String>,
    /// Where to look for a server's socket when no host is named, in order.
    pub socket_directories: Vec<PathBuf>,
    /// How many processors there are to use, which sizes the pool.
    pub processors: u32,
}

impl Environment {
    /// The world this process runs in.
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

    /// The settings that the variables make; an empty variable counts as absent.
    pub(crate) fn layer(&self) -> Result<Layer, ConnectionStringError> {
        Layer::new(VARIABLES.iter().filter_map(|(variable, key)| {
            let value = self.variables.get(*variable).filter(|value| !value.is_empty())?;
            Some(((*key).to_owned(), value.clone(), Origin::Environment(variable)))
        }))
    }

    /// A file under the home directory.
    pub(crate) fn at_home(&self, file: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(file))
    }

    /// The first directory that holds the socket of a server on `port`.
    pub(crate) fn socket_directory(&self, port: u16) -> Option<&Path> {
        let socket = format!(".s.PGSQL.{port}");
        self.socket_directories
            .iter()
            .map(PathBuf::as_path)
            .find(|directory| directory.join(&socket).exists())
    }
}

/// Shows the names of the variables only, as `PGPASSWORD` is among them.
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

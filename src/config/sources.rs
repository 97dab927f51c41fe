//! The sources of settings other than the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

/// The sources of settings other than the command line, passed as an argument so that tests can replace them.
/// The default has no values.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The environment. An empty variable is treated as not set, except for protecting settings.
    pub environment: BTreeMap<String, OsString>,
    /// The directory of `.baton.yaml`, and the base of a relative `BATON_CONFIG_PATH`. Empty means the
    /// working directory of the process.
    pub working_directory: PathBuf,
    /// Whether standard output is a terminal, which decides the default log format.
    pub stdout_is_terminal: bool,
}

impl Sources {
    /// The sources of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            environment: std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
                .collect(),
            working_directory: PathBuf::new(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// The value of a variable, which need not be a setting; `None` if it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable, which can be empty.
    pub(crate) fn given(&self, name: &str) -> Option<&OsStr> {
        self.environment.get(name).map(OsString::as_os_str)
    }
}

impl fmt::Debug for Sources {
    /// Prints names of variables only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("environment", &self.environment.keys())
            .field("working_directory", &self.working_directory)
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .finish()
    }
}

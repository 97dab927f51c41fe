//! What the settings are read from besides the command line.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

/// What the settings are read from besides the command line, passed in so that a test can choose it. The default
/// has nothing.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The environment. A variable that is set but empty counts as not set.
    pub environment: BTreeMap<String, OsString>,
    /// Where `.baton.yaml` is looked for, and what a relative `BATON_CONFIG_PATH` starts from. Empty means the
    /// process's own working directory.
    pub working_directory: PathBuf,
    /// Whether standard output is a terminal, which decides the default log format.
    pub stdout_is_terminal: bool,
}

impl Sources {
    /// The real ones.
    pub(crate) fn of_process() -> Self {
        Self {
            environment: std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
                .collect(),
            working_directory: PathBuf::new(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// What a variable is set to, also one that is no setting.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// What a variable is set to, which can be nothing.
    pub(crate) fn given(&self, name: &str) -> Option<&OsStr> {
        self.environment.get(name).map(OsString::as_os_str)
    }
}

impl fmt::Debug for Sources {
    /// Names of variables only: their values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("environment", &self.environment.keys())
            .field("working_directory", &self.working_directory)
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .finish()
    }
}

//! The sources of the settings, and what they give when they are laid over one another.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};

use crate::config::error::{Error, Origin, Warning};
use crate::config::table::ALL;
use crate::config::{file, names};

/// What the settings are read from besides the command line, passed in so that a test can choose it. The default
/// has nothing.
#[derive(Default)]
pub struct Sources {
    /// The environment. A variable that is set but empty counts as not set.
    pub environment: BTreeMap<String, OsString>,
    /// Where `.baton.yaml` is looked for, and what a relative `BATON_CONFIG_PATH` starts from. Empty means the
    /// process's own working directory.
    pub working_directory: PathBuf,
    /// Whether standard output is a terminal, which decides the default log format.
    pub stdout_is_terminal: bool,
}

/// What one source gives, by the setting's name.
#[derive(Clone, Default)]
pub(super) struct Layer {
    values: Map<String, Value>,
    origins: BTreeMap<&'static str, Origin>,
}

/// What the strongest source that has a value gives, by the setting's name, and where it came from.
pub(super) type Merged = BTreeMap<&'static str, (ValueKind, Origin)>;

impl Sources {
    /// The real ones.
    pub fn of_process() -> Self {
        Self {
            environment: std::env::vars_os()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
                .collect(),
            working_directory: PathBuf::new(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
        }
    }

    /// What a variable is set to, also one that is no setting.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
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

/// Gathers what every source gives: a flag wins over a variable, a variable over the config file.
///
/// # Errors
/// Those of the config file, and [`Error::Invalid`] of a variable that is not text.
pub(super) fn collect(
    matches: &clap::ArgMatches,
    sources: &Sources,
    warnings: &mut Vec<Warning>,
) -> Result<Merged, Error> {
    let flags = flags(matches);
    let environment = environment(sources, warnings)?;
    let file = file::layer(sources, warnings)?;
    merge([file, environment, flags])
}

/// What was typed, and no other source. `except` is a setting whose flag means something else to the command.
///
/// # Errors
/// [`Error::Internal`]
pub(super) fn typed(matches: &clap::ArgMatches, except: &str) -> Result<Merged, Error> {
    let mut flags = flags(matches);
    flags.remove(except);
    merge([flags])
}

/// Lays the layers over one another, the weakest first.
fn merge<const N: usize>(layers: [Layer; N]) -> Result<Merged, Error> {
    let mut origins = BTreeMap::new();
    let mut builder = Config::builder();
    for layer in layers {
        origins.extend(layer.origins.clone());
        builder = builder.add_source(layer);
    }
    let mut values = builder.build().and_then(|merged| merged.collect()).map_err(internal)?;
    let value = |(name, origin)| values.remove(name).map(|value| (name, (value.kind, origin)));
    Ok(origins.into_iter().filter_map(value).collect())
}

fn internal(error: ConfigError) -> Error {
    Error::Internal { problem: error.to_string() }
}

impl Layer {
    /// Adds a value; false when the setting has one already.
    pub(super) fn insert(
        &mut self,
        setting: &'static str,
        value: impl Into<ValueKind>,
        origin: Origin,
    ) -> bool {
        self.values.insert(setting.to_owned(), Value::new(None, value));
        self.origins.insert(setting, origin).is_none()
    }

    fn remove(&mut self, setting: &str) {
        self.values.remove(setting);
        self.origins.remove(setting);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.values.clone())
    }
}

impl fmt::Debug for Layer {
    /// Names only: the values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layer").field(&self.origins.keys()).finish()
    }
}

/// The flags that were typed.
fn flags(matches: &clap::ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in ALL {
        if let Some(given) = matches.try_get_many::<String>(setting.name).ok().flatten() {
            // More than one only where commas separate the values of one.
            let text = given.map(String::as_str).collect::<Vec<_>>().join(",");
            layer.insert(setting.name, text, Origin::Flag(setting.name));
        }
    }
    layer
}

/// The variables that are set, and a warning for each that is almost one of ours.
fn environment(sources: &Sources, warnings: &mut Vec<Warning>) -> Result<Layer, Error> {
    for name in sources.environment.keys() {
        if let Some(nearest) = names::nearest_variable(name) {
            warnings.push(Warning::UnknownVariable { name: name.clone(), nearest });
        }
    }
    let mut layer = Layer::default();
    for setting in ALL {
        let variable = setting.variable();
        let Some(value) = sources.variable(&variable) else { continue };
        let origin = Origin::Variable(variable);
        let Some(text) = value.to_str() else {
            let problem = "the value is not valid UTF-8".into();
            let (name, accepted) = (setting.name, setting.kind.accepted());
            return Err(Error::Invalid { name, origin, problem, accepted });
        };
        layer.insert(setting.name, text, origin);
    }
    Ok(layer)
}

//! Merges the values of all sources.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Source as _, ValueKind};

use crate::config::error::{Error, Origin, Warning};
use crate::config::layer::Layer;
use crate::config::sources::Sources;
use crate::config::{file, names, table};

/// The value from the source with the highest precedence, by the setting's name.
pub(super) type Merged = BTreeMap<&'static str, Given>;

/// The value of one setting, as given by its source.
pub(super) struct Given {
    pub(super) value: ValueKind,
    pub(super) origin: Origin,
    /// The reason why the value cannot be read; `None` if it can be read.
    pub(super) problem: Option<&'static str>,
}

/// Collects the values of all sources: a flag overrides a variable, a variable overrides the config file.
///
/// # Errors
/// The errors of the config file.
pub(super) fn collect(
    matches: &clap::ArgMatches,
    sources: &Sources,
    warnings: &mut Vec<Warning>,
) -> Result<Merged, Error> {
    let flags = flags(matches);
    let environment = environment(sources, warnings);
    let file = file::layer(sources, warnings)?;
    merge([file, environment, flags])
}

/// Like [`collect`], if the config file is unreadable.
///
/// # Errors
/// [`Error::Internal`]
pub(super) fn without_file(matches: &clap::ArgMatches, sources: &Sources) -> Result<Merged, Error> {
    merge([environment(sources, &mut Vec::new()), flags(matches)])
}

/// Like [`collect`], with a layer that overrides all others.
///
/// # Errors
/// Those of [`collect`].
#[cfg(feature = "lambda")]
pub(super) fn collect_with(
    matches: &clap::ArgMatches,
    sources: &Sources,
    strongest: Layer,
    warnings: &mut Vec<Warning>,
) -> Result<Merged, Error> {
    let flags = flags(matches);
    let environment = environment(sources, warnings);
    let file = file::layer(sources, warnings)?;
    merge([file, environment, flags, strongest])
}

/// The values on the command line, without other sources. `except` is a setting whose flag has another
/// meaning for the command.
///
/// # Errors
/// [`Error::Internal`]
pub(super) fn typed(matches: &clap::ArgMatches, except: &str) -> Result<Merged, Error> {
    let mut flags = flags(matches);
    flags.remove(except);
    merge([flags])
}

/// Merges the layers; later layers override earlier ones.
fn merge<const N: usize>(layers: [Layer; N]) -> Result<Merged, Error> {
    let mut origins = BTreeMap::new();
    let mut builder = Config::builder();
    for layer in layers {
        let of_layer = layer.origins().iter();
        origins.extend(of_layer.map(|(name, origin)| (*name, (origin.clone(), layer.problem(name)))));
        builder = builder.add_source(layer);
    }
    let mut values = builder.build().and_then(|merged| merged.collect()).map_err(internal)?;
    let given = |(name, (origin, problem))| {
        values.remove(name).map(|value| (name, Given { value: value.kind, origin, problem }))
    };
    Ok(origins.into_iter().filter_map(given).collect())
}

fn internal(error: ConfigError) -> Error {
    Error::Internal { problem: error.to_string() }
}

/// The flags on the command line.
fn flags(matches: &clap::ArgMatches) -> Layer {
    let mut layer = Layer::default();
    for setting in table::every() {
        if let Some(given) = matches.try_get_many::<String>(setting.name).ok().flatten() {
            // There are several values only for settings with comma-separated values.
            let text = given.map(String::as_str).collect::<Vec<_>>().join(",");
            layer.insert(setting.name, text, Origin::Flag(setting.name));
        }
    }
    layer
}

/// The variables that are set, and a warning for each unknown `BATON_` variable.
fn environment(sources: &Sources, warnings: &mut Vec<Warning>) -> Layer {
    let unknown = sources.environment.iter().filter_map(|(name, value)| names::unknown_variable(name, value));
    warnings.extend(unknown);
    let mut layer = Layer::default();
    for setting in table::every() {
        let variable = setting.variable();
        // A protecting setting must not be empty, which its reader reports.
        let given = if setting.protects { sources.given(&variable) } else { sources.variable(&variable) };
        let Some(value) = given else { continue };
        let origin = Origin::Variable(variable);
        match value.to_str() {
            Some(text) => {
                layer.insert(setting.name, text, origin);
            }
            None => layer.insert_unreadable(setting.name, "the value is not valid UTF-8", origin),
        }
    }
    layer
}

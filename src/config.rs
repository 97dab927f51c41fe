//! Every setting, declared once in a table and read into the types of the modules that use it.
//!
//! [`ALL`] is the declaration. The command line ([`arguments`]), the `BATON_` variables, the keys of the config
//! file, the help texts and the README table ([`markdown_table`]) all come from it, so that none of them can
//! disagree with another. Defaults belong to the settings types; the table refers to them.
//!
//! To add a setting: give it a field in the settings type of the module that uses it, and declare it in `table.rs`.
//! A new settings type gets a field in [`Settings`].

mod arguments;
mod declaration;
mod deserializer;
mod error;
mod file;
mod hosted;
mod layer;
mod merge;
mod names;
mod reference;
#[cfg(feature = "lambda")]
mod served;
mod setting;
mod settings;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;

use clap::ArgMatches;
use clap::parser::ValueSource;
#[cfg(feature = "lambda")]
use serde_json::{Map, Value};
#[cfg(feature = "lambda")]
use time::OffsetDateTime;

#[cfg(feature = "lambda")]
use crate::agent::hosted::{FromEnvironment, HostedSettings};
use crate::agent::service::{Overrides, ServiceSettings};
use crate::agent::sync::SyncSettings;
use crate::retool::privileges::Scope;
use crate::server::HealthSettings;
#[cfg(feature = "lambda")]
use crate::telemetry::settings::{LogSettings, TelemetrySettings};

use error::Origin;
use values::Values;

pub(crate) use arguments::arguments;
pub(crate) use error::{Error, Warning};
pub(crate) use reference::markdown_table;
pub(crate) use setting::Setting;
pub(crate) use settings::{InForce, Provenance, Settings};
pub(crate) use sources::Sources;
pub(crate) use table::ALL;
#[cfg(feature = "lambda")]
pub(crate) use {arguments::hosted_arguments, reference::hosted_markdown_table};

/// Reads every setting: a flag wins over a variable, a variable over the config file, the file over the default.
///
/// `matches` are those of a command that carries [`arguments`], or of any sub-command below it. The warnings are
/// for the caller to log once logging is up; where logging goes is among the settings.
///
/// # Errors
/// The first setting or file that cannot be right, as [`Error`] describes. The process is expected to end with
/// exit code 2.
pub(crate) fn load(matches: &ArgMatches, sources: &Sources) -> Result<(Settings, Vec<Warning>), Error> {
    let (values, mut warnings) = collect(matches, sources)?;
    values.check()?;
    let mut settings: Settings = values.read()?;
    // Port and address of the probes are checked even where the switch leaves them without effect.
    values.read::<HealthSettings>()?;
    settings.provenance = Provenance::of(&values);
    if let Some(host) = settings.rest.as_ref().and_then(|rest| rest.base_url.exposed_host()) {
        warnings.push(Warning::ClearText { host: host.to_owned() });
    }
    Ok((settings, warnings))
}

/// Reads where probes are answered, whether or not they are, and nothing else: for a command that sends one to
/// another process and needs no connection string. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub(crate) fn load_health_check(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(HealthSettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    Ok((values.read()?, warnings))
}

/// Reads what a one-shot sync reads and where it goes, and nothing else. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub(crate) fn load_sync(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(SyncSettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    values.check_sync()?;
    let mut settings: SyncSettings = values.read()?;
    settings.file_is_given = values.get("file").is_some_and(|entry| entry.origin != Origin::Default);
    if let Some(entry) = values.get("sync-resources").filter(|_| settings.options.wants_no_target()) {
        let problem = "none of the resources is of a type in sync-resource-types".to_owned();
        return Err(entry.invalid(problem));
    }
    Ok((settings, warnings))
}

/// Reads how ConductorOne is served, and nothing else; nothing where it is not, since there is neither a client's id
/// nor a secret. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub(crate) fn load_service(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<Option<ServiceSettings>, Error> {
    let (values, _) = collect(matches, sources)?;
    if values.get("client-id").is_none() && values.get("client-secret").is_none() {
        return Ok(None);
    }
    values.check_service()?;
    let mut settings: ServiceSettings = values.read()?;
    settings.overrides =
        Overrides::read(|name| sources.given(name).map(|value| value.to_string_lossy().into_owned()));
    Ok(Some(settings))
}

/// Reads what is logged and collected, and nothing else: for a program that learns the other settings later. Sources
/// and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
#[cfg(feature = "lambda")]
pub(crate) fn load_telemetry(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(LogSettings, TelemetrySettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    Ok((values.read()?, values.read()?, warnings))
}

/// Reads which function of ConductorOne this is, and nothing else. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
#[cfg(feature = "lambda")]
pub(crate) fn load_hosted(matches: &ArgMatches, sources: &Sources) -> Result<HostedSettings, Error> {
    let (values, _) = collect(matches, sources)?;
    values.check_hosted()?;
    let mut settings: HostedSettings = values.read()?;
    settings.environment =
        FromEnvironment::read(|name| sources.given(name).map(|value| value.to_string_lossy().into_owned()));
    Ok(settings)
}

/// Whether the sources speak of a function of ConductorOne at all.
#[cfg(feature = "lambda")]
pub(crate) fn is_hosted(matches: &ArgMatches, sources: &Sources) -> bool {
    collect(matches, sources).is_ok_and(|(values, _)| values.get("lambda-client-id").is_some())
}

/// As [`load`], with a served configuration, which wins over every other source. Changes and tickets are on unless
/// a source turns them off: whether they are wanted is ConductorOne's to decide.
///
/// The time is when debug logs end; nothing where they do not end by themselves.
///
/// # Errors
/// As [`load`].
#[cfg(feature = "lambda")]
pub(crate) fn load_served(
    matches: &ArgMatches,
    sources: &Sources,
    served: &Map<String, Value>,
) -> Result<(Settings, Vec<Warning>, Option<OffsetDateTime>), Error> {
    let mut warnings = Vec::new();
    let layer = served::layer(served, &mut warnings)?;
    let merged = merge::collect_with(matches, sources, layer, &mut warnings)?;
    let values = Values::new(merged, sources, &mut warnings)?;
    values.check()?;
    let mut settings: Settings = values.read()?;
    settings.provenance = Provenance::of(&values);
    let is_open = |name| values.get(name).is_none_or(|entry| entry.origin == Origin::Default);
    settings.scope.provisioning |= is_open("provisioning");
    settings.options.ticketing |= is_open("ticketing");
    let expiry: served::DebugExpiry = values.read()?;
    let expires = match (expiry.time(), values.get("log-level-debug-expires-at")) {
        (Ok(time), _) => time,
        (Err(problem), Some(entry)) => return Err(entry.invalid(problem)),
        (Err(problem), None) => return Err(Error::Internal { problem }),
    };
    if let Some(host) = settings.rest.as_ref().and_then(|rest| rest.base_url.exposed_host()) {
        warnings.push(Warning::ClearText { host: host.to_owned() });
    }
    Ok((settings, warnings, expires))
}

/// Reads what is left out from the command line, and nothing from the other sources: for a command that prints the
/// same wherever it runs. `except` is a setting whose flag means something else to the command; it has its default.
///
/// # Errors
/// As [`load`], though only these flags have to be right.
pub(crate) fn load_typed_scope(matches: &ArgMatches, except: &str) -> Result<Scope, Error> {
    let merged = merge::typed(matches, except)?;
    Values::new(merged, &Sources::default(), &mut Vec::new())?.read()
}

/// The settings that were typed.
pub(crate) fn typed(matches: &ArgMatches) -> impl Iterator<Item = &'static Setting> {
    let source = |setting: &Setting| matches.value_source(setting.name);
    ALL.iter().filter(move |setting| source(setting) == Some(ValueSource::CommandLine))
}

fn collect(matches: &ArgMatches, sources: &Sources) -> Result<(Values, Vec<Warning>), Error> {
    let mut warnings = Vec::new();
    let merged = merge::collect(matches, sources, &mut warnings)?;
    let values = Values::new(merged, sources, &mut warnings)?;
    Ok((values, warnings))
}

//! All settings: declared once in a table, and read into the types of the modules that use them.
//!
//! [`ALL`] is the declaration. The command line ([`arguments`]), the `BATON_` variables, the keys of the
//! config file, the help texts and the table of `docs/settings.md` ([`markdown_table`]) are all derived from
//! it, so they cannot contradict each other. Defaults belong to the settings types; the table refers to them.
//!
//! To add a setting, add a field to the settings type of the module that uses it, and declare it in
//! `table.rs`. A new settings type needs a field in [`Settings`].

mod arguments;
mod check;
mod declaration;
mod deserializer;
mod error;
mod file;
mod hosted;
mod layer;
mod merge;
mod names;
mod one_shot_table;
mod operation_table;
mod reading;
mod reference;
mod runs;
mod schema;
#[cfg(feature = "lambda")]
mod served;
mod setting;
mod settings;
mod shown;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod values;

use clap::ArgMatches;
use clap::parser::ValueSource;
use config::ValueKind;
#[cfg(feature = "lambda")]
use serde_json::{Map, Value};
use time::OffsetDateTime;

#[cfg(feature = "lambda")]
use crate::agent::hosted::{FromEnvironment, HostedSettings};
use crate::agent::one_shot::OneShot;
use crate::agent::service::{Overrides, ServiceSettings};
use crate::agent::sync::SyncSettings;
use crate::retool::privileges::Scope;
use crate::server::HealthSettings;
use crate::telemetry::settings::{LogFormat, LogLevel};
#[cfg(feature = "lambda")]
use crate::telemetry::settings::{LogSettings, TelemetrySettings};

use merge::Given;
use reading::{checked, collect, is_service, sync_of};
use values::{Entry, Values};

pub(crate) use arguments::{Detail, arguments, arguments_for};
pub(crate) use error::{Error, Origin, Warning};
pub(crate) use reference::markdown_table;
pub(crate) use runs::{Run, Unchecked, check_run, check_without_command, load_in_force, unchecked};
pub(crate) use schema::schema;
pub(crate) use setting::{Group, Setting};
pub(crate) use settings::{InForce, Provenance, Settings, Shown};
pub(crate) use sources::Sources;
pub(crate) use table::ALL;
#[cfg(feature = "lambda")]
pub(crate) use {arguments::hosted_arguments, reference::hosted_markdown_table};

/// Reads every setting. A flag overrides a variable, a variable overrides the config file, the file overrides
/// the default.
///
/// `matches` are those of a command that has [`arguments`], or of any of its sub-commands. The caller logs
/// the warnings once logging has started, because the settings include the log targets.
///
/// # Errors
/// Every invalid setting, or an unreadable file, as described by [`Error`]. The process is expected to end
/// with exit code 2.
pub(crate) fn load(matches: &ArgMatches, sources: &Sources) -> Result<(Settings, Vec<Warning>), Error> {
    let (values, mut warnings) = collect(matches, sources)?;
    let mut settings = checked(&values).map_err(|error| error.explained_by(&warnings))?;
    settings.provenance = Provenance::of(&values);
    let expires = debug_expiry(&values)?;
    if settings.logs.level == LogLevel::Debug && expires.is_some_and(|at| at <= OffsetDateTime::now_utc()) {
        settings.logs.level = LogLevel::Info;
    }
    if let Some(host) = settings.rest.as_ref().and_then(|rest| rest.base_url.exposed_host()) {
        warnings.push(Warning::ClearText { host: host.to_owned() });
    }
    Ok((settings, warnings))
}

/// When debug logs end; `None` if they do not end.
fn debug_expiry(values: &Values) -> Result<Option<OffsetDateTime>, Error> {
    values.get("log-level-debug-expires-at").map(Entry::time).transpose()
}

/// Checks the settings of a sync, of service mode and of a one-shot change for a command that does not use
/// them: a mistake is not ignored.
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn check_unused(matches: &ArgMatches, sources: &Sources) -> Result<(), Error> {
    collect(matches, sources)?.0.check_unused_values()
}

/// Reads only what the connector reads from Retool and may change: for a command that needs no connection
/// string. Sources and warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn load_scope(matches: &ArgMatches, sources: &Sources) -> Result<Scope, Error> {
    let (values, _) = collect(matches, sources)?;
    values.read()
}

/// Reads the requested one-shot change; `None` if there is none.
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn load_change(matches: &ArgMatches, sources: &Sources) -> Result<Option<OneShot>, Error> {
    let (values, warnings) = collect(matches, sources)?;
    values.check_change().map_err(|error| error.explained_by(&warnings))?;
    match values.verb() {
        Some(_) => values.read().map(Some),
        None => Ok(None),
    }
}

/// The name of the setting that requests a one-shot change, even if other settings are invalid.
///
/// # Errors
/// Those of [`load`] if the sources cannot be read at all.
pub(crate) fn change_asked_for(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<Option<&'static str>, Error> {
    let (values, _) = collect(matches, sources)?;
    Ok(values.verb().or(values.empty_verb()).map(|entry| entry.setting.name))
}

/// Reads only the address of the health probes, whether or not they are on: for a command that probes another
/// process and needs no connection string. Sources and warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn load_health_check(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(HealthSettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    Ok((values.read()?, warnings))
}

/// Reads only the source and the destination of a one-shot sync. Sources and warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn load_sync(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(SyncSettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    values.check_sync().map_err(|error| error.explained_by(&warnings))?;
    Ok((sync_of(&values)?, warnings))
}

/// Reads only the settings of service mode for ConductorOne; `None` if neither a client id nor a client
/// secret is set. Sources and warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
pub(crate) fn load_service(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<Option<ServiceSettings>, Error> {
    let (values, warnings) = collect(matches, sources)?;
    if !is_service(&values) {
        return Ok(None);
    }
    values.check_service().map_err(|error| error.explained_by(&warnings))?;
    let mut settings: ServiceSettings = values.read()?;
    settings.overrides =
        Overrides::read(|name| sources.given(name).map(|value| value.to_string_lossy().into_owned()));
    Ok(Some(settings))
}

/// Reads the settings of logs and telemetry, for a program that gets the other settings later. Sources and
/// warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
#[cfg(feature = "lambda")]
pub(crate) fn load_telemetry(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(LogSettings, TelemetrySettings, Vec<Warning>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    Ok((values.read()?, values.read()?, warnings))
}

/// Reads the settings of a hosted connector. Sources and warnings are those of [`load`].
///
/// # Errors
/// Those of [`load`], for these settings only.
#[cfg(feature = "lambda")]
pub(crate) fn load_hosted(matches: &ArgMatches, sources: &Sources) -> Result<HostedSettings, Error> {
    let (values, warnings) = collect(matches, sources)?;
    values.check_hosted().map_err(|error| error.explained_by(&warnings))?;
    let mut settings: HostedSettings = values.read()?;
    settings.environment =
        FromEnvironment::read(|name| sources.given(name).map(|value| value.to_string_lossy().into_owned()));
    Ok(settings)
}

/// Whether a source sets the client id of a hosted connector.
#[cfg(feature = "lambda")]
pub(crate) fn is_hosted(matches: &ArgMatches, sources: &Sources) -> bool {
    collect(matches, sources).is_ok_and(|(values, _)| values.get("lambda-client-id").is_some())
}

/// Like [`load`], with a served configuration, which overrides every other source. Changes and tickets are on
/// unless a source turns them off, because ConductorOne decides about them. The returned time is the end of
/// debug logs.
///
/// # Errors
/// Those of [`load`].
#[cfg(feature = "lambda")]
pub(crate) fn load_served(
    matches: &ArgMatches,
    sources: &Sources,
    served: &Map<String, Value>,
) -> Result<(Settings, Vec<Warning>, Option<OffsetDateTime>), Error> {
    let mut warnings = Vec::new();
    let layer = served::layer(served, &mut warnings);
    let merged = merge::collect_with(matches, sources, layer, &mut warnings)?;
    let values = Values::new(merged, sources, &mut warnings);
    warnings.extend(values.outdated());
    let mut settings = checked(&values).map_err(|error| error.explained_by(&warnings))?;
    settings.provenance = Provenance::of(&values);
    let is_open = |name| values.get(name).is_none_or(|entry| entry.origin == Origin::Default);
    settings.scope.provisioning |= is_open("provisioning");
    settings.options.ticketing |= is_open("ticketing");
    let expires = debug_expiry(&values)?;
    if let Some(host) = settings.rest.as_ref().and_then(|rest| rest.base_url.exposed_host()) {
        warnings.push(Warning::ClearText { host: host.to_owned() });
    }
    Ok((settings, warnings, expires))
}

/// The format of log lines, even if other settings are invalid or the config file is unreadable: for a
/// program that fails before it logs.
pub(crate) fn log_format(matches: &ArgMatches, sources: &Sources) -> LogFormat {
    let merged = merge::collect(matches, sources, &mut Vec::new())
        .or_else(|_| merge::without_file(matches, sources))
        .unwrap_or_default();
    let given = match merged.get("log-format") {
        Some(Given { value: ValueKind::String(word), .. }) => word.trim().to_ascii_lowercase(),
        _ => String::new(),
    };
    let default = LogFormat::default_on(sources.stdout_is_terminal);
    LogFormat::named(if given.is_empty() { default } else { &given })
}

/// Reads the scope from the command line only: for a command whose output must not depend on its environment.
/// `except` is a setting whose flag has another meaning for the command; it gets its default.
///
/// # Errors
/// Those of [`load`], for these flags only.
pub(crate) fn load_typed_scope(matches: &ArgMatches, except: &str) -> Result<Scope, Error> {
    let merged = merge::typed(matches, except)?;
    Values::new(merged, &Sources::default(), &mut Vec::new()).read()
}

/// Whether the setting with this name is listed by default.
pub(crate) fn is_listed(name: &str) -> bool {
    table::named(name).is_some_and(|setting| !setting.hidden && setting.group != Group::Change)
}

/// The settings on the command line.
pub(crate) fn typed(matches: &ArgMatches) -> impl Iterator<Item = &'static Setting> {
    let source = |setting: &Setting| matches.value_source(setting.name);
    ALL.iter().filter(move |setting| source(setting) == Some(ValueSource::CommandLine))
}

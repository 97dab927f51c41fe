//! Every setting, declared once in a table and read into checked types.
//!
//! [`ALL`] is the declaration. The command line ([`arguments`]), the `BATON_` variables, the keys of
//! the config file, the help texts, the defaults and the README table ([`markdown_table`]) all come
//! from it, so that none of them can disagree with another.
//!
//! To add a setting: declare it in `table.rs`, give it a field in the struct it belongs to, in or below
//! `settings.rs`, and read it in that struct's `read`.

mod arguments;
mod error;
mod file;
mod layers;
mod names;
mod reference;
mod setting;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use arguments::arguments;
pub use error::{Error, Origin, Warning};
pub use layers::Sources;
pub use reference::markdown_table;
pub use setting::{Fallback, Group, Kind, Setting};
pub use settings::{
    CollectorTls, Features, HealthSettings, LeftOut, LimitSettings, LogSettings, Provisioning, RestSettings,
    ServerSettings, Settings, SyncSettings, TelemetrySettings, Timeouts, TlsSettings,
};
pub use table::ALL;
pub use values::{BaseUrl, HostAndPort, ListenAddress, LogFormat, LogLevel, LogTarget};

use layers::Layers;

/// Reads every setting: a flag wins over a variable, a variable over the config file, the file over
/// the default (spec 5.1).
///
/// `matches` are those of a command that carries [`arguments`], or of any sub-command below it. The
/// warnings are for the caller to log once logging is up; where logging goes is among the settings.
///
/// # Errors
/// The first setting or file that cannot be right, as [`Error`] describes. The process is expected to
/// end with exit code 2.
pub fn load(matches: &clap::ArgMatches, sources: &Sources) -> Result<(Settings, Vec<Warning>), Error> {
    read(matches, sources, |layers, warnings| Settings::read(layers, sources.stdout_is_terminal, warnings))
}

/// Reads where probes are answered, whether or not they are, and nothing else: for a command that sends
/// one to another process and needs no connection string. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub fn load_health_check(
    matches: &clap::ArgMatches,
    sources: &Sources,
) -> Result<(HealthSettings, Vec<Warning>), Error> {
    read(matches, sources, |layers, _| HealthSettings::read(layers))
}

/// Reads how to log, and nothing else: for a command without a database, and to report the error of
/// [`load`] in the way the operator asked for. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub fn load_logs(
    matches: &clap::ArgMatches,
    sources: &Sources,
) -> Result<(LogSettings, Vec<Warning>), Error> {
    read(matches, sources, |layers, warnings| LogSettings::read(layers, sources.stdout_is_terminal, warnings))
}

/// Reads what a one-shot sync reads and where it goes, and nothing else. Sources and warnings are those of [`load`].
///
/// # Errors
/// As [`load`], though only these settings have to be right.
pub fn load_sync(
    matches: &clap::ArgMatches,
    sources: &Sources,
) -> Result<(SyncSettings, Vec<Warning>), Error> {
    read(matches, sources, |layers, _| SyncSettings::read(layers, sources))
}

/// Reads what is left out from the command line, and nothing from the other sources: for a command that prints
/// the same wherever it runs.
///
/// # Errors
/// As [`load`], though only these flags have to be right.
pub fn load_left_out(matches: &clap::ArgMatches) -> Result<LeftOut, Error> {
    LeftOut::read(&Layers::typed(matches))
}

/// The settings that were typed.
pub fn typed(matches: &clap::ArgMatches) -> impl Iterator<Item = &'static Setting> {
    let source = |setting: &Setting| matches.value_source(setting.name);
    ALL.iter().filter(move |setting| source(setting) == Some(clap::parser::ValueSource::CommandLine))
}

fn read<T>(
    matches: &clap::ArgMatches,
    sources: &Sources,
    settings: impl FnOnce(&Layers, &mut Vec<Warning>) -> Result<T, Error>,
) -> Result<(T, Vec<Warning>), Error> {
    let mut warnings = Vec::new();
    let layers = Layers::collect(matches, sources, &mut warnings)?;
    let settings = settings(&layers, &mut warnings)?;
    Ok((settings, warnings))
}

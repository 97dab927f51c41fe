//! Every error of the settings of a run, whichever of them the program reads first.

use std::path::PathBuf;

use clap::ArgMatches;
use secrecy::SecretString;

use crate::agent::service::ServiceSettings;
use crate::agent::sync::SyncSettings;
use crate::config::error::{Error, Warning};
use crate::config::reading::{checked, collect, is_service, sync_of};
use crate::config::settings::Provenance;
use crate::config::sources::Sources;
use crate::config::values::Values;
use crate::server::Security;

/// What the program does with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Serve a port.
    Serve,
    /// Serve a port or a listener with other certificates and tokens than those of the settings.
    ServeOwn,
    /// Sync into a file.
    Sync,
    /// Run without a command: service mode, a one-shot change, or a sync.
    WithoutCommand,
}

/// The settings whose values other modules check when they use them. `None` if a setting has no value, if its
/// value is already invalid for its kind, or if the run does not use it.
#[derive(Debug, Default)]
pub(crate) struct Unchecked {
    /// The connection string.
    pub connection_string: Option<SecretString>,
    /// The id of a client of ConductorOne.
    pub client_id: Option<String>,
    /// The secret of the client.
    pub client_secret: Option<SecretString>,
    /// The folder for unpacked files.
    pub temp_dir: Option<PathBuf>,
    /// The c1z file of the external connector.
    pub external_file: Option<PathBuf>,
    /// The files with certificates and tokens.
    pub security: Option<Security>,
}

impl Run {
    fn syncs(self) -> bool {
        matches!(self, Self::Sync | Self::WithoutCommand)
    }
}

/// Checks every setting that a run reads.
///
/// # Errors
/// Every invalid setting, or an unreadable file, as described by [`Error`].
pub(crate) fn check_run(run: Run, matches: &ArgMatches, sources: &Sources) -> Result<(), Error> {
    let (values, warnings) = collect(matches, sources)?;
    let mut errors: Vec<Error> = checked(&values).err().into_iter().collect();
    if run.syncs() {
        errors.extend(sync_errors(&values));
    }
    // Unused settings are not checked for a child or for `demo`: a child has the settings of its agent, which
    // accepts more values, and `demo` is for a first try.
    if run != Run::ServeOwn {
        errors.extend(values.check_unused_values().err());
    }
    if run == Run::WithoutCommand {
        errors.extend(match is_service(&values) {
            true => service_errors(&values),
            false => values.check_change().err().into_iter().collect(),
        });
    }
    Error::all(errors).map_err(|error| error.explained_by(&warnings))
}

/// Returns the settings in force with their sources, even if some of them are invalid; and the warnings, and
/// the errors of every run.
///
/// # Errors
/// Those of [`load`](super::load) if the sources cannot be read at all.
pub(crate) fn load_in_force(
    matches: &ArgMatches,
    sources: &Sources,
) -> Result<(Provenance, Vec<Warning>, Option<Error>), Error> {
    let (values, warnings) = collect(matches, sources)?;
    let service = if is_service(&values) { service_errors(&values) } else { Vec::new() };
    let errors = checked(&values).err().into_iter().chain(service);
    let error = Error::all(errors.chain(errors_without_command(&values)).collect()).err();
    Ok((Provenance::of(&values), warnings.clone(), error.map(|error| error.explained_by(&warnings))))
}

/// Checks the settings that only a run without a command reads, for a command that reports every invalid
/// setting. The client credentials of ConductorOne are left out:
/// [`load_service`](super::load_service) checks them.
///
/// # Errors
/// Every invalid setting, or an unreadable file, as described by [`Error`].
pub(crate) fn check_without_command(matches: &ArgMatches, sources: &Sources) -> Result<(), Error> {
    let (values, _) = collect(matches, sources)?;
    Error::all(errors_without_command(&values))
}

/// Returns the settings of a run that other modules check, as far as they can be read.
pub(crate) fn unchecked(run: Run, matches: &ArgMatches, sources: &Sources) -> Unchecked {
    let Ok((values, _)) = collect(matches, sources) else { return Unchecked::default() };
    let text = |name: &str| values.get(name).and_then(|entry| entry.text().ok()).map(str::to_owned);
    let client = |name| Some(name).filter(|_| run == Run::WithoutCommand).and_then(text);
    let path = |name| Some(name).filter(|_| run.syncs()).and_then(text).map(PathBuf::from);
    Unchecked {
        connection_string: text("connection-string").map(SecretString::from),
        client_id: client("client-id"),
        client_secret: client("client-secret").map(SecretString::from),
        temp_dir: path("c1z-temp-dir"),
        external_file: path("external-resource-c1z"),
        security: (run == Run::Serve).then(|| values.read_valid().0).flatten(),
    }
}

/// The errors of settings that only a run without a command reads: invalid values of all of them, and the rules of a
/// sync and of a one-shot change.
fn errors_without_command(values: &Values) -> Vec<Error> {
    let mut errors = sync_errors(values);
    errors.extend([values.check_unused_values().err(), values.check_change().err()].into_iter().flatten());
    errors
}

fn sync_errors(values: &Values) -> Vec<Error> {
    // Reading stops at the first error, so the values are also checked one by one.
    let mut errors: Vec<Error> = values.check_sync().err().into_iter().collect();
    errors.extend(values.errors_of::<SyncSettings>());
    errors.extend(sync_of(values).err());
    errors
}

fn service_errors(values: &Values) -> Vec<Error> {
    let mut errors: Vec<Error> = values.check_service().err().into_iter().collect();
    errors.extend(values.errors_of::<ServiceSettings>());
    errors
}

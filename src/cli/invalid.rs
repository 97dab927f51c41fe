//! Reports all invalid settings of a run together, including those that are otherwise found only when the
//! program uses them.

use anyhow::anyhow;
use clap::ArgMatches;

use crate::agent::service::{ClientId, ClientKey};
use crate::agent::sync::MissingPath;
use crate::cli::failure::{Failure, in_one_line};
use crate::cli::wiring;
use crate::config::{self, Run, Sources, Unchecked};

/// If the run failed because of a setting, adds the errors of all other settings that the run reads.
pub(super) fn with_all_others<T>(
    run: Run,
    matches: &ArgMatches,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    let failure = match result {
        Err(failure @ Failure::Usage(_)) => failure,
        other => return other,
    };
    let sources = Sources::of_process();
    let unchecked = config::unchecked(run, matches, &sources);
    let known = config::check_run(run, matches, &sources).err().map(|error| error.to_string());
    let mut errors: Vec<String> = Vec::new();
    let found = [known.unwrap_or_default(), failure.message()];
    let [known, first] = found.each_ref().map(|text| text.lines().map(str::to_owned));
    for error in known.chain(of_clients(&unchecked)).chain(of_files(&unchecked)).chain(first) {
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    Err(Failure::Usage(anyhow!(errors.join("\n"))))
}

/// The errors of the settings that are read only when a connection is prepared: the connection string and the
/// client of ConductorOne.
pub(super) fn of_clients(unchecked: &Unchecked) -> Vec<String> {
    let connection = unchecked.connection_string.as_ref().and_then(|text| wiring::parsed(text).err());
    let connection = connection.map(|failure| failure.message());
    let id = unchecked.client_id.as_deref().and_then(|id| ClientId::parse(id).err());
    let secret = unchecked.client_secret.as_ref().and_then(|secret| ClientKey::parse(secret).err());
    let client = [id, secret].into_iter().flatten().map(|error| in_one_line(&error.into()));
    connection.into_iter().chain(client).collect()
}

/// The errors of the files and folders that the settings name.
fn of_files(unchecked: &Unchecked) -> Vec<String> {
    let Unchecked { temp_dir, external_file, security, .. } = unchecked;
    let missing = MissingPath::all(temp_dir.as_deref(), external_file.as_deref());
    let missing = missing.into_iter().map(|error| in_one_line(&error.into()));
    let unusable = security.iter().flat_map(|security| security.check_files());
    missing.chain(unusable.map(|error| in_one_line(&error.into()))).collect()
}

//! The values of all sources, checked and read into settings.

use clap::ArgMatches;

use crate::agent::sync::SyncSettings;
use crate::config::error::{Error, Origin, Warning};
use crate::config::merge;
use crate::config::settings::Settings;
use crate::config::sources::Sources;
use crate::config::values::Values;
use crate::connector;
use crate::postgres::pool::Timeouts;
use crate::retool::api::settings::ApiSettings;
use crate::retool::privileges::Scope;
use crate::server::{HealthSettings, ServerSettings};
use crate::telemetry::settings::{LogSettings, TelemetrySettings};

/// All settings that every run reads.
///
/// # Errors
/// Every invalid one.
pub(super) fn checked(values: &Values) -> Result<Settings, Error> {
    let settings = values.read::<Settings>();
    let mut errors: Vec<Error> = values.check().err().into_iter().collect();
    // Reading stops at the first error, so the parts are also read one by one. Port and address of the probes
    // are checked even if probes are off.
    errors.extend(values.errors_of::<Timeouts>());
    errors.extend(values.errors_of::<Scope>());
    errors.extend(values.errors_of::<connector::Options>());
    if values.get("retool-api-base-url").is_some() {
        errors.extend(values.errors_of::<ApiSettings>());
    }
    errors.extend(values.errors_of::<ServerSettings>());
    errors.extend(values.errors_of::<HealthSettings>());
    errors.extend(values.errors_of::<LogSettings>());
    errors.extend(values.errors_of::<TelemetrySettings>());
    match settings {
        Ok(settings) => Error::all(errors).map(|()| settings),
        Err(error) => {
            errors.push(error);
            Error::all(errors)?;
            Err(Error::Internal { problem: "the error of an invalid setting was lost".to_owned() })
        }
    }
}

/// The settings of a sync.
///
/// # Errors
/// The first invalid one.
pub(super) fn sync_of(values: &Values) -> Result<SyncSettings, Error> {
    let mut settings: SyncSettings = values.read()?;
    settings.file_is_given = values.get("file").is_some_and(|entry| entry.origin != Origin::Default);
    if let Some(entry) = values.get("sync-resources").filter(|_| settings.options.wants_no_target()) {
        let problem = "none of the resources is of a type in sync-resource-types".to_owned();
        return Err(entry.invalid(problem));
    }
    Ok(settings)
}

/// Whether the settings select service mode.
pub(super) fn is_service(values: &Values) -> bool {
    values.get("client-id").is_some() || values.get("client-secret").is_some()
}

/// The values of all sources, and the warnings about them.
///
/// # Errors
/// An unreadable file.
pub(super) fn collect(matches: &ArgMatches, sources: &Sources) -> Result<(Values, Vec<Warning>), Error> {
    let mut warnings = Vec::new();
    let merged = merge::collect(matches, sources, &mut warnings)?;
    let values = Values::new(merged, sources, &mut warnings);
    warnings.extend(values.outdated());
    Ok((values, warnings))
}

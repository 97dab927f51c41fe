//! Checks a hosted connector: its credentials, its configuration, and the keys of its callers.

use clap::ArgMatches;

use crate::agent::hosted::EgressPolicy;
use crate::cli::doctor::report::{Check, Line, Report};
use crate::cli::doctor::settings::{self, Refused};
use crate::cli::failure::Failure;
use crate::cli::lambda::{Effective, Generations, Keys, check_api, check_database};
use crate::cli::wiring;
use crate::config::{self, Settings, Sources, Warning};

/// The settings of the function.
pub(super) struct Served {
    pub(super) settings: Settings,
    pub(super) warnings: Vec<Warning>,
    /// What the egress policy refuses.
    pub(super) refused: Refused,
}

/// The settings of the function, `None` if it receives none, and a line about ConductorOne.
pub(super) async fn check(
    matches: &ArgMatches,
    sources: &Sources,
    report: &mut Report,
) -> (Option<Served>, Line) {
    let failed = |failure: Failure| Line::failed(Check::C1, failure.message());
    let hosted = match config::load_hosted(matches, sources) {
        Ok(hosted) => hosted,
        Err(error) => {
            for error in error.each() {
                report.push(settings::refused(&error.to_string()));
            }
            return (None, Line::skipped(Check::C1, "a setting of the function is invalid"));
        }
    };
    let keys = async { Keys::new(&hosted)?.first().await };
    let generations = Generations::new(matches.clone(), sources.clone(), &hosted);
    let effective = async { generations?.effective("").await };
    let (keys, effective) = tokio::join!(keys, effective);
    let effective = match effective {
        Ok(effective) => effective,
        Err(failure) => return (None, failed(failure).means("The function cannot start.")),
    };
    let Effective { settings, warnings, egress, version, .. } = effective;
    let (refused, problem) = egress.as_ref().map(|policy| refused(policy, &settings)).unwrap_or_default();
    let line = match (keys, problem) {
        (Err(failure), _) => failed(failure).means("The function refuses all calls."),
        (Ok(_), Some(failure)) => failed(failure).means("The function cannot start."),
        (Ok(_), None) if egress.is_some() => {
            Line::ok(Check::C1, served(&version, "the egress policy does not refuse their hosts"))
        }
        (Ok(_), None) => Line::ok(Check::C1, served(&version, "there is no egress policy")),
    };
    (Some(Served { settings, warnings, refused }), line)
}

/// What the policy refuses in these settings, and the first reason why the function cannot start.
fn refused(policy: &EgressPolicy, settings: &Settings) -> (Refused, Option<Failure>) {
    let database = wiring::connection(settings).and_then(|connection| check_database(policy, &connection));
    let api = check_api(policy, settings);
    (Refused { database: database.is_err(), api: api.is_err() }, database.and(api).err())
}

fn served(version: &str, egress: &str) -> String {
    format!("it serves version {version:?} of the settings, and the keys of callers are usable; {egress}")
}

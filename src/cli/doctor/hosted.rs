//! Checks a hosted connector: its credentials, its configuration, and the keys of its callers.

use clap::ArgMatches;

use crate::agent::hosted::EgressPolicy;
use crate::cli::doctor::report::{Check, Line, Report};
use crate::cli::doctor::settings;
use crate::cli::failure::Failure;
use crate::cli::lambda::{Effective, Generations, Keys, check_egress};
use crate::cli::wiring;
use crate::config::{self, Settings, Sources, Warning};

/// The settings of the function, `None` if it receives none, and a line about ConductorOne.
pub(super) async fn check(
    matches: &ArgMatches,
    sources: &Sources,
    report: &mut Report,
) -> (Option<(Settings, Vec<Warning>)>, Line) {
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
    let line = match keys {
        Err(failure) => failed(failure).means("The function refuses all calls."),
        Ok(_) => match egress.map(|policy| reachable(&policy, &settings)) {
            Some(Err(failure)) => failed(failure).means("The function cannot start."),
            Some(Ok(())) => Line::ok(Check::C1, served(&version, "the egress policy allows their hosts")),
            None => Line::ok(Check::C1, served(&version, "there is no egress policy")),
        },
    };
    (Some((settings, warnings)), line)
}

/// Whether the policy allows the hosts in the settings.
fn reachable(policy: &EgressPolicy, settings: &Settings) -> Result<(), Failure> {
    check_egress(policy, &wiring::connection(settings)?, settings)
}

fn served(version: &str, egress: &str) -> String {
    format!("it serves version {version:?} of the settings, and the keys of callers are usable; {egress}")
}

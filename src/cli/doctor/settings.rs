//! Checks the settings before any connection.

use crate::cli::doctor::report::{Check, Line, Report};
use crate::config::{Settings, Warning};
use crate::postgres::connection_string::{ConnectionSettings, Environment};
use crate::telemetry;

/// The parts of the settings with a host to which the connector must not connect.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refused {
    pub(super) database: bool,
    pub(super) api: bool,
}

/// An invalid setting.
pub(super) fn refused(error: &str) -> Line {
    Line::failed(Check::Settings, error)
        .means("The program cannot start with these settings; it would exit with code 2.")
        .fix("correct the named flag, variable or line of the file")
}

/// An invalid setting that only a run without a command reads.
pub(super) fn refused_without_command(error: &str) -> Line {
    Line::failed(Check::Settings, error)
        .means("Without a command, the program cannot start with this setting; it would exit with code 2.")
        .fix("correct the named flag, variable or line of the file")
}

/// Checks the other settings that `serve` needs to start: its port, certificates and tokens, logs and
/// telemetry.
pub(super) async fn serving(settings: &Settings, report: &mut Report) {
    let server = settings.server.security.check(&settings.server.listen).await;
    let telemetry = telemetry::check(&settings.logs, &settings.telemetry);
    let server = server.iter().map(ToString::to_string);
    for problem in server.chain(telemetry.err().map(|error| error.to_string())) {
        report.push(refused(&problem));
    }
}

/// The completed connection string; `None` if it is unusable.
pub(super) fn connection(
    settings: &Settings,
    warnings: &[Warning],
    report: &mut Report,
) -> Option<ConnectionSettings> {
    for warning in warnings {
        report.push(Line::warning(Check::Settings, warning.to_string()));
    }
    let environment = Environment::of_process();
    let connection = match ConnectionSettings::parse(&settings.connection_string, &environment) {
        Ok(connection) => connection,
        Err(error) => {
            report.push(refused(&format!("connection-string: {error}")));
            return None;
        }
    };
    for warning in &connection.warnings {
        report.push(Line::warning(Check::Settings, warning));
    }
    let changes = match (settings.scope.provisioning, settings.options.dry_run) {
        (false, _) => "changes are off",
        (true, false) => "changes are on",
        (true, true) => "changes are described but not made (--dry-run)",
    };
    report.push(Line::ok(Check::Settings, format!("{}; {changes}", connection.describe())));
    Some(connection)
}

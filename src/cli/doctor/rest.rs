//! Retool's REST API, where it is set up.

use super::report::{Check, Line, Report, Status};
use crate::config::{RestSettings, Settings};
use crate::retool::api::error::Problem;
use crate::retool::api::{Api, ApiSettings};

/// Asks the API whether it is there and takes the token.
pub(super) async fn check(settings: &Settings, report: &mut Report) {
    let Some(RestSettings { base_url, token, timeout }) = &settings.rest else {
        report.push(Line::skipped(Check::Rest, "retool-api-base-url and retool-api-token are not set"));
        return;
    };
    let needed = settings.provisioning.enabled;
    let api = Api::new(&ApiSettings { base_url: base_url.as_str(), token, timeout: *timeout });
    let line = match api {
        Err(error) => Line::failed(Check::Rest, error.to_string()),
        Ok(api) => match api.probe().await {
            Ok(_) if needed => Line::ok(Check::Rest, "it answers, and the token may read users")
                .means("Whether it may change them (scope Users > Write) shows only when an account is made, enabled or disabled."),
            Ok(_) => Line::ok(Check::Rest, "it answers, and the token may read users"),
            Err(error) => explained(&error.problem, error.to_string()),
        },
    };
    let line = line.about(base_url.to_string());
    // Reading needs the database alone.
    report.push(match line.status {
        Status::Failed if !needed => Line { status: Status::Warning, ..line },
        _ => line,
    });
}

fn explained(problem: &Problem, found: String) -> Line {
    let line = Line::failed(Check::Rest, found);
    match problem {
        Problem::Refused { status: 401 | 403, .. } => line
            .means("The token is wrong, was revoked, or lacks a scope.")
            .fix("make one in Retool's settings, under API, with Users > Read and Users > Write"),
        Problem::Refused { .. } | Problem::Timeout { .. } | Problem::Closed { .. } => line
            .means("Retool itself is in trouble, or something before it.")
            .fix("look at Retool, then try again"),
        Problem::Unreachable { .. } => line
            .means("Nothing answers there: the name, the port or a firewall is in the way.")
            .fix("correct --retool-api-base-url, or let this machine reach it"),
        Problem::Redirect { .. }
        | Problem::NotJson { .. }
        | Problem::Declined { .. }
        | Problem::Incomplete { .. }
        | Problem::TooLarge { .. }
        | Problem::Untrusted { .. } => line,
    }
}

//! Checks Retool's REST API, if it is configured.

use crate::cli::doctor::report::{Check, Line, Report, Status};
use crate::config::Settings;
use crate::connector::rest_message::rest_message;
use crate::retool::api::Api;
use crate::retool::api::error::{Problem, SetupError};

/// Checks that the API is reachable and accepts the token.
pub(super) async fn check(settings: &Settings, report: &mut Report) {
    let Some(api_settings) = &settings.rest else {
        report.push(Line::skipped(Check::Rest, "retool-api-base-url and retool-api-token are not set"));
        return;
    };
    let needed = settings.scope.provisioning;
    let line = match Api::new(api_settings) {
        Err(error) => unusable(&error),
        Ok(api) => match api.probe().await {
            Ok(_) if needed => Line::ok(Check::Rest, "it answers, and the token may read users")
                .means("Whether it may change them (scope Users > Write) shows only when an account is made, enabled or disabled."),
            Ok(_) => Line::ok(Check::Rest, "it answers, and the token may read users"),
            Err(error) => explained(&error.problem, rest_message(&error.problem)),
        },
    };
    let line = line.about(api_settings.base_url.to_string());
    // Reads need only the database.
    report.push(match line.status {
        Status::Failed if !needed => Line { status: Status::Warning, ..line },
        _ => line,
    });
}

fn unusable(error: &SetupError) -> Line {
    let line = Line::failed(Check::Rest, error.to_string());
    match error {
        SetupError::Url => line.fix("correct --retool-api-base-url"),
        SetupError::Token => line.fix("copy the token anew, and give it as --retool-api-token"),
        SetupError::NoRoots(_) => {
            line.fix("install the authorities of this machine, or set SSL_CERT_FILE to a file of them")
        }
        SetupError::Client(_) => line
            .means("This machine lacks something that a request needs.")
            .fix("look at the proxy and certificate variables of this process"),
    }
}

fn explained(problem: &Problem, found: String) -> Line {
    const ELSEWHERE: &str =
        "correct --retool-api-base-url: without /api/v2, such as https://retool.example.com";
    const UPDATE: &str = "ask for an update of baton-retool, and say which Retool it is";
    let line = Line::failed(Check::Rest, found);
    match problem {
        Problem::Refused { status: 401, .. } => line
            .means("Retool does not know the token: it is wrong, was revoked or has expired.")
            .fix("make one in Retool's settings, under API, with Users > Read and Users > Write, and give it as --retool-api-token"),
        Problem::Refused { status: 403, .. } => line
            .means("Retool knows the token, and it lacks a scope.")
            .fix("give it Users > Read and Users > Write in Retool's settings, under API, or make a new one with both"),
        Problem::Refused { status: 404, .. } => line
            .means("Only the list of users was asked for, so the base URL leads elsewhere.")
            .fix(ELSEWHERE),
        Problem::Refused { status: 429, .. } => line
            .means("It takes no more requests at present; somebody sends many.")
            .fix("wait a minute, then try again"),
        Problem::Refused { status: 408 | 500.., .. } | Problem::Timeout { .. } | Problem::Closed { .. } => line
            .means("Retool itself is in trouble, or something before it.")
            .fix("look at Retool, then try again"),
        Problem::Refused { .. } => line
            .means("It does not understand a plain question for users: it is another version, or no Retool.")
            .fix(ELSEWHERE)
            .fix(UPDATE),
        Problem::Unreachable { .. } => line
            .means("Nothing answers there: the name, the port or a firewall is in the way.")
            .fix("correct --retool-api-base-url, or let this machine reach it"),
        Problem::Untrusted { .. } => line
            .means("The certificate comes from an authority of your own, or from somebody who is in the way.")
            .fix("name the file of the right authority in SSL_CERT_FILE"),
        Problem::Redirect { .. } => line
            .means("A base URL with http, or of another host, is sent on; a change that follows would become a mere question.")
            .fix("set --retool-api-base-url to where the API itself answers"),
        Problem::NotJson { .. } => line
            .means("A web page answers there: the base URL is wrong, a sign-in stands before Retool, or its plan has no REST API.")
            .fix(ELSEWHERE)
            .fix("without the API in the plan: leave --retool-api-base-url and --retool-api-token away"),
        Problem::Declined { .. } => line
            .means("Retool took the question and did not answer it.")
            .fix("look at Retool's own log"),
        Problem::Incomplete { .. } | Problem::TooLarge { .. } => line
            .means("This Retool's API is of a version that baton-retool does not know, or something else answers.")
            .fix(ELSEWHERE)
            .fix(UPDATE),
    }
}

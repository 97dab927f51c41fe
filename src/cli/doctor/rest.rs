//! Checks Retool's REST API, if it is configured.

use crate::cli::doctor::report::{Check, Line, Report, Status};
use crate::config::Settings;
use crate::connector::error::Error;
use crate::private_text::reveal;
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
                .means("Only creating, enabling or disabling an account shows whether it may change them (scope Users > Write)."),
            Ok(_) => Line::ok(Check::Rest, "it answers, and the token may read users"),
            Err(error) => explained(&error.problem, reveal(&Error::from(error.clone()))),
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
        SetupError::Token => line.fix("copy the token again, and set --retool-api-token to it"),
        SetupError::NoRoots(_) => line.fix(
            "install certificate authorities on this machine, or set SSL_CERT_FILE to a file that holds them",
        ),
        SetupError::Client(_) => line
            .means("The environment of this process is not suitable for requests.")
            .fix("check the proxy and certificate variables of this process"),
    }
}

fn explained(problem: &Problem, found: String) -> Line {
    const ELSEWHERE: &str =
        "correct --retool-api-base-url: without /api/v2, such as https://retool.example.com";
    const UPDATE: &str =
        "install a newer version of baton-retool, or report the version of Retool to its maintainers";
    let line = Line::failed(Check::Rest, found);
    match problem {
        Problem::Refused { status: 401, .. } => line
            .means("Retool rejects the token: it is wrong, was revoked or has expired.")
            .fix("create one in Retool's settings, under API, with Users > Read (users:read) and Users > Write (users:write), and set --retool-api-token to it"),
        Problem::Refused { status: 403, .. } => line
            .means("The token is valid but lacks a scope.")
            .fix("add Users > Read (users:read) and Users > Write (users:write) to it in Retool's settings, under API, or create a token with both"),
        Problem::Refused { status: 404, .. } => line
            .means("Every REST API of version 2 has this list, so the base URL is wrong.")
            .fix(ELSEWHERE),
        Problem::Refused { status: 429, .. } => line
            .means("It accepts no more requests at present, because clients send too many.")
            .fix("wait a minute, then retry"),
        Problem::Refused { status: 408 | 500.., .. } | Problem::Timeout { .. } | Problem::Closed { .. } => line
            .means("Retool, or a proxy in front of it, has an error.")
            .fix("check Retool, then retry"),
        Problem::Refused { .. } => line
            .means("It rejects a valid request for users: it is an unsupported version of Retool, or not Retool.")
            .fix(ELSEWHERE)
            .fix(UPDATE),
        Problem::Unreachable { .. } => line
            .means("Nothing answers: the name or the port is wrong, or a firewall blocks the connection.")
            .fix("correct --retool-api-base-url, or allow this machine to reach it"),
        Problem::Untrusted { .. } => line
            .means("It is from a private certificate authority, or a machine between client and server intercepts the connection.")
            .fix("set SSL_CERT_FILE to the file of the right certificate authority"),
        Problem::Redirect { .. } => line
            .means("A base URL with http, or with another host, is redirected; a redirected change would become a read.")
            .fix("set --retool-api-base-url to the address of the API itself"),
        Problem::NotJson { .. } => line
            .means("The response is a web page: the base URL is wrong, a sign-in page is in front of Retool, or its plan has no REST API.")
            .fix(ELSEWHERE)
            .fix("if the plan has no API: remove --retool-api-base-url and --retool-api-token"),
        Problem::Declined { .. } => line
            .means("Retool accepted the request but did not answer it.")
            .fix("check Retool's own log"),
        Problem::Incomplete { .. } | Problem::TooLarge { .. } => line
            .means("baton-retool does not support this version of Retool's API, or another program answers.")
            .fix(ELSEWHERE)
            .fix(UPDATE),
    }
}

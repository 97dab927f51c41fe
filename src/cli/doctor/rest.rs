//! Retool's REST API, where it is set up.

use super::report::{Check, Line, Report};
use crate::config::Settings;

/// Asks the API whether it is there and what the token may do.
pub(super) async fn check(settings: &Settings, report: &mut Report) {
    if settings.rest.is_none() {
        report.push(Line::skipped(Check::Rest, "retool-api-base-url and retool-api-token are not set"));
    }
}

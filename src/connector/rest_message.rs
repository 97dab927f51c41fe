//! Messages about failures of Retool's REST API for operators: what happened, and which setting to change.
//!
//! The client depends neither on the flags of the program nor on the purpose of the token, so this module adds the advice.

use crate::retool::api::error::Problem;

/// The failure in one line, with the fix if there is one.
pub(crate) fn rest_message(problem: &Problem) -> String {
    format!("{problem}{}", advice(problem))
}

fn advice(problem: &Problem) -> &'static str {
    match problem {
        Problem::Redirect { .. } => ": set --retool-api-base-url to the address of the API itself",
        Problem::NotJson { .. } => ": this Retool's plan has no REST API, or --retool-api-base-url is wrong",
        Problem::Refused { status, .. } => match status {
            401 => "; the token is unknown to Retool, revoked or expired: check --retool-api-token",
            403 => {
                "; the token lacks a scope: it needs Users > Read (users:read), and Users > Write (users:write) for changes"
            }
            404 => "; the user does not exist, or --retool-api-base-url is wrong",
            429 => "; it accepts no more requests at present: retry later",
            500.. => "; check Retool's own log",
            _ => "",
        },
        Problem::Timeout { .. } => " (--http-timeout-seconds)",
        Problem::Untrusted { .. } => "; for a private certificate authority, set SSL_CERT_FILE to its file",
        Problem::Declined { .. }
        | Problem::Incomplete { .. }
        | Problem::TooLarge { .. }
        | Problem::Unreachable { .. }
        | Problem::Closed { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_text::PrivateText;

    #[test]
    fn a_message_explains_the_fix() {
        let refused = |status, message: Option<&str>| {
            rest_message(&Problem::Refused { status, message: message.map(PrivateText::from) })
        };
        assert!(refused(401, None).contains("--retool-api-token"));
        assert!(refused(403, None).contains("users:read"));
        assert_eq!(refused(400, Some("no")), "Retool's REST API answers HTTP 400: \"...\"");
    }
}

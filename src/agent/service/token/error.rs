//! The reasons why no access token is available, with the fix for each.

use std::time::Duration;

use http::StatusCode;

use crate::agent::service::assertion;
use crate::numbers;

/// The clock difference from which an error message mentions it.
const NOTABLE: Duration = Duration::from_secs(30);

/// The reason why no token is available.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum TokenError {
    /// The endpoint rejects this client.
    #[error(
        "ConductorOne refuses this client: {url} answered {status}; {}",
        advice(*.status, *.clock_is_ahead_by)
    )]
    Refused {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: StatusCode,
        /// How many seconds this machine's clock is ahead of the endpoint's, if known.
        clock_is_ahead_by: Option<i64>,
    },
    /// The endpoint is unavailable.
    #[error("{url} answered {status} instead of an access token")]
    OutOfOrder {
        /// The endpoint.
        url: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The response of the endpoint is not a token.
    #[error("{url} answered {problem} instead of an access token; check that the host is ConductorOne's API")]
    NoToken {
        /// The endpoint.
        url: String,
        /// The problem with the response.
        problem: &'static str,
    },
    /// The endpoint cannot be reached.
    #[error("{url} cannot be reached: {problem}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// The cause.
        problem: String,
    },
    /// The assertion that authenticates the client cannot be signed.
    #[error("cannot sign with the client's key: {0}")]
    Signature(String),
}

impl TokenError {
    /// Whether the same request may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused { .. } => self.is_the_clock(),
            Self::Signature(_) => false,
            Self::OutOfOrder { .. } | Self::NoToken { .. } | Self::Unreachable { .. } => true,
        }
    }

    /// Whether the client is rejected because this machine's clock is wrong.
    pub(crate) fn is_the_clock(&self) -> bool {
        matches!(self, Self::Refused { clock_is_ahead_by: Some(seconds), .. } if is_too_far(*seconds))
    }
}

fn advice(status: StatusCode, clock_is_ahead_by: Option<i64>) -> String {
    let clock = |seconds: i64| {
        let direction = if seconds > 0 { "ahead" } else { "behind" };
        format!(
            "this machine's clock is {} {direction}",
            numbers::duration(Duration::from_secs(seconds.unsigned_abs()))
        )
    };
    let copy = "copy BATON_CLIENT_ID and BATON_CLIENT_SECRET again from ConductorOne's page of the connector";
    match clock_is_ahead_by {
        Some(seconds) if is_too_far(seconds) => format!("{}: correct it", clock(seconds)),
        _ if status == StatusCode::NOT_FOUND => {
            "the host does not have this API: check the host in BATON_CLIENT_ID and BATON_C1_API_HOST"
                .to_owned()
        }
        Some(seconds) if seconds.abs() > NOTABLE.as_secs() as i64 => {
            format!("{copy}; {}, which may also be the reason", clock(seconds))
        }
        _ => copy.to_owned(),
    }
}

/// Whether clocks that differ by this many seconds cause a rejection.
fn is_too_far(seconds: i64) -> bool {
    seconds.abs() > assertion::TOLERANCE.as_secs() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_temporary_only_if_the_clock_is_wrong() {
        let refused = |clock_is_ahead_by| TokenError::Refused {
            url: String::new(),
            status: StatusCode::UNAUTHORIZED,
            clock_is_ahead_by,
        };
        assert!(refused(Some(121)).is_temporary() && refused(Some(-121)).is_temporary());
        assert!(!refused(Some(120)).is_temporary() && !refused(None).is_temporary());
    }

    #[test]
    fn a_refusal_names_the_setting_or_the_clock_to_check() {
        let unauthorized = StatusCode::UNAUTHORIZED;
        assert!(advice(unauthorized, Some(-4000)).contains("1 h 6 min behind"));
        assert!(advice(unauthorized, Some(300)).contains("5 min ahead"));
        assert!(advice(unauthorized, Some(3)).ends_with("page of the connector"));
        let perhaps = advice(unauthorized, Some(100));
        assert!(perhaps.contains("BATON_CLIENT_SECRET") && perhaps.contains("100 s ahead"), "{perhaps}");
        assert!(advice(unauthorized, None).contains("BATON_CLIENT_SECRET"));
        assert!(advice(StatusCode::NOT_FOUND, None).contains("BATON_C1_API_HOST"));
    }
}

//! What can go wrong between us and Retool's REST API, in the words of the API. What an operator can do about it depends on the
//! program and its settings, so that its own modules add that.

use std::error::Error as _;
use std::time::Duration;

use crate::retool::api::rate_limit::RateLimit;

/// Why the client cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SetupError {
    /// The base URL with the API's path behind it is no URL.
    #[error("not a URL that a request can be sent to")]
    Url,
    /// The token does not fit a header.
    #[error("the token has a character that a header cannot carry")]
    Token,
    /// Nobody could vouch for the server.
    #[error(
        "the platform has no certificate authorities to check the server against{}: install them, or set SSL_CERT_FILE to a file",
        .0.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    NoRoots(Option<String>),
    /// Anything else.
    #[error("the client cannot be set up: {0}")]
    Client(String),
}

/// Why the API did not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct ApiError {
    /// What happened.
    pub problem: Problem,
    /// What the answer said of the API's limits; without an answer, nothing.
    pub rate_limit: RateLimit,
}

/// What happened instead. No text has anything of a person or of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// 3xx. It was not followed: a change that is sent on can become a mere question.
    #[error(
        "Retool's REST API at {base} redirects{} (HTTP {status}), which is not followed",
        .to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default()
    )]
    Redirect {
        /// The base URL.
        base: String,
        /// The HTTP status.
        status: u16,
        /// Scheme and host, where they can be told.
        to: Option<String>,
    },
    /// 2xx with something else than JSON, such as a web page.
    #[error("{base} answers HTTP {status} with something that is not JSON")]
    NotJson {
        /// The base URL.
        base: String,
        /// The HTTP status.
        status: u16,
    },
    /// 4xx or 5xx.
    #[error("Retool's REST API answers HTTP {status}{}", quoted(.message.as_deref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Retool's words, where they can be shown.
        message: Option<String>,
    },
    /// 2xx with `success` false.
    #[error("Retool's REST API says that it did not succeed{}", quoted(.message.as_deref()))]
    Declined {
        /// Retool's words, where they can be shown.
        message: Option<String>,
    },
    /// JSON that lacks what was asked for.
    #[error("the answer of Retool's REST API has no {missing}")]
    Incomplete {
        /// What it lacks.
        missing: &'static str,
    },
    /// More than we are ready to read.
    #[error("the answer of Retool's REST API has more than {largest} bytes")]
    TooLarge {
        /// The limit in bytes.
        largest: usize,
    },
    /// No whole answer in time.
    #[error("Retool's REST API did not answer within {} s", waited.as_secs())]
    Timeout {
        /// The limit.
        waited: Duration,
    },
    /// No connection came about, so nothing was sent.
    #[error("cannot connect to Retool's REST API at {base}: {reason}")]
    Unreachable {
        /// The base URL.
        base: String,
        /// What the attempt met.
        reason: String,
    },
    /// The server could not prove who it is, so nothing was sent.
    #[error("the certificate of Retool's REST API at {base} is not trusted: {reason}")]
    Untrusted {
        /// The base URL.
        base: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// The connection ended before the answer did.
    #[error("Retool's REST API broke the answer off: {reason}")]
    Closed {
        /// What the connection met.
        reason: String,
    },
}

impl ApiError {
    /// Whether what was asked for may have been done all the same.
    pub(crate) fn may_have_happened(&self) -> bool {
        match &self.problem {
            Problem::Refused { status, .. } => *status == 408 || *status >= 500,
            // An answer of 2xx counts as one, whatever stands between has made of it.
            Problem::NotJson { .. }
            | Problem::Incomplete { .. }
            | Problem::TooLarge { .. }
            | Problem::Timeout { .. }
            | Problem::Closed { .. } => true,
            Problem::Redirect { .. }
            | Problem::Declined { .. }
            | Problem::Unreachable { .. }
            | Problem::Untrusted { .. } => false,
        }
    }

    /// Whether Retool has something against what was asked for, and not against who asks or how.
    pub(crate) fn is_refusal(&self) -> bool {
        match &self.problem {
            Problem::Refused { status, .. } => *status < 500 && !matches!(status, 401 | 403 | 408 | 429),
            Problem::Declined { .. } => true,
            _ => false,
        }
    }

    /// What happened, in one word for logs.
    pub(crate) fn reason(&self) -> &'static str {
        match &self.problem {
            Problem::Redirect { .. } => "rest_redirect",
            Problem::NotJson { .. } => "rest_not_json",
            Problem::Refused { status: 401, .. } => "rest_unauthenticated",
            Problem::Refused { status: 403, .. } => "rest_forbidden",
            Problem::Refused { status: 404, .. } => "rest_not_found",
            Problem::Refused { status: 409, .. } => "rest_conflict",
            Problem::Refused { status: 429, .. } => "rest_rate_limited",
            Problem::Refused { status: 500.., .. } => "rest_broken",
            Problem::Refused { .. } => "rest_refused",
            Problem::Declined { .. } => "rest_declined",
            Problem::Incomplete { .. } => "rest_incomplete",
            Problem::TooLarge { .. } => "rest_too_large",
            Problem::Timeout { .. } => "rest_timeout",
            Problem::Unreachable { .. } => "rest_unreachable",
            Problem::Untrusted { .. } => "rest_untrusted",
            Problem::Closed { .. } => "rest_closed",
        }
    }
}

fn quoted(message: Option<&str>) -> String {
    message.map(|message| format!(": {message:?}")).unwrap_or_default()
}

/// Whether a certificate was the reason.
pub(super) fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // What an input error wraps is not its source.
        let wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    false
}

/// The client's error in one line: the last cause says most, and the address, which may hold an e-mail
/// address, is left out.
pub(super) fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_not_called_refused() {
        let problems =
            [400, 401, 408, 409, 429, 500, 503].map(|status| Problem::Refused { status, message: None });
        for problem in problems {
            let error = ApiError { problem, rate_limit: RateLimit::UNKNOWN };
            assert!(!(error.may_have_happened() && error.is_refusal()), "{error}");
        }
    }
}

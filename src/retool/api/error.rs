//! Errors of calls to Retool's REST API, in terms of the API. How an operator can fix them depends on the
//! program and its settings, so other modules add that.

use std::error::Error as _;
use std::time::Duration;

use crate::numbers;
use crate::private_text::PrivateText;
use crate::retool::api::rate_limit::RateLimit;

/// Why the client cannot be created.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SetupError {
    /// The base URL with the API's path appended is not a URL.
    #[error("not a URL that a request can be sent to")]
    Url,
    /// The token contains a character that a header cannot carry.
    #[error("the token has a character that is invalid in a header")]
    Token,
    /// The platform has no certificate authorities to verify the server with.
    #[error(
        "the platform has no certificate authorities to verify the server{}: install them, or set SSL_CERT_FILE to a file",
        .0.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default()
    )]
    NoRoots(Option<String>),
    /// Any other error.
    #[error("cannot set up the client: {0}")]
    Client(String),
}

/// A failed call to the API.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct ApiError {
    /// The cause.
    pub problem: Problem,
    /// The API's rate limits from the response; unknown without a response.
    pub rate_limit: RateLimit,
}

/// The cause of a failed call. No message contains the token. Texts of the API are private.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// 3xx. The redirect is not followed, because following it can turn a change into a read.
    #[error(
        "Retool's REST API at {base} redirects{} (HTTP {status}), which is not followed",
        .to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default()
    )]
    Redirect {
        /// The base URL.
        base: String,
        /// The HTTP status.
        status: u16,
        /// Scheme and host of the target, if known.
        to: Option<String>,
    },
    /// 2xx with a body that is not JSON, such as a web page.
    #[error("{base} answers HTTP {status} with something that is not JSON")]
    NotJson {
        /// The base URL.
        base: String,
        /// The HTTP status.
        status: u16,
    },
    /// 4xx or 5xx.
    #[error("Retool's REST API answers HTTP {status}{}", quoted(.message.as_ref()))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Retool's message, if it can be shown.
        message: Option<PrivateText>,
    },
    /// 2xx with `success` false.
    #[error("Retool's REST API reports a failure{}", quoted(.message.as_ref()))]
    Declined {
        /// Retool's message, if it can be shown.
        message: Option<PrivateText>,
    },
    /// JSON without the requested data.
    #[error("the response of Retool's REST API has no {missing}")]
    Incomplete {
        /// The missing data.
        missing: &'static str,
    },
    /// The response is larger than the limit.
    #[error("the response of Retool's REST API has more than {}", numbers::size(*largest))]
    TooLarge {
        /// The limit in bytes.
        largest: usize,
    },
    /// The complete response did not arrive before the timeout.
    #[error("Retool's REST API did not answer within {} s", waited.as_secs())]
    Timeout {
        /// The timeout.
        waited: Duration,
    },
    /// No connection could be opened, so nothing was sent.
    #[error("cannot connect to Retool's REST API at {base}: {reason}")]
    Unreachable {
        /// The base URL.
        base: String,
        /// The connection error.
        reason: String,
    },
    /// The server's certificate is not trusted, so nothing was sent.
    #[error("the certificate of Retool's REST API at {base} is not trusted: {reason}")]
    Untrusted {
        /// The base URL.
        base: String,
        /// The certificate error.
        reason: String,
    },
    /// The connection ended before the response did.
    #[error("Retool's REST API interrupted the response: {reason}")]
    Closed {
        /// The connection error.
        reason: String,
    },
}

impl ApiError {
    /// Whether the request may have taken effect despite the error.
    pub(crate) fn may_have_happened(&self) -> bool {
        match &self.problem {
            Problem::Refused { status, .. } => *status == 408 || *status >= 500,
            // The request may have succeeded: Retool, or a proxy in between, answered 2xx.
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

    /// Whether Retool refused the content of the request, rather than the caller or the way it was sent.
    pub(crate) fn is_refusal(&self) -> bool {
        match &self.problem {
            Problem::Refused { status, .. } => *status < 500 && !matches!(status, 401 | 403 | 408 | 429),
            Problem::Declined { .. } => true,
            _ => false,
        }
    }

    /// A short code for logs.
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

fn quoted(message: Option<&PrivateText>) -> String {
    message.map(|message| format!(": {:?}", message.unquoted().to_string())).unwrap_or_default()
}

/// Whether the error is about a certificate.
pub(super) fn is_untrusted(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if matches!(inner.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // `source()` of an I/O error does not return the error that it wraps.
        let wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    false
}

/// The client's error in one line. The last cause is the most precise. The URL is left out because it may
/// hold an email address.
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
    fn an_error_that_may_have_taken_effect_is_not_a_refusal() {
        let problems =
            [400, 401, 408, 409, 429, 500, 503].map(|status| Problem::Refused { status, message: None });
        for problem in problems {
            let error = ApiError { problem, rate_limit: RateLimit::UNKNOWN };
            assert!(!(error.may_have_happened() && error.is_refusal()), "{error}");
        }
    }
}

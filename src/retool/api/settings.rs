//! Settings of the REST API.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use url::{Host, ParseError, Url};

/// Address, token and timeout of the API.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ApiSettings {
    /// The base URL.
    #[serde(rename = "retool-api-base-url")]
    pub base_url: BaseUrl,
    /// The API token; visible ASCII only, so that it fits a header.
    #[serde(rename = "retool-api-token", deserialize_with = "token")]
    pub token: SecretString,
    /// Timeout of one request including its response. At most [`LONGEST_REQUEST`] when read from the
    /// settings.
    #[serde(rename = "http-timeout-seconds", deserialize_with = "timeout")]
    pub timeout: Duration,
}

/// Upper limit for the timeout of one request, for any value of the setting.
pub(crate) const LONGEST_REQUEST: Duration = Duration::from_secs(30);

impl ApiSettings {
    /// The default of `--http-timeout-seconds`.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
}

/// Scheme, host and an optional path prefix. It never ends in a slash and has no query and no credentials, so
/// a path can be appended directly.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct BaseUrl(Url);

/// Why a text is not a valid base URL. No message contains the URL, because people put credentials there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BaseUrlError {
    /// It does not begin with a scheme and `://`.
    #[error("the scheme is missing")]
    NoScheme,
    /// It has a scheme other than http and https.
    #[error("the scheme is neither http nor https")]
    OtherScheme,
    /// It has no host.
    #[error("the host is missing")]
    NoHost,
    /// It has a user name or a password.
    #[error("the URL must not contain credentials or an at sign; the token has its own setting")]
    Credentials,
    /// It has an invalid port.
    #[error("the port is not a number from 0 to 65535")]
    InvalidPort,
    /// Any other error.
    #[error("not a URL ({0})")]
    NotAUrl(ParseError),
}

impl BaseUrl {
    /// Parses a URL and removes query, fragment and trailing slashes.
    ///
    /// # Errors
    /// See [`BaseUrlError`].
    pub(crate) fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        if !text.contains("://") {
            return Err(BaseUrlError::NoScheme);
        }
        // A slash or a question mark in a password ends the host, and the password becomes a part of the path.
        if text.contains('@') {
            return Err(BaseUrlError::Credentials);
        }
        let mut url = Url::parse(text).map_err(|error| match error {
            ParseError::RelativeUrlWithoutBase => BaseUrlError::NoScheme,
            ParseError::EmptyHost => BaseUrlError::NoHost,
            ParseError::InvalidPort => BaseUrlError::InvalidPort,
            other => BaseUrlError::NotAUrl(other),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::OtherScheme);
        }
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// The URL, without a trailing slash.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The host, if traffic to it is unencrypted: plain http to another machine.
    pub(crate) fn exposed_host(&self) -> Option<&str> {
        let is_this_machine = match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => false,
        };
        self.0.host_str().filter(|_| self.0.scheme() == "http" && !is_this_machine)
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = BaseUrlError;

    fn try_from(text: String) -> Result<Self, BaseUrlError> {
        Self::parse(&text)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(deserializer)?;
    // A token read from a file often ends in a line break.
    let token = text.trim();
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(de::Error::custom(
            "the token has a space or another character that is invalid in a header",
        ));
    }
    Ok(token.into())
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Duration::deserialize(deserializer)?.min(LONGEST_REQUEST))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_loses_query_fragment_and_trailing_slashes() {
        for (text, base) in [
            ("https://retool.example.com", "https://retool.example.com"),
            ("https://retool.example.com///", "https://retool.example.com"),
            (" HTTPS://h:3000/prefix/ \n", "https://h:3000/prefix"),
            ("http://h/a/b?token=1#x", "http://h/a/b"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.as_str(), url.to_string().as_str()), (base, base));
        }
    }

    #[test]
    fn a_wrong_base_url_error_states_the_problem() {
        for (text, problem) in [
            ("retool.example.com", "the scheme is missing"),
            ("retool.example.com:3000", "the scheme is missing"),
            ("/api", "the scheme is missing"),
            ("ftp://h", "the scheme is neither http nor https"),
            ("https://:443/", "the host is missing"),
            ("https://", "the host is missing"),
            ("https://h:99999", "the port is not a number from 0 to 65535"),
        ] {
            assert_eq!(BaseUrl::parse(text).unwrap_err().to_string(), problem, "{text}");
        }
        for text in ["https://a:b@h", "https://a:8/b@h", "https://a:8?b@h", "https://a:8#b@h"] {
            assert!(matches!(BaseUrl::parse(text), Err(BaseUrlError::Credentials)), "{text}");
        }
        assert!(BaseUrl::parse("https://a b").unwrap_err().to_string().starts_with("not a URL ("));
    }
}

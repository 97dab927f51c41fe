//! Fetches the public keys of callers from the URL at which their issuer publishes them.

use std::fmt;
use std::time::Duration;

use http::{StatusCode, header};
use reqwest::{Client, Url, redirect, retry};

use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::token::reason;
use crate::agent::service::{SetupError, tls_with};
use crate::numbers;

/// Timeout of one request.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Maximum size of a document, in bytes.
const LARGEST: usize = 1024 * 1024;
/// Bounds of the interval between fetches.
const KEPT: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(12 * 60 * 60));

/// The URL of a set of public keys.
#[derive(Clone)]
pub(crate) struct Jwks {
    client: Client,
    url: Url,
}

impl Jwks {
    /// Creates a client for the keys at this URL. Nothing is connected yet.
    ///
    /// # Errors
    /// [`HostedError::JwksUrl`], [`HostedError::Setup`]
    pub(crate) fn new(url: &str) -> Result<Self, HostedError> {
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let url = Url::parse(url).ok().filter(is_http).ok_or(HostedError::JwksUrl)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls_with(Vec::new())?)
            .user_agent(concat!("baton-retool/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(MAX_WAIT)
            .build()
            .map_err(|error| SetupError::Client(reason(error)))?;
        Ok(Self { client, url })
    }

    /// Whether the URL uses plain HTTP, so that anyone on the network path can replace the keys.
    pub(crate) fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Fetches the document. The duration is the time until it should be fetched again.
    ///
    /// # Errors
    /// [`HostedError::Jwks`]
    pub(crate) async fn fetch(&self) -> Result<(String, Duration), HostedError> {
        let failed = |problem: String| HostedError::Jwks { url: shown(&self.url), problem };
        let unreachable = |error| failed(format!("cannot be reached: {}", reason(error)));
        let mut answer = self
            .client
            .get(self.url.clone())
            .header(header::ACCEPT, "application/json")
            .send()
            .await
            .map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(failed(format!("answered {}", answer.status())));
        }
        let control = answer.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let kept = kept(control.unwrap_or_default());
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > LARGEST {
                return Err(failed(format!("answered with more than {}", numbers::size(LARGEST))));
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body)
            .map_err(|_| failed("answered with text that is not valid UTF-8".to_owned()))?;
        Ok((text, kept))
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("url", &shown(&self.url)).finish_non_exhaustive()
    }
}

/// The URL without the parts that can contain a credential: user, password, query and fragment.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The time until a document with this `Cache-Control` is fetched again.
fn kept(control: &str) -> Duration {
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    seconds.map_or(KEPT.0, Duration::from_secs).clamp(KEPT.0, KEPT.1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_the_url_are_not_shown() {
        let url = Url::parse("https://user:hunter2@keys.example.com:8443/jwks?key=hunter2#hunter2").unwrap();
        assert_eq!(shown(&url), "https://keys.example.com:8443/jwks");
        for wrong in ["keys.example.com", "file:///jwks", "https://", ""] {
            assert!(matches!(Jwks::new(wrong), Err(HostedError::JwksUrl)), "{wrong}");
        }
    }

    #[test]
    fn keeps_a_document_for_its_max_age_within_bounds() {
        assert_eq!(kept(""), KEPT.0);
        assert_eq!(kept("public, max-age=3600"), Duration::from_secs(3600));
        assert_eq!(kept("max-age=1"), KEPT.0);
        assert_eq!(kept("max-age=99999999"), KEPT.1);
        assert_eq!(kept("max-age=x"), KEPT.0);
    }
}

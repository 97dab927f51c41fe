//! The public keys that callers sign with, as an issuer publishes them.

use std::time::Duration;

use http::{StatusCode, header};
use reqwest::{Client, Url, redirect, retry};

use crate::agent::hosted::error::HostedError;
use crate::agent::hosted::token::reason;
use crate::agent::service::{SetupError, tls_with};

/// Longest time for one request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest document that is read, in bytes.
const LARGEST: usize = 1024 * 1024;
/// The shortest and the longest time that a document is kept.
const KEPT: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(12 * 60 * 60));

/// Where public keys are published.
#[derive(Debug, Clone)]
pub(crate) struct Jwks {
    client: Client,
    url: Url,
}

impl Jwks {
    /// The keys at this address. Nothing is connected yet.
    ///
    /// # Errors
    /// [`HostedError::Jwks`], [`HostedError::Setup`]
    pub(crate) fn new(url: &str) -> Result<Self, HostedError> {
        let url = Url::parse(url).map_err(|error| HostedError::Jwks {
            url: url.to_owned(),
            problem: format!("is no URL: {error}"),
        })?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls_with(Vec::new())?)
            .user_agent(concat!("baton-retool/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| SetupError::Client(reason(error)))?;
        Ok(Self { client, url })
    }

    /// The document, and how long it may be kept.
    ///
    /// # Errors
    /// [`HostedError::Jwks`]
    pub(crate) async fn fetch(&self) -> Result<(String, Duration), HostedError> {
        let failed = |problem: String| HostedError::Jwks { url: self.url.to_string(), problem };
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
                return Err(failed(format!("answered with more than {LARGEST} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        let text = String::from_utf8(body)
            .map_err(|_| failed("answered with something that is no text".to_owned()))?;
        Ok((text, kept))
    }
}

/// How long a document with this `Cache-Control` may be kept.
fn kept(control: &str) -> Duration {
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    seconds.map_or(KEPT.0, Duration::from_secs).clamp(KEPT.0, KEPT.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_long_as_it_says_within_bounds() {
        assert_eq!(kept(""), KEPT.0);
        assert_eq!(kept("public, max-age=3600"), Duration::from_secs(3600));
        assert_eq!(kept("max-age=1"), KEPT.0);
        assert_eq!(kept("max-age=99999999"), KEPT.1);
        assert_eq!(kept("max-age=x"), KEPT.0);
    }
}

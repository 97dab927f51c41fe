//! The access token of every call: fetched when it is first needed and kept until it expires.

mod error;

use std::error::Error;
use std::iter::successors;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::{StatusCode, header};
use rand::random;
use reqwest::{Client, Response, Url, redirect, retry};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use url::form_urlencoded;

use crate::agent::limited_body::{self, BodyError};
use crate::agent::service::api_host::ApiHost;
use crate::agent::service::assertion;
use crate::agent::service::credentials::{ClientId, ClientKey};
use crate::agent::service::dial::{self, DialError, SetupError};
use crate::agent::service::proxy::Proxy;
use crate::agent::service::version::SDK;
use crate::numbers::log_seconds;

pub(crate) use error::TokenError;

/// A token that expires sooner is not used anymore.
const MIN_LIFETIME: Duration = Duration::from_secs(10);
/// Maximum accepted lifetime of a token.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum size of a response, in bytes.
const LARGEST: usize = 64 * 1024;
/// Timeout of connecting.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How often a request is retried when the endpoint is unavailable or unreachable, and the wait before the
/// first retry.
const RETRIES: (usize, Duration) = (3, Duration::from_millis(500));

/// Fetches tokens and keeps the newest one.
#[derive(Debug)]
pub(crate) struct Tokens {
    client: Client,
    url: Url,
    id: ClientId,
    key: ClientKey,
    /// The proxy that requests go through, if any.
    proxy: Option<Proxy>,
    /// Locked while a token is fetched, so that all calls wait for the same one.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Token>,
    /// The time and the error of the last failed request; `None` once a request has succeeded.
    failed: Option<(Instant, TokenError)>,
}

#[derive(Debug, Clone)]
struct Token {
    /// The value of the `authorization` header of a call.
    authorization: MetadataValue<Ascii>,
    until: Instant,
}

/// The endpoint's response. Other keys are ignored, and a key that is null counts as missing.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<i64>,
}

impl Tokens {
    /// Creates a token source for this client at the API at `host`, which is reached through `proxy` if it is
    /// set. Nothing is connected yet.
    ///
    /// # Errors
    /// [`SetupError`]
    pub(crate) fn new(
        host: &ApiHost,
        id: ClientId,
        key: ClientKey,
        proxy: Option<&Proxy>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        let url = Url::parse(&format!("https://{host}/auth/v1/token"))
            .map_err(|_| SetupError::Name(host.to_string()))?;
        let failed = |error| SetupError::Client(reason(error));
        // The environment alone would result in other rules than those of API calls.
        let mut client = Client::builder().no_proxy();
        if let Some(proxy) = proxy {
            let mut used = reqwest::Proxy::all(proxy.uri().to_string()).map_err(failed)?;
            if let Some(credentials) = proxy.authorization() {
                used = used.custom_http_auth(credentials.clone());
            }
            client = client.proxy(used);
        }
        let client = client
            .tls_backend_preconfigured(dial::tls()?)
            .user_agent(format!("baton-c1-credential-provider baton-sdk/{SDK}"))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .timeout(timeout)
            .build()
            .map_err(failed)?;
        Ok(Self { client, url, id, key, proxy: proxy.cloned(), state: Mutex::default() })
    }

    /// Returns the value of the `authorization` header for a call now.
    ///
    /// # Errors
    /// [`TokenError`]
    pub(crate) async fn authorization(&self) -> Result<MetadataValue<Ascii>, TokenError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(token) = state.newest.as_ref().filter(|token| token.until > Instant::now() + MIN_LIFETIME)
        {
            return Ok(token.authorization.clone());
        }
        // The request that this call has waited for has failed. If each call made its own request in
        // sequence, calls would wait for minutes.
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        let mut is_first = state.newest.is_none() && state.failed.is_none();
        let wait =
            ExponentialBuilder::default().with_max_times(RETRIES.0).with_min_delay(RETRIES.1).with_jitter();
        let token = (|| self.fetch())
            .retry(wait)
            .when(|error| matches!(error, TokenError::OutOfOrder { .. } | TokenError::Unreachable { .. }))
            .notify(|error, wait| {
                let next_backoff = log_seconds(wait);
                // Without an earlier token, as at the start, the first error is logged at once. The line about the
                // failed call has later errors.
                if std::mem::take(&mut is_first) {
                    tracing::warn!(%error, next_backoff, "cannot get an access token from ConductorOne, retrying");
                } else {
                    tracing::debug!(%error, next_backoff, "retrying the request for an access token");
                }
            })
            .await;
        match token {
            Ok(token) => {
                let authorization = token.authorization.clone();
                *state = State { newest: Some(token), failed: None };
                Ok(authorization)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Drops the token of a call that was rejected, so that the next call fetches a new one, unless another
    /// call has already done so.
    pub(crate) async fn refused(&self, authorization: &MetadataValue<Ascii>) {
        let mut state = self.state.lock().await;
        if state.newest.as_ref().is_some_and(|token| token.authorization == authorization) {
            state.newest = None;
        }
    }

    async fn fetch(&self) -> Result<Token, TokenError> {
        let begun = Instant::now();
        let now = OffsetDateTime::now_utc();
        let assertion = assertion::signed(&self.id, &self.key, now, random())
            .map_err(|error| TokenError::Signature(error.to_string()))?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_assertion", &assertion)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_id", self.id.as_str())
            .append_pair("grant_type", "client_credentials")
            .finish();
        let answer = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(TokenError::OutOfOrder { url: self.url.to_string(), status });
            }
            _ if status.is_client_error() => {
                let clock_is_ahead_by = ahead(&answer, now);
                return Err(TokenError::Refused { url: self.url.to_string(), status, clock_is_ahead_by });
            }
            _ => return Err(TokenError::OutOfOrder { url: self.url.to_string(), status }),
        }
        self.read(self.body(answer).await?, begun)
    }

    async fn body(&self, answer: Response) -> Result<Vec<u8>, TokenError> {
        limited_body::read(answer, LARGEST).await.map_err(|error| match error {
            BodyError::Connection(error) => self.unreachable(error),
            BodyError::TooLong => self.no_token("a response that is too long"),
        })
    }

    fn read(&self, body: Vec<u8>, begun: Instant) -> Result<Token, TokenError> {
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|_| self.no_token("an invalid JSON response"))?;
        let Some(token) = answer.access_token.filter(|token| !token.is_empty()) else {
            return Err(self.no_token("an empty token"));
        };
        let kind = match answer.token_type.as_deref().unwrap_or_default() {
            "" => "Bearer",
            kind if kind.eq_ignore_ascii_case("bearer") => "Bearer",
            kind if kind.eq_ignore_ascii_case("mac") => "MAC",
            kind if kind.eq_ignore_ascii_case("basic") => "Basic",
            other => other,
        };
        let mut authorization = MetadataValue::try_from(format!("{kind} {token}"))
            .map_err(|_| self.no_token("a token with characters that are not allowed in a header"))?;
        authorization.set_sensitive(true);
        let life = Duration::from_secs(u64::try_from(answer.expires_in.unwrap_or(0)).unwrap_or(0));
        let life = life.min(LONGEST_LIFE);
        Ok(Token { authorization, until: begun + life })
    }

    fn no_token(&self, problem: &'static str) -> TokenError {
        TokenError::NoToken { url: self.url.to_string(), problem }
    }

    fn unreachable(&self, error: reqwest::Error) -> TokenError {
        let host = self.url.host_str().unwrap_or_default();
        let known = causes(&error).find_map(|cause| dial::known_problem(host, cause));
        let is_connecting = error.is_connect();
        let problem = match (known, &self.proxy) {
            (Some(problem), _) => problem.to_string(),
            (None, Some(proxy)) if is_connecting => {
                let (proxy, address) = (proxy.to_string(), self.authority());
                DialError::Proxy { proxy, address, problem: reason(error) }.to_string()
            }
            (None, _) => reason(error),
        };
        TokenError::Unreachable { url: self.url.to_string(), problem }
    }

    /// Host and port of the endpoint.
    fn authority(&self) -> String {
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{}:{port}", self.url.host_str().unwrap_or_default())
    }
}

/// An error and its causes, without the URL, which callers add.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    causes(&error).map(ToString::to_string).fold(String::new(), |text, next| match text.as_str() {
        "" => next,
        _ if text.contains(&next) => text,
        _ => format!("{text}: {next}"),
    })
}

/// An error and its causes, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
}

/// How many seconds this machine's clock is ahead of the endpoint's; `None` if the response has no valid
/// date.
fn ahead(answer: &Response, now: OffsetDateTime) -> Option<i64> {
    let date = answer.headers().get(header::DATE)?.to_str().ok()?;
    let theirs = OffsetDateTime::from(httpdate::parse_http_date(date).ok()?);
    Some((now - theirs).whole_seconds())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use rustls::crypto::ring;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::agent::service::credentials::tests::key;

    #[tokio::test]
    async fn calls_that_wait_for_the_same_token_fail_together() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let tokens = Arc::new(Tokens {
            client: Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap(),
            url: Url::parse(&format!("https://{address}/auth/v1/token")).unwrap(),
            id: ClientId::parse("tree@acme.conductor.one/pcc").unwrap(),
            key: key(None),
            proxy: None,
            state: Mutex::default(),
        });
        // Every connection closes at once and is counted.
        let counting = tokio::spawn(async move {
            let mut connections = 0;
            loop {
                let accepted = tokio::time::timeout(Duration::from_secs(30), listener.accept()).await;
                let Ok(Ok((stream, _))) = accepted else { return connections };
                let mut byte = [0];
                if stream.peek(&mut byte).await.is_ok_and(|read| read == 0) {
                    return connections;
                }
                connections += 1;
            }
        });
        let calls = (0..20).map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.authorization().await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert!(matches!(call.await.unwrap(), Err(TokenError::Unreachable { .. })));
        }
        // A connection that sends no bytes ends the count.
        drop(TcpStream::connect(address).await.unwrap());
        assert_eq!(counting.await.unwrap(), 1 + RETRIES.0);
    }
}

//! Retool's REST API, version 2: accounts and nothing else.
//!
//! Every request is sent once. Nothing is kept of an answer, no redirect is followed, and an answer counts
//! only when it is JSON that says `success`.

mod body;
pub(crate) mod error;
mod json;
mod message;
pub(crate) mod rate_limit;
mod scalar;
pub(crate) mod settings;
mod tls;
pub(crate) mod user;

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url, redirect, retry};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::Instrument;

use body::BodyError;
use error::{ApiError, Problem, SetupError};
use json::{Envelope, Want};
use message::Hidden;
use rate_limit::RateLimit;
use settings::ApiSettings;
use user::{ApiUser, NewUser, Sid};

use crate::telemetry::metrics::RestOutcome;
use crate::telemetry::watch;

/// Retool's REST API. Making one connects to nothing.
pub(crate) struct Api {
    client: Client,
    /// As errors name it.
    base: String,
    /// `{base}/api/v2/users`
    users: Url,
    /// What an answer may quote and nobody must read.
    token: SecretString,
    timeout: Duration,
    /// Held while a list of users is read: one at a time.
    list: Mutex<()>,
}

/// What the API answered, and what it said of its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// What the answer's headers say.
    pub rate_limit: RateLimit,
}

/// What one answer to a search for a user has, and where the search goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserPage {
    /// The first user with the address.
    pub user: Option<ApiUser>,
    /// What asks for the rest; `None` at the end.
    pub next: Option<String>,
}

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Largest answer about one user, in bytes.
const ONE: usize = 1024 * 1024;
/// Largest list of users, in bytes: a Retool that knows neither filter nor limit sends everybody.
const MANY: usize = 32 * 1024 * 1024;
/// How many users are asked for at a time; no more are allowed.
const PAGE: &str = "100";

impl Api {
    /// A client for this API.
    ///
    /// # Errors
    /// The URL or the token cannot be used, or the platform has no certificates to check https against.
    pub(crate) fn new(settings: &ApiSettings) -> Result<Self, SetupError> {
        let base = settings.base_url.to_string();
        let users = Url::parse(&format!("{base}/api/v2/users")).map_err(|_| SetupError::Url)?;
        let bearer = format!("Bearer {}", settings.token.expose_secret());
        let mut token = HeaderValue::try_from(bearer).map_err(|_| SetupError::Token)?;
        token.set_sensitive(true);
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, token),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client_config(users.scheme() == "https")?)
            .user_agent(concat!("baton-retool/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .timeout(settings.timeout)
            .build()
            .map_err(|error| SetupError::Client(error::reason(error)))?;
        Ok(Self {
            client,
            base,
            users,
            token: settings.token.clone(),
            timeout: settings.timeout,
            list: Mutex::new(()),
        })
    }

    /// Whether the API takes the token: asks for one user.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn probe(&self) -> Result<RateLimit, ApiError> {
        let mut url = self.users.clone();
        url.query_pairs_mut().append_pair("limit", "1");
        let enough = |answer: Result<Answer<Envelope>, ApiError>| match answer {
            Ok(Answer { rate_limit, .. }) => Ok(rate_limit),
            // An old Retool sends everybody; that it does is answer enough.
            Err(ApiError { problem: Problem::TooLarge { .. }, rate_limit }) => Ok(rate_limit),
            Err(error) => Err(error),
        };
        let (request, hidden) = (self.client.get(url), Hidden::default());
        self.call(("users.probe", "GET"), request, (MANY, Want::Success), &hidden, enough).await
    }

    /// Makes an account. Retool sends its invitation as it always does.
    ///
    /// # Errors
    /// See [`ApiError`]; of some the account may have been made all the same
    /// ([`ApiError::may_have_happened`]).
    pub(crate) async fn create_user(&self, user: &NewUser) -> Result<Answer<ApiUser>, ApiError> {
        let request = with_body(self.client.post(self.users.clone()), &user.body());
        self.call(("users.create", "POST"), request, (ONE, Want::User), &user.hidden(), one_user).await
    }

    /// One account as it is now.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn user(&self, sid: &Sid) -> Result<Answer<ApiUser>, ApiError> {
        let request = self.client.get(self.user_url(sid));
        self.call(("users.get", "GET"), request, (ONE, Want::User), &Hidden::default(), one_user).await
    }

    /// The user with an e-mail address, without regard to case. How the API itself compares is not
    /// established, so that an answer may lack the user and go on. `next` continues an earlier answer.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn user_with_email(
        &self,
        email: &str,
        next: Option<&str>,
    ) -> Result<Answer<UserPage>, ApiError> {
        let mut url = self.users.clone();
        url.query_pairs_mut().append_pair("email", email);
        if let Some(next) = next {
            url.query_pairs_mut().append_pair("limit", PAGE).append_pair("next_token", next);
        }
        let hidden = Hidden::words([email]);
        let wanted = (MANY, Want::UserWithEmail(email.to_owned()));
        self.call(("users.find", "GET"), self.client.get(url), wanted, &hidden, page_of_users).await
    }

    /// Lets a user sign in, or no longer. The answer is the user as Retool has it afterwards: look at its
    /// `active`.
    ///
    /// # Errors
    /// See [`ApiError`]; of some the change may have been made all the same.
    pub(crate) async fn set_active(&self, sid: &Sid, active: bool) -> Result<Answer<ApiUser>, ApiError> {
        let body = json!({"operations": [{"op": "replace", "path": "/active", "value": active}]});
        let request = with_body(self.client.patch(self.user_url(sid)), &body);
        self.call(("users.set_active", "PATCH"), request, (ONE, Want::User), &Hidden::default(), one_user)
            .await
    }

    fn user_url(&self, sid: &Sid) -> Url {
        let mut url = self.users.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(sid.as_str());
        }
        url
    }

    /// One request, one answer, and what `judge` makes of it. Of the answer, `wanted` says how many bytes there may
    /// be, and what is read. The operation is what metrics and traces
    /// call it, the method HTTP's.
    async fn call<T>(
        &self,
        (operation, method): (&'static str, &'static str),
        request: RequestBuilder,
        wanted: (usize, Want),
        hidden: &Hidden,
        judge: impl FnOnce(Result<Answer<Envelope>, ApiError>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let watched = watch::rest_call(operation, method);
        let mut status = None;
        let answer = async {
            let response =
                request.send().await.map_err(|error| self.unanswered(error, RateLimit::UNKNOWN))?;
            status = Some(response.status());
            self.read(response, wanted, hidden).await
        }
        .instrument(watched.span())
        .await;
        let judged = judge(answer);
        let outcome = judged.as_ref().map_or_else(|error| outcome(&error.problem), |_| RestOutcome::Ok);
        watched.ended(status.map(|status| status.as_u16()), outcome);
        judged
    }

    /// Looks at the status first, and reads the body only as far as needed.
    async fn read(
        &self,
        response: Response,
        (largest, want): (usize, Want),
        hidden: &Hidden,
    ) -> Result<Answer<Envelope>, ApiError> {
        let status = response.status();
        let rate_limit = RateLimit::read(status, response.headers(), OffsetDateTime::now_utc());
        let failed = |problem| ApiError { problem, rate_limit };
        if status.is_redirection() {
            let to = redirected_to(&response);
            return Err(failed(Problem::Redirect { base: self.base.clone(), status: status.as_u16(), to }));
        }
        if !status.is_success() {
            return Err(failed(Problem::Refused {
                status: status.as_u16(),
                message: self.said(response, hidden).await,
            }));
        }
        let not_json = || failed(Problem::NotJson { base: self.base.clone(), status: status.as_u16() });
        let typed = match content_type(&response) {
            Some(kind) if is_json(kind) => true,
            Some(_) => return Err(not_json()),
            None => false,
        };
        let _turn = if largest > ONE {
            let turn = timeout(self.timeout, self.list.lock()).await;
            Some(turn.map_err(|_| failed(Problem::Timeout { waited: self.timeout }))?)
        } else {
            None
        };
        match body::read(response, largest, want).await {
            Ok(value @ Envelope { success: Some(true), .. }) => Ok(Answer { value, rate_limit }),
            Ok(Envelope { success: Some(false), message, .. }) => {
                Err(failed(Problem::Declined { message: self.shown(message, hidden) }))
            }
            Ok(_) => Err(failed(Problem::Incomplete { missing: "word on its success" })),
            Err(BodyError::TooLarge) => Err(failed(Problem::TooLarge { largest })),
            Err(BodyError::Broken(error)) => Err(self.unanswered(error, rate_limit)),
            Err(BodyError::NotJson) if typed => Err(failed(Problem::Incomplete { missing: "whole JSON" })),
            Err(BodyError::NotJson) => Err(not_json()),
        }
    }

    /// What Retool says of a refusal, if it says anything that can be shown.
    async fn said(&self, response: Response, hidden: &Hidden) -> Option<String> {
        if !content_type(&response).is_some_and(is_json) {
            return None;
        }
        self.shown(body::read(response, ONE, Want::Success).await.ok()?.message, hidden)
    }

    /// The message of an answer as it may be shown: a proxy may quote the token in it.
    fn shown(&self, message: Option<String>, hidden: &Hidden) -> Option<String> {
        let message = message?.replace(self.token.expose_secret(), message::LEFT_OUT);
        hidden.shown(Some(&message))
    }

    fn unanswered(&self, error: reqwest::Error, rate_limit: RateLimit) -> ApiError {
        let base = self.base.clone();
        let problem = if error::is_untrusted(&error) {
            Problem::Untrusted { base, reason: error::reason(error) }
        } else if error.is_connect() {
            Problem::Unreachable { base, reason: error::reason(error) }
        } else if error.is_timeout() {
            Problem::Timeout { waited: self.timeout }
        } else {
            Problem::Closed { reason: error::reason(error) }
        };
        ApiError { problem, rate_limit }
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("base", &self.base).finish_non_exhaustive()
    }
}

fn with_body(request: RequestBuilder, body: &Value) -> RequestBuilder {
    request.header(header::CONTENT_TYPE, "application/json").body(body.to_string())
}

/// What happened, as metrics have it.
fn outcome(problem: &Problem) -> RestOutcome {
    match problem {
        Problem::Redirect { .. } => RestOutcome::Redirected,
        Problem::NotJson { .. } => RestOutcome::NotJson,
        Problem::Refused { .. } => RestOutcome::Refused,
        Problem::Declined { .. } => RestOutcome::Declined,
        Problem::Incomplete { .. } | Problem::TooLarge { .. } => RestOutcome::Incomplete,
        Problem::Timeout { .. } => RestOutcome::Timeout,
        Problem::Unreachable { .. } => RestOutcome::Unreachable,
        Problem::Untrusted { .. } => RestOutcome::Untrusted,
        Problem::Closed { .. } => RestOutcome::Closed,
    }
}

fn page_of_users(answer: Result<Answer<Envelope>, ApiError>) -> Result<Answer<UserPage>, ApiError> {
    let Answer { value: Envelope { user, is_list, has_more, next_token, .. }, rate_limit } = answer?;
    if !is_list {
        return Err(ApiError { problem: Problem::Incomplete { missing: "list of users" }, rate_limit });
    }
    let more = has_more != Some(false);
    let next = next_token.filter(|next| more && !next.is_empty());
    Ok(Answer { value: UserPage { user, next }, rate_limit })
}

fn one_user(answer: Result<Answer<Envelope>, ApiError>) -> Result<Answer<ApiUser>, ApiError> {
    let Answer { value: Envelope { user, .. }, rate_limit } = answer?;
    match user {
        Some(value) => Ok(Answer { value, rate_limit }),
        None => Err(ApiError { problem: Problem::Incomplete { missing: "user" }, rate_limit }),
    }
}

fn content_type(response: &Response) -> Option<&str> {
    // What cannot be read is not JSON either.
    response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Scheme and host that a redirect leads to; the rest of the address may hold anything.
fn redirected_to(response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let to = response.url().join(location).ok()?;
    to.has_host().then(|| to.origin().ascii_serialization())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::retool::api::settings::BaseUrl;

    fn api(base_url: &str) -> Api {
        let (base_url, token) = (BaseUrl::parse(base_url).unwrap(), "retool_secret".into());
        Api::new(&ApiSettings { base_url, token, timeout: Duration::from_secs(1) }).unwrap()
    }

    #[test]
    fn the_token_is_in_no_debug_text() {
        let api = api("http://127.0.0.1:1/retool");
        let texts = [format!("{api:?}"), format!("{:?}", api.client)];
        assert!(texts.iter().all(|text| !text.contains("retool_secret")), "{texts:?}");
    }

    #[test]
    fn a_path_prefix_is_kept_and_a_sid_stays_one_part_of_the_path() {
        let api = api("http://127.0.0.1:1/retool/");
        let sid = Sid::parse("user_a b").unwrap();
        assert_eq!(api.user_url(&sid).as_str(), "http://127.0.0.1:1/retool/api/v2/users/user_a%20b");
    }

    #[test]
    fn what_is_json() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["text/html", "", "application/jsonp", "text/plain; application/json"] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}

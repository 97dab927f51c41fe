//! Client of Retool's REST API, version 2. It manages accounts only.
//!
//! Every request is sent once and redirects are not followed. Responses are not cached (decision
//! no-rest-cache). A response is accepted only if it is JSON with `success: true` (decision
//! checked-rest-answers).

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

use crate::private_text::PrivateText;
use crate::telemetry::metrics::RestOutcome;
use crate::telemetry::watch;

/// Retool's REST API. Creating a client opens no connection.
pub(crate) struct Api {
    client: Client,
    /// The base URL for error messages.
    base: String,
    /// `{base}/api/v2/users`
    users: Url,
    /// The API token. A response may quote it; it must not be shown.
    token: SecretString,
    timeout: Duration,
    /// Held while a list of users is read, so that one list is read at a time.
    list: Mutex<()>,
}

/// A response of the API with its rate limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    /// The requested value.
    pub value: T,
    /// The rate limits from the response's headers.
    pub rate_limit: RateLimit,
}

/// One page of a search for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserPage {
    /// The first user with the address.
    pub user: Option<ApiUser>,
    /// The token of the next page; `None` at the end.
    pub next: Option<String>,
}

/// Timeout for opening a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Largest response about one user, in bytes.
const ONE: usize = 1024 * 1024;
/// Largest list of users, in bytes. A Retool that supports neither filter nor limit sends all users.
const MANY: usize = 32 * 1024 * 1024;
/// Page size of a user search; the API allows no more.
const PAGE: &str = "100";

impl Api {
    /// Creates a client for this API.
    ///
    /// # Errors
    /// The URL or the token is unusable, or the platform has no certificates to verify https with.
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

    /// Requests one user to check whether the API accepts the token.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn probe(&self) -> Result<RateLimit, ApiError> {
        let mut url = self.users.clone();
        url.query_pairs_mut().append_pair("limit", "1");
        let enough = |answer: Result<Answer<Envelope>, ApiError>| match answer {
            Ok(Answer { rate_limit, .. }) => Ok(rate_limit),
            // An old Retool sends all users. An oversized list proves that the token is accepted.
            Err(ApiError { problem: Problem::TooLarge { .. }, rate_limit }) => Ok(rate_limit),
            Err(error) => Err(error),
        };
        let (request, hidden) = (self.client.get(url), Hidden::default());
        self.call(("users.probe", "GET"), request, (MANY, Want::Success), &hidden, enough).await
    }

    /// Creates an account. Retool sends its usual invitation.
    ///
    /// # Errors
    /// See [`ApiError`]. After some errors the account may exist anyway ([`ApiError::may_have_happened`]).
    pub(crate) async fn create_user(&self, user: &NewUser) -> Result<Answer<ApiUser>, ApiError> {
        let request = with_body(self.client.post(self.users.clone()), &user.body());
        self.call(("users.create", "POST"), request, (ONE, Want::User), &user.hidden(), one_user).await
    }

    /// Reads one account.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub(crate) async fn user(&self, sid: &Sid) -> Result<Answer<ApiUser>, ApiError> {
        let request = self.client.get(self.user_url(sid));
        self.call(("users.get", "GET"), request, (ONE, Want::User), &Hidden::default(), one_user).await
    }

    /// Searches for the user with an email address, ignoring case. How the API itself compares addresses is
    /// not established, so a page may lack the user although more pages follow. `next` continues an earlier
    /// search.
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

    /// Enables or disables a user's sign-in. Returns the user as Retool has it afterwards; check its `active`
    /// field.
    ///
    /// # Errors
    /// See [`ApiError`]. After some errors the change may have been made anyway.
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

    /// Sends one request and passes its response to `judge`. `wanted` is the largest response in bytes, and
    /// the data to read from it. `operation` names the call in metrics and traces; `method` is the HTTP
    /// method.
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

    /// Checks the status first, and reads the body only as far as needed.
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
            // A URL has its host in lower case.
            let token = self.token.expose_secret().to_ascii_lowercase();
            let to = redirected_to(&response).filter(|to| !to.contains(&token));
            return Err(failed(Problem::Redirect { base: self.base.clone(), status: status.as_u16(), to }));
        }
        if !status.is_success() {
            return Err(failed(Problem::Refused {
                status: status.as_u16(),
                message: self.message_of(response, hidden).await,
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
            Ok(_) => Err(failed(Problem::Incomplete { missing: "success field" })),
            Err(BodyError::TooLarge) => Err(failed(Problem::TooLarge { largest })),
            Err(BodyError::Broken(error)) => Err(self.unanswered(error, rate_limit)),
            Err(BodyError::NotJson) if typed => Err(failed(Problem::Incomplete { missing: "complete JSON" })),
            Err(BodyError::NotJson) => Err(not_json()),
        }
    }

    /// Retool's message about a refusal, if it can be shown.
    async fn message_of(&self, response: Response, hidden: &Hidden) -> Option<PrivateText> {
        if !content_type(&response).is_some_and(is_json) {
            return None;
        }
        self.shown(body::read(response, ONE, Want::Success).await.ok()?.message, hidden)
    }

    /// The message of a response, safe to show. A proxy may quote the token in it.
    fn shown(&self, message: Option<String>, hidden: &Hidden) -> Option<PrivateText> {
        let message = message?.replace(self.token.expose_secret(), message::LEFT_OUT);
        hidden.shown(Some(&message)).map(PrivateText::from)
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

/// The outcome for metrics.
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
    // An unreadable header is not JSON either.
    response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Scheme and host of the redirect's target. The rest of the URL may hold anything.
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
    fn debug_output_does_not_contain_the_token() {
        let api = api("http://127.0.0.1:1/retool");
        let texts = [format!("{api:?}"), format!("{:?}", api.client)];
        assert!(texts.iter().all(|text| !text.contains("retool_secret")), "{texts:?}");
    }

    #[test]
    fn keeps_the_path_prefix_and_escapes_the_sid() {
        let api = api("http://127.0.0.1:1/retool/");
        let sid = Sid::parse("user_a b").unwrap();
        assert_eq!(api.user_url(&sid).as_str(), "http://127.0.0.1:1/retool/api/v2/users/user_a%20b");
    }

    #[test]
    fn recognizes_json_content_types() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(kind), "{kind}");
        }
        for kind in ["text/html", "", "application/jsonp", "text/plain; application/json"] {
            assert!(!is_json(kind), "{kind}");
        }
    }
}

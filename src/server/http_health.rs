//! HTTP health endpoints, compatible with the Go connector, for probes that do not support gRPC.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connector::Connector;
use crate::monitoring_http;
use crate::server::HealthSettings;

/// Whether the server accepts calls.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether the server accepts calls now.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Answers `/health`, `/ready` and `/live`.
#[derive(Debug)]
pub(crate) struct HealthServer {
    listener: TcpListener,
    state: Health,
}

#[derive(Debug, Clone)]
struct Health {
    connector: Arc<Connector>,
    readiness: Readiness,
    /// The last check of the connector, which may be in progress; `None` before the first.
    last: Arc<Mutex<Option<Pending>>>,
}

/// A check of the connector, with its result once it has ended.
type Pending = watch::Receiver<Option<Check>>;

/// The result of a check of the connector.
#[derive(Debug, Clone)]
struct Check {
    at: Instant,
    /// The reason why the connector is unhealthy; `None` if it is healthy.
    problem: Option<String>,
}

/// How long `/health` waits for the connector.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How long all probes share the result of a check.
const FRESH: Duration = Duration::from_secs(3);

impl HealthServer {
    /// Binds the address.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) async fn listen(
        settings: &HealthSettings,
        connector: Arc<Connector>,
        readiness: Readiness,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((settings.host.as_str(), settings.port)).await?;
        tracing::info!(address = %listener.local_addr()?, "health endpoints listening");
        Ok(Self { listener, state: Health { connector, readiness, last: Arc::default() } })
    }

    /// Answers until dropped.
    pub(crate) async fn serve(self) -> Infallible {
        let router = Router::new()
            .route("/health", any(health))
            .route("/ready", any(ready))
            .route("/live", any(|| async { answer(StatusCode::OK, "alive", None) }))
            .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
            .with_state(self.state);
        monitoring_http::serve(self.listener, router).await
    }
}

/// The body of every response.
#[derive(Debug, Serialize)]
struct Body {
    status: &'static str,
    /// The time in RFC 3339, in whole seconds.
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// The reason why the response is not 200.
#[derive(Debug, Serialize)]
struct Details {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    validation_error: Option<String>,
}

/// Checks the connector, as agents do before a sync. All probes within a few seconds share one check.
async fn health(State(health): State<Health>) -> Response {
    match health.check().await.problem {
        None => answer(StatusCode::OK, "healthy", None),
        Some(problem) => {
            let details = Details { error: "connector validation failed", validation_error: Some(problem) };
            answer(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", Some(details))
        }
    }
}

impl Health {
    async fn check(&self) -> Check {
        let mut pending = self.latest();
        match pending.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(check)) => check.clone(),
            _ => Check { at: Instant::now(), problem: Some("the check ended without a result".to_owned()) },
        }
    }

    /// The check in progress, or the last one if it is fresh, or else a new one. A check runs in a task of its
    /// own, so that a client that disconnects does not cancel it: the next request would start another one.
    fn latest(&self) -> Pending {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = last.as_ref().filter(|pending| is_usable(pending)) {
            return pending.clone();
        }
        let (send, pending) = watch::channel(None);
        let connector = Arc::clone(&self.connector);
        tokio::spawn(async move {
            let problem = match timeout(MAX_WAIT, connector.validate_once()).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {} s", MAX_WAIT.as_secs())),
            };
            send.send_replace(Some(Check { at: Instant::now(), problem }));
        });
        last.insert(pending).clone()
    }
}

/// Whether the check is in progress or fresh.
fn is_usable(pending: &Pending) -> bool {
    match pending.borrow().as_ref() {
        Some(check) => check.at.elapsed() < FRESH,
        // After a panic there will be no result.
        None => pending.has_changed().is_ok(),
    }
}

/// Whether the server accepts calls. An unreachable database may be reachable again for the next call. A
/// database that refuses the password answers no call until the password is changed, so the server is not
/// ready.
async fn ready(State(health): State<Health>) -> Response {
    let details = if !health.readiness.is_ready() {
        Details { error: "the server is starting or stopping", validation_error: None }
    } else if health.connector.is_login_refused()
        // A server that is not ready may receive no calls, so the probe itself has to detect that the login
        // works again.
        && let Some(problem) = health.check().await.problem
        && health.connector.is_login_refused()
    {
        Details { error: "the database does not accept the password", validation_error: Some(problem) }
    } else {
        return answer(StatusCode::OK, "ready", None);
    };
    answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", Some(details))
}

fn answer(code: StatusCode, status: &'static str, details: Option<Details>) -> Response {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let body = Body { status, timestamp: now.format(&Rfc3339).unwrap_or_default(), details };
    // Text fields can always be written as JSON.
    let text = serde_json::to_string(&body).unwrap_or_default() + "\n";
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

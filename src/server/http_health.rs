//! HTTP health endpoints, as the former program had them, for probes that cannot speak gRPC.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use crate::connector::Connector;
use crate::monitoring_http;

/// Whether the server takes calls.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether it does now.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Answers `/health`, `/ready` and `/live`.
#[derive(Debug)]
pub struct HealthServer {
    listener: TcpListener,
    state: Health,
}

#[derive(Debug, Clone)]
struct Health {
    connector: Arc<Connector>,
    readiness: Readiness,
}

/// How long `/health` waits for the connector.
const PATIENCE: Duration = Duration::from_secs(30);

impl HealthServer {
    /// Takes the address.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn listen(
        host: &str,
        port: u16,
        connector: Arc<Connector>,
        readiness: Readiness,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        tracing::info!(address = %listener.local_addr()?, "health endpoints listening");
        Ok(Self { listener, state: Health { connector, readiness } })
    }

    /// Answers until dropped.
    pub async fn serve(self) -> Infallible {
        let router = Router::new()
            .route("/health", any(health))
            .route("/ready", any(ready))
            .route("/live", any(|| async { answer(StatusCode::OK, "alive", None) }))
            .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
            .with_state(self.state);
        monitoring_http::serve(self.listener, router).await
    }
}

/// Asks the connector, as agents do before they sync.
async fn health(State(health): State<Health>) -> Response {
    let unhealthy = |error: String| {
        let details = json!({ "error": "connector validation failed", "validation_error": error });
        answer(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", Some(details))
    };
    match tokio::time::timeout(PATIENCE, health.connector.validate_once()).await {
        Ok(Ok(())) => answer(StatusCode::OK, "healthy", None),
        Ok(Err(error)) => unhealthy(error.to_string()),
        Err(_) => unhealthy(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ready(State(health): State<Health>) -> Response {
    if health.readiness.is_ready() {
        answer(StatusCode::OK, "ready", None)
    } else {
        let details = json!({ "error": "the server is starting or stopping" });
        answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready", Some(details))
    }
}

fn answer(code: StatusCode, status: &str, details: Option<Value>) -> Response {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut body = Map::new();
    body.insert("status".to_owned(), status.into());
    body.insert("timestamp".to_owned(), now.format(&Rfc3339).unwrap_or_default().into());
    if let Some(details) = details {
        body.insert("details".to_owned(), details);
    }
    let text = format!("{}\n", Value::Object(body));
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

//! The client of Lambda's Runtime API: gets events, one at a time, and posts their results.
//!
//! The crate `lambda_runtime` has its own loop, which reads events and errors of any size. Only its client is
//! used here (decision lambda-loop).

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient, build_request};
use serde_json::json;

use crate::numbers;
use crate::repeats::Verdict;
use crate::server::lambda::event::Form;
use crate::server::lambda::function::{Configurations, Function, Outcome, broken, written};
use crate::server::lambda::lines;

/// The variable with the address of the Runtime API.
const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";
/// Largest event, in bytes. Lambda accepts at most 6 MB.
const LARGEST_EVENT: usize = 6 * 1024 * 1024 + 64 * 1024;
/// Largest answer to a post, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The Runtime API.
pub(crate) struct Runtime {
    client: PooledClient,
}

/// The reason why the function ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// The program does not run in AWS Lambda.
    #[error("{VARIABLE} is not set: run `baton-retool lambda` in AWS Lambda, which sets it")]
    NoRuntime,
    /// The variable is malformed.
    #[error("{VARIABLE} is not host:port")]
    Address,
    /// The Runtime API cannot be reached.
    #[error("cannot reach Lambda's Runtime API: {0}")]
    Unreachable(String),
    /// The Runtime API returns no event.
    #[error("Lambda's Runtime API returned no event: it answered {0}")]
    NoEvent(StatusCode),
    /// The Runtime API refuses a result.
    #[error("Lambda's Runtime API refused a result of {}: it answered {status}", numbers::size(*bytes))]
    NotTaken {
        /// The HTTP status.
        status: StatusCode,
        /// The size of the result.
        bytes: usize,
    },
}

/// An event with its metadata from Lambda.
pub(super) struct Invocation {
    pub(super) id: String,
    /// When Lambda ends the invocation; `None` if the header is missing or malformed.
    pub(super) deadline: Option<SystemTime>,
    /// `None` if it is too large.
    pub(super) event: Option<Bytes>,
}

impl RuntimeError {
    /// Whether the variable is the cause.
    pub(crate) fn is_a_setting(&self) -> bool {
        matches!(self, Self::NoRuntime | Self::Address)
    }
}

impl Runtime {
    /// Creates a client for the Runtime API at this address. It does not connect yet.
    ///
    /// # Errors
    /// [`RuntimeError::NoRuntime`], [`RuntimeError::Address`]
    pub(crate) fn new(address: Option<&str>) -> Result<Self, RuntimeError> {
        let address = address.filter(|address| !address.is_empty()).ok_or(RuntimeError::NoRuntime)?;
        let endpoint: Uri = format!("http://{address}").parse().map_err(|_| RuntimeError::Address)?;
        if endpoint.host().is_none() {
            return Err(RuntimeError::Address);
        }
        Ok(Self { client: PooledClient::builder().with_endpoint(endpoint).build() })
    }

    /// The variable with the address.
    pub(crate) const VARIABLE: &str = VARIABLE;

    /// Answers events until `stop` completes. An event in progress is answered first.
    ///
    /// # Errors
    /// [`RuntimeError`]
    pub(crate) async fn serve<C: Configurations>(
        self,
        mut function: Function<C>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), RuntimeError> {
        let mut stop = std::pin::pin!(stop);
        loop {
            let invocation = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                invocation = self.next() => invocation?,
            };
            let outcome = outcome(&mut function, &invocation).await;
            self.post(&invocation.id, outcome).await?;
        }
    }

    async fn next(&self) -> Result<Invocation, RuntimeError> {
        let answer = self.request("GET", "next", "invocation", Vec::new(), None).await?;
        let (parts, body) = answer.into_parts();
        if parts.status != StatusCode::OK {
            return Err(RuntimeError::NoEvent(parts.status));
        }
        let event = match Limited::new(body, LARGEST_EVENT).collect().await {
            Ok(collected) => Some(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => None,
            Err(error) => return Err(RuntimeError::Unreachable(error.to_string())),
        };
        let id = text(&parts.headers, "lambda-runtime-aws-request-id").unwrap_or_default().to_owned();
        let deadline = text(&parts.headers, "lambda-runtime-deadline-ms").and_then(deadline);
        Ok(Invocation { id, deadline, event })
    }

    /// # Errors
    /// [`RuntimeError::NotTaken`], [`RuntimeError::Unreachable`]
    async fn post(&self, id: &str, outcome: Outcome) -> Result<(), RuntimeError> {
        let (what, body, kind) = match outcome {
            Outcome::Reply(body) => ("response", body, None),
            Outcome::Error { message, kind } => {
                let body = json!({ "errorMessage": message, "errorType": kind });
                ("error", body.to_string().into_bytes(), Some(kind))
            }
        };
        let bytes = body.len();
        let answer = self.request("POST", what, &format!("invocation/{id}"), body, kind).await?;
        let status = answer.status();
        // A response that is read to the end allows reuse of the connection.
        let _ = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        if status == StatusCode::ACCEPTED { Ok(()) } else { Err(RuntimeError::NotTaken { status, bytes }) }
    }

    async fn request(
        &self,
        method: &str,
        what: &str,
        of: &str,
        body: Vec<u8>,
        error: Option<&str>,
    ) -> Result<Response<Incoming>, RuntimeError> {
        let failed = |error: BoxError| RuntimeError::Unreachable(chain(error.as_ref()));
        let mut request = build_request()
            .method(method)
            .uri(format!("/2018-06-01/runtime/{of}/{what}"))
            .header("content-type", "application/json");
        if let Some(error) = error {
            request = request.header("lambda-runtime-function-error-type", error);
        }
        let request = request.body(Body::from(body)).map_err(|error| failed(error.into()))?;
        self.client.call(request).await.map_err(failed)
    }
}

/// The result of an event, also if the handler panics.
pub(super) async fn outcome<C: Configurations>(
    function: &mut Function<C>,
    invocation: &Invocation,
) -> Outcome {
    let error = |message: String, kind| Outcome::Error { message, kind };
    let Some(deadline) = invocation.deadline else {
        let message = "the header Lambda-Runtime-Deadline-Ms is missing or not a number";
        return error(message.to_owned(), "InvalidDeadline");
    };
    let Some(event) = &invocation.event else {
        return error(
            format!("transport: the event has more than {}", numbers::size(LARGEST_EVENT)),
            "InvalidEvent",
        );
    };
    let answered = AssertUnwindSafe(function.answer(event, deadline)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        if let Verdict::Log { left_out } = lines::judge("panic") {
            tracing::error!(left_out, "handling an event panicked; the function continues");
        }
        written(&broken(), Form::Json)
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Parses a time in milliseconds since 1970.
fn deadline(text: &str) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(text.parse().ok()?))
}

/// The message of an error and of its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

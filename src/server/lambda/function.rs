//! Answers an event: checks the caller, reloads the configuration if the caller expects another version,
//! makes the call.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::connector::Connector;
use crate::proto::log_text::logged_in_full;
use crate::repeats::Verdict;
use crate::server::InMemory;
use crate::server::lambda::call::{self, Call};
use crate::server::lambda::callers::Callers;
use crate::server::lambda::event::{Event, EventError, Form};
use crate::server::lambda::lines;
use crate::server::lambda::reply::Reply;
use crate::telemetry::logs;
use crate::telemetry::settings::LogLevel;

/// The header in which callers name the version of the configuration that they expect.
const VERSION: &str = "x-baton-connector-config-version";
/// The shortest time between two reloads, and between two reloads for the same version.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long to wait for the actions of a replaced connector.
const GRACE: Duration = Duration::from_secs(30);
/// Longest version of a configuration, in bytes.
const LONGEST_VERSION: usize = 256;
/// Longest message about an event that is not a call, in characters.
const LONGEST_MESSAGE: usize = 500;
/// How long before the deadline of an invocation a reload ends.
const MARGIN: Duration = Duration::from_secs(1);

/// Builds connectors from configurations.
pub(crate) trait Configurations: Send + Sync {
    /// Builds the connector for this version of the configuration.
    ///
    /// # Errors
    /// The reason in one line.
    fn generation(&self, version: &str) -> impl Future<Output = Result<Generation, String>> + Send;
}

/// A connector built from one version of the configuration.
pub(crate) struct Generation {
    /// The version of the configuration.
    pub(crate) version: String,
    /// The connector. Its actions can outlive a call.
    pub(crate) connector: Arc<Connector>,
    /// The services of the connector.
    pub(crate) calls: InMemory,
    /// The log level.
    pub(crate) logs: DebugUntil,
}

/// The log level, and when debug logs end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DebugUntil {
    /// The lowest level that is logged.
    pub(crate) level: LogLevel,
    /// When debug logs end; `None` if they do not.
    pub(crate) until: Option<OffsetDateTime>,
}

/// The function.
pub(crate) struct Function<C> {
    callers: Callers,
    configurations: C,
    generation: Generation,
    reloads: Reloads,
}

/// The time and the version of the last reload.
#[derive(Default)]
struct Reloads {
    last: Option<(Instant, String)>,
}

/// The result of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer.
    Reply(Vec<u8>),
    /// The event is not a call, or its answer cannot be encoded.
    Error { message: String, kind: &'static str },
}

impl DebugUntil {
    /// Sets the log level.
    pub(crate) fn apply(self) {
        logs::set_level(self.level_at(OffsetDateTime::now_utc()));
    }

    /// The level at this time.
    pub(super) fn level_at(self, now: OffsetDateTime) -> LogLevel {
        let is_over = self.until.is_some_and(|until| until <= now);
        if self.level == LogLevel::Debug && is_over { LogLevel::Info } else { self.level }
    }
}

impl<C: Configurations> Function<C> {
    /// Creates a function with this connector for these callers.
    pub(crate) fn new(callers: Callers, configurations: C, generation: Generation) -> Self {
        Self { callers, configurations, generation, reloads: Reloads::default() }
    }

    /// Answers an event. `deadline` is the end of the invocation.
    pub(super) async fn answer(&mut self, event: &[u8], deadline: SystemTime) -> Outcome {
        let event = match Event::read(event) {
            Ok(event) => event,
            Err(error) => return invalid(&error),
        };
        let form = event.form;
        let Some(headers) = &event.headers else {
            return written(&broken(), Form::Json);
        };
        // This comes first: nothing is decoded or reloaded for a caller without a valid token.
        if let Err(refusal) = self.callers.admit(headers.first("authorization")) {
            if let Verdict::Log { left_out } = lines::judge(refusal.kind()) {
                tracing::warn!(reason = %refusal, left_out, "call refused");
            }
            return written(&Reply::Refusal(Status::unauthenticated(refusal.to_string())), form);
        }
        let request = match event.request() {
            Ok(request) => request,
            Err(error) => return invalid(&error),
        };
        if let Some(version) = headers.first(VERSION)
            && let Err(refusal) = self.reload(version, deadline).await
        {
            return written(&Reply::Refusal(refusal), Form::Json);
        }
        self.generation.logs.apply();
        let call = Call { method: &event.method, request, headers, deadline };
        let reply = call::answer(self.generation.calls.clone(), call).await;
        written(&reply, form)
    }

    /// Builds a new connector if the caller expects another version of the configuration.
    ///
    /// # Errors
    /// `Unavailable`: the old connector stays.
    async fn reload(&mut self, version: &str, deadline: SystemTime) -> Result<(), Status> {
        if version == self.generation.version || self.reloads.are_too_frequent(version) {
            return Ok(());
        }
        let made = self.made_before(version, deadline).await.map_err(|problem| {
            if let Verdict::Log { left_out } = lines::judge("reload") {
                tracing::error!(
                    error = problem,
                    left_out,
                    "configuration not reloaded; the previous one stays in use"
                );
            }
            logged_in_full(Status::unavailable(format!(
                "lambda-run: failed to reload connector config: {problem}"
            )))
        })?;
        tracing::info!(version = made.version, "configuration reloaded");
        self.reloads.last = Some((Instant::now(), version.to_owned()));
        let previous = std::mem::replace(&mut self.generation, made);
        tokio::spawn(async move {
            // An action that takes longer continues; only the wait ends.
            let _ = timeout(GRACE, previous.connector.actions_ended()).await;
        });
        Ok(())
    }

    /// # Errors
    /// The reason in one line.
    async fn made_before(&self, version: &str, deadline: SystemTime) -> Result<Generation, String> {
        if version.len() > LONGEST_VERSION {
            return Err(format!("its version has more than {LONGEST_VERSION} bytes"));
        }
        let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        timeout(limit_of_reload(left), self.configurations.generation(version)).await.unwrap_or_else(|_| {
            Err("ConductorOne did not serve it before the deadline of the invocation".to_owned())
        })
    }
}

impl Reloads {
    fn are_too_frequent(&self, version: &str) -> bool {
        self.last.as_ref().is_some_and(|(at, of)| {
            let pause = if of == version { PAUSES.1 } else { PAUSES.0 };
            at.elapsed() < pause
        })
    }
}

/// The longest time for a reload in an invocation that ends in `left`. The refusal needs time to reach
/// Lambda, which would otherwise end the process.
fn limit_of_reload(left: Duration) -> Duration {
    left.saturating_sub(MARGIN.min(left / 4))
}

/// The answer to an event that is not a call.
fn invalid(error: &EventError) -> Outcome {
    // The message can repeat what the caller sent, so it is not logged.
    if let Verdict::Log { left_out } = lines::judge("event") {
        tracing::warn!(left_out, "event is not a call");
    }
    let message = error.to_string().chars().take(LONGEST_MESSAGE).collect();
    Outcome::Error { message, kind: "InvalidEvent" }
}

/// The answer to an event without headers, and to a call that panics.
pub(super) fn broken() -> Reply {
    Reply::Refusal(Status::internal("Internal Server Error"))
}

/// Encodes the answer.
pub(super) fn written(reply: &Reply, form: Form) -> Outcome {
    match reply.write(form) {
        Ok(bytes) => Outcome::Reply(bytes),
        Err(error) => {
            if let Verdict::Log { left_out } = lines::judge("encoding") {
                tracing::warn!(left_out, "answer cannot be encoded as JSON");
            }
            Outcome::Error { message: error.to_string(), kind: "MarshalerError" }
        }
    }
}

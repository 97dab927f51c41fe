//! What the function makes of an event: who calls, whether another configuration is wanted, and the call itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::connector::Connector;
use crate::proto::log_text::logged_in_full;
use crate::server::InMemory;
use crate::server::lambda::call;
use crate::server::lambda::callers::Callers;
use crate::server::lambda::event::{Event, Form};
use crate::server::lambda::reply::Reply;
use crate::telemetry::logs;
use crate::telemetry::settings::LogLevel;

/// The header in which callers name the version of the configuration that they expect.
const VERSION: &str = "x-baton-connector-config-version";
/// How long after a reload there is none, and none for the same version.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How long what a former connector has begun may go on.
const GRACE: Duration = Duration::from_secs(30);

/// Makes connectors out of configurations.
pub(crate) trait Configurations: Send + Sync {
    /// The connector of this version of the configuration.
    ///
    /// # Errors
    /// Why there is none, in one line.
    fn generation(&self, version: &str) -> impl Future<Output = Result<Generation, String>> + Send;
}

/// A connector, and the configuration that it is made of.
pub(crate) struct Generation {
    /// The version of the configuration.
    pub(crate) version: String,
    /// The connector, which may have work under way that outlives a call.
    pub(crate) connector: Arc<Connector>,
    /// Its services.
    pub(crate) calls: InMemory,
    /// What is logged.
    pub(crate) logs: DebugUntil,
}

/// What is logged, for debug logs may end by themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DebugUntil {
    /// The least severity.
    pub(crate) level: LogLevel,
    /// When debug logs end; nothing where they do not.
    pub(crate) until: Option<OffsetDateTime>,
}

/// The function.
pub(crate) struct Function<C> {
    callers: Callers,
    configurations: C,
    generation: Generation,
    reloads: Reloads,
}

/// When connectors were made anew.
#[derive(Default)]
struct Reloads {
    last: Option<(Instant, String)>,
}

/// What Lambda gets for an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer.
    Reply(Vec<u8>),
    /// The event is no call, or its answer cannot be written.
    Error { message: String, kind: &'static str },
}

impl DebugUntil {
    /// Logs so from now on.
    pub(crate) fn apply(self) {
        let is_over = self.until.is_some_and(|until| until <= OffsetDateTime::now_utc());
        let level = if self.level == LogLevel::Debug && is_over { LogLevel::Info } else { self.level };
        logs::set_level(level);
    }
}

impl<C: Configurations> Function<C> {
    /// A function that lets these callers call this connector.
    pub(crate) fn new(callers: Callers, configurations: C, generation: Generation) -> Self {
        Self { callers, configurations, generation, reloads: Reloads::default() }
    }

    /// Answers an event. A call may take until `deadline`.
    pub(super) async fn answer(&mut self, event: &[u8], deadline: SystemTime) -> Outcome {
        let event = match Event::read(event) {
            Ok(event) => event,
            Err(error) => {
                // The text may repeat what the caller sent.
                tracing::warn!("an event is no call");
                return Outcome::Error { message: error.to_string(), kind: "InvalidEvent" };
            }
        };
        let form = event.form;
        let Some(headers) = event.headers.clone() else {
            return written(&broken(), Form::Json);
        };
        // Before anything else is done for the caller: only a known one can cause a reload.
        if let Err(refusal) = self.callers.admit(headers.first("authorization")) {
            tracing::warn!(reason = %refusal, "a caller was refused");
            return written(&Reply::Refusal(Status::unauthenticated(refusal.to_string())), form);
        }
        if let Some(version) = headers.first(VERSION)
            && let Err(refusal) = self.reload(version).await
        {
            return written(&Reply::Refusal(refusal), Form::Json);
        }
        self.generation.logs.apply();
        let reply = call::answer(self.generation.calls.clone(), event, &headers, deadline).await;
        written(&reply, form)
    }

    /// Makes the connector anew where the caller expects another version of the configuration.
    async fn reload(&mut self, version: &str) -> Result<(), Status> {
        if version == self.generation.version || self.reloads.are_too_frequent(version) {
            return Ok(());
        }
        let made = self.configurations.generation(version).await.map_err(|problem| {
            tracing::error!(error = problem, "the new configuration cannot be used; the former one stays");
            logged_in_full(Status::unavailable(format!(
                "lambda-run: failed to reload connector config: {problem}"
            )))
        })?;
        tracing::info!(version = made.version, "the connector has a new configuration");
        self.reloads.last = Some((Instant::now(), version.to_owned()));
        let former = std::mem::replace(&mut self.generation, made);
        tokio::spawn(async move {
            // What has not ended by then goes on by itself; only the wait for it ends.
            let _ = timeout(GRACE, former.connector.actions_ended()).await;
        });
        Ok(())
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

/// What is answered to a call of which nothing is known, or that broke off.
pub(super) fn broken() -> Reply {
    Reply::Refusal(Status::internal("Internal Server Error"))
}

/// The answer in this form.
pub(super) fn written(reply: &Reply, form: Form) -> Outcome {
    match reply.write(form) {
        Ok(bytes) => Outcome::Reply(bytes),
        Err(error) => {
            tracing::warn!("an answer cannot be written as JSON");
            Outcome::Error { message: error.to_string(), kind: "MarshalerError" }
        }
    }
}

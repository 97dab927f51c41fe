//! Records the work for callers: each call, statement, wait and request becomes a span of a trace and a value
//! of a metric.
//!
//! A span has only the names and numbers that are set here: no SQL, no parameter values, no text from
//! callers, no error messages.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::telemetry::metrics::{self, Outcome, RestOutcome, TaskOutcome};

/// The target of the spans that become traces. No other span and no event uses it.
pub(crate) const SPANS: &str = "spans";

/// A call to this program. Ends with [`Call::ended`] or when dropped.
#[derive(Debug)]
pub(crate) struct Call {
    span: Span,
    name: (&'static str, &'static str),
}

/// Starts a call of the method `name.1` of the service `name.0`; both are empty for an unknown method. The
/// call belongs to the trace in the caller's `traceparent`, which has only numbers. The `tracestate` can
/// contain any text, and is left out.
pub(crate) fn call(name: (&'static str, &'static str), headers: &HeaderMap) -> Call {
    metrics::call_in_progress(1);
    let (service, method) = name;
    let shown = if method.is_empty() { metrics::UNKNOWN } else { "" };
    let span = tracing::info_span!(
        target: SPANS,
        "call",
        otel.name = %format_args!("{shown}{service}{}{method}", if method.is_empty() { "" } else { "/" }),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
        baton.rows = Empty,
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new().extract(&Traceparent(headers));
        if caller.span().span_context().is_valid() {
            // This fails only if spans do not become traces.
            let _ = span.set_parent(caller);
        }
    }
    Call { span, name }
}

impl Call {
    /// The span of all work for the call.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records that the call has ended with this code and, for a listing, with this many rows.
    pub(crate) fn ended(&self, code: Code, took: Duration, rows: Option<usize>) {
        metrics::call_ended(self.name, code, took, rows);
        self.span.record("rpc.grpc.status_code", code as i32);
        if let Some(rows) = rows {
            self.span.record("baton.rows", rows as i64);
        }
        if is_our_fault(code) {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        metrics::call_in_progress(-1);
    }
}

/// The codes that OpenTelemetry treats as errors of the server.
fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

/// A statement in progress. If dropped before it has ended, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct Statement {
    span: Span,
    name: &'static str,
    started: Instant,
    outcome: Outcome,
}

/// Starts a statement. `name` is a short name such as `groups.list`, and never SQL.
pub(crate) fn statement(name: &'static str) -> Statement {
    let span = tracing::info_span!(
        target: SPANS,
        "statement",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system = "postgresql",
        db.operation.name = name,
    );
    Statement { span, name, started: Instant::now(), outcome: Outcome::Cancelled }
}

impl Statement {
    /// The span in which to run the statement.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the statement. `succeeded` is true on success.
    pub(crate) fn ended(mut self, succeeded: bool) {
        self.outcome = if succeeded { Outcome::Ok } else { Outcome::Failed };
    }
}

impl Drop for Statement {
    fn drop(&mut self) {
        metrics::statement_ended(self.name, self.outcome, self.started.elapsed());
        if self.outcome != Outcome::Ok {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// A wait for a connection to the database, which ends when dropped.
#[derive(Debug)]
pub(crate) struct PoolWait {
    span: Span,
    started: Instant,
}

/// Starts a wait.
pub(crate) fn pool_wait() -> PoolWait {
    PoolWait {
        span: tracing::info_span!(target: SPANS, "pool wait", otel.kind = "internal"),
        started: Instant::now(),
    }
}

impl PoolWait {
    /// The span in which to wait.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }
}

impl Drop for PoolWait {
    fn drop(&mut self) {
        metrics::pool_waited(self.started.elapsed());
    }
}

/// A request to Retool's REST API. If dropped before it has ended, it counts as cancelled.
#[derive(Debug)]
pub(crate) struct RestCall {
    span: Span,
    operation: &'static str,
    started: Instant,
    status: Option<u16>,
    outcome: RestOutcome,
}

/// Starts a request. `operation` is a short name such as `users.create`, and never a path with an id;
/// `method` is the HTTP method.
pub(crate) fn rest_call(operation: &'static str, method: &'static str) -> RestCall {
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        error.type = Empty,
    );
    let started = Instant::now();
    RestCall { span, operation, started, status: None, outcome: RestOutcome::Cancelled }
}

impl RestCall {
    /// The span in which to make the request.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the request, with its status if it was answered.
    pub(crate) fn ended(mut self, status: Option<u16>, outcome: RestOutcome) {
        (self.status, self.outcome) = (status, outcome);
    }
}

impl Drop for RestCall {
    fn drop(&mut self) {
        metrics::rest_ended(self.operation, self.outcome, self.status, self.started.elapsed());
        if let Some(status) = self.status {
            self.span.record("http.response.status_code", i64::from(status));
        }
        if self.outcome != RestOutcome::Ok {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", self.outcome.as_str());
        }
    }
}

/// A task of ConductorOne, the root of a trace. If dropped before it has ended, it counts as aborted.
#[derive(Debug)]
pub(crate) struct TaskRun {
    span: Span,
    kind: &'static str,
    started: Instant,
    outcome: TaskOutcome,
}

/// Starts a task. `kind` is one of a few names, such as `grant`.
pub(crate) fn task(kind: &'static str) -> TaskRun {
    metrics::task_in_progress(1);
    let span = tracing::info_span!(
        target: SPANS,
        parent: None,
        "task",
        otel.name = %format_args!("task {kind}"),
        otel.kind = "consumer",
        otel.status_code = Empty,
        baton.task = kind,
        baton.outcome = Empty,
    );
    TaskRun { span, kind, started: Instant::now(), outcome: TaskOutcome::Aborted }
}

impl TaskRun {
    /// The span in which to run the task.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Records the end of the task.
    pub(crate) fn ended(mut self, outcome: TaskOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for TaskRun {
    fn drop(&mut self) {
        metrics::task_in_progress(-1);
        metrics::task_ended(self.kind, self.outcome, self.started.elapsed());
        self.span.record("baton.outcome", self.outcome.as_str());
        if self.outcome != TaskOutcome::Done {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// The trace and the span of this thread's current work; `None` without traces.
pub(super) fn current() -> Option<SpanContext> {
    opentelemetry::Context::map_current(|context| {
        let context = context.span().span_context().clone();
        context.is_valid().then_some(context)
    })
}

/// The single header of a request from which the caller's trace is read.
struct Traceparent<'a>(&'a HeaderMap);

impl Traceparent<'_> {
    const NAME: &'static str = "traceparent";
}

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == Self::NAME).then(|| self.0.get(key)?.to_str().ok()).flatten()
    }

    fn keys(&self) -> Vec<&str> {
        vec![Self::NAME]
    }
}

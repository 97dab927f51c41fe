//! One log line per call, written when the call ends: the method, the caller, the status and its reason, the
//! duration, the number of rows and the sync.
//!
//! Field names and levels are those of the Go connector. If a peer has many failed calls, some lines are
//! left out, and the next line has their number (`left_out`). Text that the caller chooses is not logged: by
//! mistake or on purpose, it could contain a person's e-mail address or a token.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::BodyExt;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Instrument;

use crate::numbers::log_milliseconds;
use crate::proto::descriptor_pool;
use crate::repeats::{Repeats, Verdict};
use crate::server::transport::connection::Peer;
use crate::server::transport::deadline::requested_timeout;
use crate::server::transport::logged_status::LoggedStatus;
use crate::telemetry::watch;

/// Wraps a service so that its calls are logged.
#[derive(Debug, Clone)]
pub(crate) struct AccessLogLayer {
    /// Longest duration of a call, to distinguish a call that timed out from a call that was cancelled.
    deadline: Duration,
    lines: Arc<Lines>,
}

/// The limits of lines about failed calls of a peer.
#[derive(Debug)]
struct Lines {
    of_unauthenticated: Repeats,
    of_callers: Repeats,
}

impl AccessLogLayer {
    pub(crate) fn new(deadline: Duration) -> Self {
        let lines = Lines { of_unauthenticated: Repeats::new(10), of_callers: Repeats::new(500) };
        Self { deadline, lines: Arc::new(lines) }
    }
}

/// See [`AccessLogLayer`].
#[derive(Debug, Clone)]
pub(crate) struct AccessLog<S> {
    inner: S,
    rules: AccessLogLayer,
}

/// What a handler adds to the log line of its call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    rows: Option<usize>,
    /// `None` if the caller sent no valid sync id.
    sync_id: Option<String>,
}

impl Notes {
    /// The notes of the call of this request, with its sync id. Take them before any step that can fail.
    pub(crate) fn of<T>(request: &tonic::Request<T>, sync_id: impl FnOnce(&T) -> &str) -> Self {
        let notes = request.extensions().get::<Self>().cloned().unwrap_or_default();
        notes.lock().sync_id =
            Some(sync_id(request.get_ref())).filter(|id| is_sync_id(id)).map(str::to_owned);
        notes
    }

    /// Records the number of rows of the answer.
    pub(crate) fn listed(&self, rows: usize) {
        self.lock().rows = Some(rows);
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call. It is logged when dropped, so that a call that the client cancelled is logged too.
struct Call {
    /// Service and method.
    name: (&'static str, &'static str),
    peer: Option<Peer>,
    lines: Arc<Lines>,
    started: Instant,
    deadline: Duration,
    /// `None` until the call has been answered.
    status: Option<LoggedStatus>,
    notes: Notes,
    watched: watch::Call,
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog { inner, rules: self.clone() }
    }
}

impl<S, B> Service<Request<Body>> for AccessLog<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        let notes = Notes::default();
        request.extensions_mut().insert(notes.clone());
        let name = known(request.uri().path());
        let mut call = Call {
            name,
            peer,
            lines: Arc::clone(&self.rules.lines),
            started: Instant::now(),
            deadline: requested_timeout(request.headers())
                .map_or(self.rules.deadline, |requested| requested.min(self.rules.deadline)),
            status: None,
            notes,
            watched: watch::call(name, request.headers()),
        };
        let response = self.inner.call(request).instrument(call.watched.span().clone());
        Box::pin(async move {
            let (parts, body) = response.await?.into_parts();
            // An answer without a body has its status in the headers.
            call.status = LoggedStatus::of(&parts.headers, &parts.extensions);
            let body = Logged { body: body.map_err(Into::into).boxed_unsync(), call };
            Ok(Response::from_parts(parts, Body::new(body)))
        })
    }
}

/// The body of an answer, which records the status at its end.
struct Logged {
    body: http_body_util::combinators::UnsyncBoxBody<Bytes, tower::BoxError>,
    call: Call,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = tower::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, tower::BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let trailers = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.trailers_ref());
        if let Some(status) = trailers.and_then(|trailers| LoggedStatus::of(trailers, &Extensions::new())) {
            self.call.status = Some(status);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Call {
    /// Whether to log a line about the call, and how many similar lines were left out.
    fn verdict(&self, code: Code) -> Verdict {
        // Successful calls are never left out: their level is chosen by users who want to see all of them.
        if code == Code::Ok {
            return Verdict::Log { left_out: None };
        }
        let peer = self.peer.as_ref();
        let trusted = peer.is_none_or(|peer| peer.slot.is_trusted());
        let lines = if trusted { &self.lines.of_callers } else { &self.lines.of_unauthenticated };
        lines.judge(code.description(), peer.and_then(|peer| peer.slot.network))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let (service, method) = self.name;
        let took = self.started.elapsed();
        // A call that is dropped without an answer has timed out, or its client has disconnected.
        let status = self.status.take().unwrap_or_else(|| {
            if took >= self.deadline {
                LoggedStatus::without_answer(Code::DeadlineExceeded)
            } else {
                LoggedStatus::without_answer(Code::Cancelled)
            }
        });
        let LoggedStatus { code, error } = status;
        let _within = self.watched.span().enter();
        let noted = self.notes.lock();
        self.watched.ended(code, took, noted.rows);
        let Verdict::Log { left_out } = self.verdict(code) else { return };
        let peer = self.peer.as_ref().map(Peer::shown).unwrap_or_default();
        macro_rules! log {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    grpc.service = service,
                    grpc.method = method,
                    grpc.code = ?code,
                    grpc.time_ms = log_milliseconds(took),
                    peer.address = peer,
                    error = error.as_deref(),
                    rows = noted.rows,
                    sync_id = noted.sync_id,
                    left_out,
                    "finished call"
                )
            };
        }
        match code {
            Code::Ok => log!(tracing::Level::DEBUG),
            Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Unauthenticated => log!(tracing::Level::INFO),
            Code::DeadlineExceeded
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable => log!(tracing::Level::WARN),
            Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                log!(tracing::Level::ERROR);
            }
        }
    }
}

/// Service and method of a known call; empty for any other. Logs, traces and metrics need a bounded set of
/// names, whatever callers send.
fn known(path: &str) -> (&'static str, &'static str) {
    const BESIDES: [(&str, &[&str]); 3] = [
        ("grpc.health.v1.Health", &["Check", "List", "Watch"]),
        ("grpc.reflection.v1.ServerReflection", &["ServerReflectionInfo"]),
        ("grpc.reflection.v1alpha.ServerReflection", &["ServerReflectionInfo"]),
    ];
    static CALLS: LazyLock<HashMap<String, (String, String)>> = LazyLock::new(|| {
        let mut calls = HashMap::new();
        let mut add = |service: &str, method: &str| {
            calls.insert(format!("/{service}/{method}"), (service.to_owned(), method.to_owned()));
        };
        for service in descriptor_pool().services() {
            service.methods().for_each(|rpc| add(service.full_name(), rpc.name()));
        }
        for (service, methods) in BESIDES {
            methods.iter().for_each(|method| add(service, method));
        }
        calls
    });
    CALLS.get(path).map(|(service, method)| (service.as_str(), method.as_str())).unwrap_or_default()
}

/// Sync ids of agents have 27 letters and digits.
fn is_sync_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_calls_are_named() {
        for path in ["/c1.connector.v2.GrantsService/ListGrants", "/grpc.health.v1.Health/Check"] {
            let (service, method) = known(path);
            assert_eq!(format!("/{service}/{method}"), path);
        }
        for path in [
            "/ann@example.com/x",
            "/c1.connector.v2.GrantsService/Ann",
            "/grpc.health.v1.Health/a@b",
            "/grpc.health.v1.Health/Made.Up",
        ] {
            assert_eq!(known(path), ("", ""));
        }
    }
}

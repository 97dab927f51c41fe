//! Lambda's Runtime API: provides events and accepts the function's results.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::{get, post};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// How long a test waits for an answer.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The double, for one function: an event could be lost on the connection of an ended one. Stopped when dropped.
pub(crate) struct Lambda {
    address: SocketAddr,
    events: mpsc::UnboundedSender<Event>,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<String, oneshot::Sender<Posted>>>,
    /// The statuses of the next posts.
    refusals: Mutex<Vec<StatusCode>>,
    /// The answer of `/jwks`, and how often it was requested.
    jwks: Mutex<(StatusCode, String, usize)>,
}

struct Event {
    id: String,
    deadline: Option<String>,
    body: Bytes,
}

/// The result that the function posts for an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Posted {
    Reply(Bytes),
    /// The message and type of an error.
    Error(String, String),
}

impl Lambda {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, taken) = mpsc::unbounded_channel();
        let taken = Arc::new(tokio::sync::Mutex::new(taken));
        let shared = Arc::new(Shared::default());
        let posts = Arc::clone(&shared);
        let keys = Arc::clone(&shared);
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(move || next(Arc::clone(&taken))))
            .route(
                "/2018-06-01/runtime/invocation/{id}/{what}",
                post(move |path, headers, body| posted(Arc::clone(&posts), path, headers, body)),
            )
            .route("/jwks", get(move |headers| jwks(Arc::clone(&keys), headers)))
            .layer(DefaultBodyLimit::disable());
        let listening = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self { address, events, shared, listening }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The function's result for an event, with a time limit of a minute.
    pub(crate) async fn invoke(&self, body: impl Into<Bytes>) -> Posted {
        let deadline = SystemTime::now() + MAX_WAIT;
        let since = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.invoke_until(Some(&since.as_millis().to_string()), body).await
    }

    /// Like [`Self::invoke`], with this deadline.
    pub(crate) async fn invoke_until(&self, deadline: Option<&str>, body: impl Into<Bytes>) -> Posted {
        let id = format!("{:032x}", rand::random::<u128>());
        let (answer, answered) = oneshot::channel();
        self.shared.waiting.lock().unwrap().insert(id.clone(), answer);
        let event = Event { id, deadline: deadline.map(str::to_owned), body: body.into() };
        self.events.send(event).unwrap_or_else(|_| panic!("the double has ended"));
        tokio::time::timeout(MAX_WAIT, answered).await.expect("no answer in time").expect("no answer")
    }

    /// Answers the next request for an event with the status 500.
    pub(crate) fn fail_next(&self) {
        let failure = Event { id: String::new(), deadline: None, body: Bytes::new() };
        self.events.send(failure).unwrap_or_else(|_| panic!("the double has ended"));
    }

    /// Answers the next post with this status.
    pub(crate) fn refuse(&self, status: u16) {
        self.shared.refusals.lock().unwrap().push(StatusCode::from_u16(status).unwrap());
    }

    /// Sets the answer of `/jwks` from now on.
    pub(crate) fn publish(&self, status: u16, text: impl Into<String>) {
        *self.shared.jwks.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), text.into(), 0);
    }

    /// How often `/jwks` was requested since it was set.
    pub(crate) fn published(&self) -> usize {
        self.shared.jwks.lock().unwrap().2
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Posted {
    /// The reply as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Reply(bytes) => serde_json::from_slice(bytes).unwrap(),
            error => panic!("{error:?}"),
        }
    }

    /// The message and type of an error.
    #[track_caller]
    pub(crate) fn error(&self) -> (&str, &str) {
        match self {
            Self::Error(message, kind) => (message, kind),
            reply => panic!("{reply:?}"),
        }
    }
}

async fn next(events: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>>) -> Response<axum::body::Body> {
    let event = events.lock().await.recv().await;
    let mut response = Response::builder();
    let Some(Event { id, deadline, body }) = event.filter(|event| !event.id.is_empty()) else {
        return response.status(500).body(axum::body::Body::empty()).unwrap();
    };
    response = response.header("Lambda-Runtime-Aws-Request-Id", id);
    if let Some(deadline) = deadline {
        response = response.header("Lambda-Runtime-Deadline-Ms", deadline);
    }
    response.body(body.into()).unwrap()
}

async fn posted(
    shared: Arc<Shared>,
    Path((id, what)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let posted = match what.as_str() {
        "response" => Posted::Reply(body),
        "error" => {
            let error: Value = serde_json::from_slice(&body).unwrap();
            let text = |name: &str| error[name].as_str().unwrap().to_owned();
            assert_eq!(headers["lambda-runtime-function-error-type"], text("errorType"));
            Posted::Error(text("errorMessage"), text("errorType"))
        }
        other => panic!("{other}"),
    };
    // This precedes the result for the test, which can then change the next status.
    let status = shared.refusals.lock().unwrap().pop().unwrap_or(StatusCode::ACCEPTED);
    let waiting = shared.waiting.lock().unwrap().remove(&id);
    // The test may have stopped waiting.
    let _ = waiting.expect("an event that was handed out").send(posted);
    status
}

async fn jwks(shared: Arc<Shared>, headers: HeaderMap) -> (StatusCode, String) {
    assert_eq!(headers["accept"], "application/json");
    assert_eq!(headers["user-agent"], concat!("baton-retool/", env!("CARGO_PKG_VERSION")));
    let mut jwks = shared.jwks.lock().unwrap();
    jwks.2 += 1;
    (jwks.0, jwks.1.clone())
}

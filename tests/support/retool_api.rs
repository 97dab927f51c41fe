//! A double of Retool's REST API, to the extent that the API is known. It works on the test's own database,
//! checks all requests, and on request behaves like a broken network, a proxy or another version of Retool.

mod gate;
mod http;
mod usual;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::cluster::connect;
use super::postgres::Database;
pub(crate) use gate::Gate;
use http::{read_request, write_answer};
use usual::usual;

/// The only accepted token.
pub(crate) const TOKEN: &str = "retool_01-kept-in-the-header";
/// The path of the base URL before the API's own path.
const PREFIX: &str = "/tools";

/// A received request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Without the prefix and `/api/v2`.
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// Null without a body.
    pub(crate) body: Value,
}

/// An answer, or a failure instead of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The action and the answer of Retool.
    Usual,
    /// Only this answer, without an action.
    Answer(Answer),
    /// The action of Retool, then this instead of its answer.
    Done(Box<Reply>),
    /// Like the inner reply, after a delay.
    Late(Duration, Box<Reply>),
    /// Like the inner reply, after the gate is open.
    Held(Gate, Box<Reply>),
    /// This answer; its second half after the gate is open.
    Halved(Gate, Answer),
    /// The start of the answer; the connection ends after this time.
    Truncated(Duration),
    /// No answer; the connection ends.
    Closed,
}

/// Status line, headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// How it compares e-mail addresses, which is unknown for Retool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Filter {
    Exact,
    AnyCase,
    /// All users are listed, with this page size.
    Ignored(usize),
}

/// The encoding of `legacy_id`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LegacyId {
    Number,
    Text,
    Missing,
}

/// Differences between versions of Retool.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) filter: Filter,
    pub(crate) legacy_id: LegacyId,
    /// The answer to a second account with the same address.
    pub(crate) duplicate: Reply,
    /// The delay until a new account appears in the database; `None` means never.
    pub(crate) shows_after: Option<Duration>,
    /// Additional headers of every normal answer.
    pub(crate) headers: Vec<(String, String)>,
}

/// Runs in its own thread until it is dropped.
pub(crate) struct RetoolApi {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    database: String,
    manners: Mutex<Manners>,
    /// The next replies, by method.
    next: Mutex<HashMap<String, VecDeque<Reply>>>,
    /// Permanent replies, by method.
    always: Mutex<HashMap<String, Reply>>,
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<String>>,
    connections: AtomicUsize,
    changes: AtomicUsize,
}

// === impl RetoolApi ===

impl RetoolApi {
    pub(crate) fn start(database: &Database) -> Self {
        Self::launch(database, None)
    }

    /// Like [`start`](Self::start), with TLS.
    pub(crate) fn start_tls(database: &Database, certificate: &str, key: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::launch(database, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn launch(database: &Database, tls: Option<TlsAcceptor>) -> Self {
        let manners = Manners {
            filter: Filter::Exact,
            legacy_id: LegacyId::Number,
            duplicate: Reply::refusal(409, "A user with this email already exists"),
            shows_after: Some(Duration::ZERO),
            headers: Vec::new(),
        };
        let state = Arc::new(State {
            database: database.url(),
            manners: Mutex::new(manners),
            next: Mutex::default(),
            always: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            connections: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (stop, stopped) = oneshot::channel();
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, tls, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, scheme, state, stop: Some(stop), thread: Some(thread) }
    }

    /// The base URL for the setting.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}{PREFIX}", self.scheme, self.address)
    }

    /// The address, for use as a proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The flags that refer to it.
    pub(crate) fn flags(&self) -> Vec<String> {
        ["--retool-api-base-url", &self.base_url(), "--retool-api-token", TOKEN].map(str::to_owned).into()
    }

    /// Sets the reply to the next request of this method; later requests are not affected.
    pub(crate) fn next(&self, method: &str, reply: Reply) {
        self.state.next.lock().unwrap().entry(method.to_owned()).or_default().push_back(reply);
    }

    /// Sets the reply to all requests of this method from now on.
    pub(crate) fn always(&self, method: &str, reply: Reply) {
        self.state.always.lock().unwrap().insert(method.to_owned(), reply);
    }

    /// Changes its behavior.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state.manners.lock().unwrap());
    }

    /// The requests since the last call.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }

    /// The methods of the requests since the last call: `["POST", "GET"]`.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.method).collect()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How often it has changed the database, or is about to change it.
    pub(crate) fn changes(&self) -> usize {
        self.state.changes.load(Ordering::Relaxed)
    }

    /// Faults in the requests.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.state.faults.lock().unwrap().clone()
    }
}

impl Drop for RetoolApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

// === impl Reply ===

impl Reply {
    /// JSON with a status.
    pub(crate) fn json(status: u16, body: Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Self::Answer(Answer { status, headers, body: body.to_string() })
    }

    /// A refusal of Retool.
    pub(crate) fn refusal(status: u16, message: &str) -> Self {
        Self::json(status, json!({"success": false, "message": message}))
    }

    /// A web page.
    pub(crate) fn html(status: u16) -> Self {
        let headers = vec![("Content-Type".to_owned(), "text/html".to_owned())];
        Self::Answer(Answer { status, headers, body: "<html>Retool</html>".to_owned() })
    }

    /// A redirect.
    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self::html(status).with("Location", to)
    }

    /// Adds a header, or replaces its value.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer(answer) = &mut self {
            answer.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same reply, after the action of Retool.
    pub(crate) fn when_done(self) -> Self {
        Self::Done(Box::new(self))
    }

    /// The same reply, after a delay.
    pub(crate) fn late(self, wait: Duration) -> Self {
        Self::Late(wait, Box::new(self))
    }

    /// The same reply, after the gate is open.
    pub(crate) fn behind(self, gate: &Gate) -> Self {
        Self::Held(gate.clone(), Box::new(self))
    }
}

// === serving ===

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                // A client that does not trust the certificate disconnects.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
                None => serve(stream, state).await,
            }
        });
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let client = connect(&state.database).await.unwrap();
    let mut buffer = Vec::new();
    while let Some(mut seen) = read_request(&mut stream, &mut buffer).await {
        let fault = fault(&mut seen);
        state.seen.lock().unwrap().push(seen.clone());
        let mut reply = match fault {
            Some(fault) => {
                state.faults.lock().unwrap().push(format!("{fault}: {seen:?}"));
                Reply::refusal(400, "Invalid request")
            }
            None => state.reply(&seen.method),
        };
        loop {
            reply = match reply {
                Reply::Usual => Reply::Answer(usual(&client, &state, &seen).await),
                Reply::Done(then) => {
                    usual(&client, &state, &seen).await;
                    *then
                }
                Reply::Late(wait, then) => {
                    tokio::time::sleep(wait).await;
                    *then
                }
                Reply::Held(gate, then) => {
                    gate.pass().await;
                    *then
                }
                Reply::Answer(answer) => {
                    let length = answer.body.len();
                    if write_answer(&mut stream, &answer, length).await.is_err() {
                        return;
                    }
                    break;
                }
                Reply::Halved(gate, answer) => {
                    let (first, rest) = answer.body.split_at(answer.body.len() / 2);
                    let start = Answer { body: first.to_owned(), ..answer.clone() };
                    if write_answer(&mut stream, &start, answer.body.len()).await.is_err() {
                        return;
                    }
                    gate.pass().await;
                    if stream.write_all(rest.as_bytes()).await.is_err() {
                        return;
                    }
                    break;
                }
                Reply::Truncated(after) => {
                    let Reply::Answer(answer) = Reply::json(200, json!({"success": true, "data": {}})) else {
                        return;
                    };
                    let _ = write_answer(&mut stream, &answer, answer.body.len() + 100).await;
                    tokio::time::sleep(after).await;
                    return;
                }
                Reply::Closed => return,
            };
        }
    }
}

impl State {
    fn reply(&self, method: &str) -> Reply {
        let next = self.next.lock().unwrap().get_mut(method).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.lock().unwrap().get(method).cloned()).unwrap_or(Reply::Usual)
    }
}

/// The fault of a request, if any. Removes the prefix from its path.
fn fault(seen: &mut Seen) -> Option<String> {
    let Some(path) = seen.path.strip_prefix(PREFIX).and_then(|path| path.strip_prefix("/api/v2")) else {
        return Some("another path".to_owned());
    };
    seen.path = path.to_owned();
    let header = |name: &str| seen.headers.get(name).map(String::as_str);
    let agent = concat!("baton-retool/", env!("CARGO_PKG_VERSION"));
    for (name, due) in [
        ("authorization", Some(format!("Bearer {TOKEN}"))),
        ("accept", Some("application/json".to_owned())),
        ("user-agent", Some(agent.to_owned())),
        ("content-type", (!seen.body.is_null()).then(|| "application/json".to_owned())),
        ("cookie", None),
        ("referer", None),
    ] {
        if header(name) != due.as_deref() {
            return Some(format!("{name} is {:?}", header(name)));
        }
    }
    let mut query: Vec<_> = seen.query.keys().map(String::as_str).collect();
    query.sort_unstable();
    let sid = seen.path.strip_prefix("/users/").is_some_and(|sid| !sid.is_empty() && !sid.contains('/'));
    let keys = |value: &Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().into_iter().flat_map(|o| o.keys().cloned()).collect();
        keys.sort_unstable();
        keys
    };
    let good = match (seen.method.as_str(), seen.path.as_str()) {
        ("GET", "/users") => {
            let known: [&[&str]; 3] = [&["limit"], &["email"], &["email", "limit", "next_token"]];
            seen.body.is_null() && known.contains(&&query[..])
        }
        ("POST", "/users") => {
            let known: [&[&str]; 2] =
                [&["email", "first_name", "last_name"], &["email", "first_name", "last_name", "user_type"]];
            let texts = seen.body.as_object().is_some_and(|body| body.values().all(Value::is_string));
            query.is_empty() && texts && known.iter().any(|known| keys(&seen.body) == *known)
        }
        ("GET", _) if sid => query.is_empty() && seen.body.is_null(),
        ("PATCH", _) if sid => {
            let operation = &seen.body["operations"][0];
            let due =
                json!({"operations": [{"op": "replace", "path": "/active", "value": operation["value"]}]});
            query.is_empty() && operation["value"].is_boolean() && seen.body == due
        }
        _ => false,
    };
    (!good).then(|| "Retool does not support this request".to_owned())
}

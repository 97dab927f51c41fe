//! A double of ConductorOne: the token endpoint and the API on one TLS port, like the real service. It checks
//! all requests, and fails on request.

mod api;
mod finished;
pub(crate) mod listener;
mod plan;
mod token;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use baton_retool::proto::connectorapi::task::TaskType;
use baton_retool::proto::connectorapi::{
    BatonServiceFinishTaskRequest, BatonServiceHelloRequest, Task,
    baton_service_finish_task_request::FinalState,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

pub(crate) use finished::Finished;
pub(crate) use plan::{Method, Plan, Tls};

use super::server::{Server, program};

/// How long a test waits for an expected event.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A name of the double that only [`ConnectProxy`](super::faulty_http::ConnectProxy) resolves. The address of the
/// double is a loopback address, which clients never reach through a proxy.
pub(crate) const NAME: &str = "c1.test";

/// The double; stopped when dropped.
pub(crate) struct C1 {
    address: SocketAddr,
    /// Certificates, and a directory for the program's temporary files.
    folder: TempDir,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

/// The shared state of the double.
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The public key and the id of the client.
    public_key: Vec<u8>,
    client_id: String,
    audience: String,
    /// The id of the key, if it has one.
    key_id: Option<String>,
    nonces: Vec<String>,
    /// The issued tokens.
    tokens: Vec<String>,
    queue: VecDeque<Task>,
    /// The ids of the offered tasks.
    offered: HashSet<String>,
    number: u64,
    /// The calls, in order.
    calls: Vec<Call>,
    hellos: Vec<BatonServiceHelloRequest>,
    /// The report of each task.
    finished: HashMap<String, BatonServiceFinishTaskRequest>,
    /// Whether connections were broken and answers lost with them.
    disturbed: bool,
    uploads: Vec<Upload>,
    connections: usize,
    /// How many connections were attempted, including failed ones.
    attempts: usize,
    serving: Vec<tokio::task::AbortHandle>,
    /// Faults in the requests.
    faults: Vec<String>,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The task of the call; empty for none.
    pub(crate) task_id: String,
    pub(crate) at: tokio::time::Instant,
    /// For GetTasks: the requested number of tasks, and the known tasks.
    pub(crate) asked: Option<(u32, Vec<String>)>,
}

/// A completely uploaded file.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) task_id: String,
    pub(crate) bytes: Vec<u8>,
    /// The sizes of its pieces.
    pub(crate) pieces: Vec<usize>,
}

impl C1 {
    pub(crate) async fn start() -> Self {
        Self::with_key_id(None).await
    }

    pub(crate) async fn with_key_id(key_id: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Notify::new() });
        let (address, listening) = listener::listen(folder.path(), Arc::clone(&shared)).await;
        let seed: [u8; 32] = rand::random();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        {
            let mut state = shared.lock();
            state.public_key = pair.public_key().as_ref().to_vec();
            state.client_id = format!("tall-tree-1@{address}/pcc");
            state.audience = address.ip().to_string();
            state.key_id = key_id.map(str::to_owned);
        }
        let mut key = json!({
            "kty": "OKP", "crv": "Ed25519",
            "x": URL_SAFE_NO_PAD.encode(pair.public_key()), "d": URL_SAFE_NO_PAD.encode(seed),
        });
        if let Some(id) = key_id {
            key["kid"] = id.into();
        }
        let secret = format!("secret-token:conductorone.com:v1:{}", URL_SAFE_NO_PAD.encode(key.to_string()));
        std::fs::write(folder.path().join("secret"), secret).unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { address, folder, shared, listening }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client_id(&self) -> String {
        self.shared.lock().client_id.clone()
    }

    pub(crate) fn secret(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("secret")).unwrap()
    }

    /// The directory of the program's temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// The names of the files in the temporary directory.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.temp_dir()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The certificate authority of the double.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The program with all settings for the double and for a database.
    pub(crate) fn program(&self, connection_string: &str) -> Command {
        let mut program = program();
        program
            .current_dir(self.folder.path())
            .env("SSL_CERT_FILE", self.authority())
            .env("BATON_CLIENT_ID", self.client_id())
            .env("BATON_CLIENT_SECRET", self.secret())
            .env("BATON_HOST_ID", "test-host")
            .env("BATON_CONNECTION_STRING", connection_string)
            .env("BATON_TMPDIR", self.temp_dir())
            .env("BATON_LOG_LEVEL", "debug")
            .env("BATON_LOG_FORMAT", "json")
            .env("BATON_LOG_PATH", "stderr");
        program
    }

    /// Like [`program`](Self::program), with this proxy in front of the double.
    pub(crate) fn program_behind(&self, proxy: &str, connection_string: &str) -> Command {
        let mut program = self.program(connection_string);
        program.env("HTTPS_PROXY", proxy).env("BATON_C1_API_HOST", self.name());
        program
    }

    /// The double's name and port.
    pub(crate) fn name(&self) -> String {
        format!("{NAME}:{}", self.address.port())
    }

    /// Makes the double accept this client only, whose id names another host.
    pub(crate) fn expect_client_of(&self, host: &str) {
        let mut state = self.shared.lock();
        state.client_id = format!("tall-tree-1@{host}/pcc");
        state.audience = host.to_owned();
    }

    /// Issues a token, for a scripted answer of the token endpoint.
    pub(crate) fn issue_token(&self) -> String {
        let mut state = self.shared.lock();
        let token = format!("token-{}", state.tokens.len());
        state.tokens.push(token.clone());
        token
    }

    /// Starts the program.
    pub(crate) fn serve(&self, connection_string: &str, flags: &[&str]) -> Server {
        let mut program = self.program(connection_string);
        program.args(flags);
        Server::run(program)
    }

    /// Changes the behavior of the double from now on.
    pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.shared.lock().plan);
        self.shared.changed.notify_waiters();
    }

    /// Offers a task and returns its id.
    pub(crate) fn give(&self, task: TaskType) -> String {
        self.give_as(|id| Task { id, task_type: Some(task), ..Default::default() })
    }

    /// Offers a task that is built with an id.
    pub(crate) fn give_as(&self, task: impl FnOnce(String) -> Task) -> String {
        let mut state = self.shared.lock();
        state.number += 1;
        let id = format!("T{:026}", state.number);
        let task = task(id.clone());
        state.queue.push_back(task);
        drop(state);
        self.shared.changed.notify_waiters();
        id
    }

    /// Runs a task until it ends.
    pub(crate) async fn run(&self, task: TaskType) -> Finished {
        let id = self.give(task);
        self.finished(&id).await
    }

    /// Waits for the end of a task.
    pub(crate) async fn finished(&self, id: &str) -> Finished {
        self.finished_within(MAX_WAIT, id).await
    }

    /// Like [`finished`](Self::finished), with this timeout.
    pub(crate) async fn finished_within(&self, max_wait: Duration, id: &str) -> Finished {
        let what = format!("the end of {id}");
        let find = |state: &State| state.finished.get(id).cloned();
        let request = self.wait_for(max_wait, &what, find).await;
        match request.final_state.clone().unwrap() {
            FinalState::Success(_) => {
                assert_eq!(request.status, None);
                Finished::Success(request)
            }
            FinalState::Error(error) => {
                assert_eq!(error.response, None);
                let status = request.status.unwrap();
                Finished::Error {
                    code: status.code,
                    message: status.message,
                    non_retryable: error.non_retryable,
                    annotations: error.annotations.len(),
                }
            }
        }
    }

    /// Waits for this number of calls of a method, and returns all of them.
    pub(crate) async fn called(&self, method: Method, times: usize) -> Vec<Call> {
        self.wait_for(MAX_WAIT, &format!("{times} calls of {method:?}"), |state| {
            let calls: Vec<Call> = state.calls.iter().filter(|call| call.method == method).cloned().collect();
            (calls.len() >= times).then_some(calls)
        })
        .await
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.clone()
    }

    pub(crate) fn hellos(&self) -> Vec<BatonServiceHelloRequest> {
        self.shared.lock().hellos.clone()
    }

    /// How many reports a task has; a second report is a fault.
    pub(crate) fn reports(&self, id: &str) -> usize {
        usize::from(self.shared.lock().finished.contains_key(id))
    }

    pub(crate) fn uploads(&self) -> Vec<Upload> {
        self.shared.lock().uploads.clone()
    }

    /// How many connections to the API there were, without those to the token endpoint.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many connections of any kind were attempted, including those while the double was down.
    pub(crate) fn attempts(&self) -> usize {
        self.shared.lock().attempts
    }

    /// Ends every connection and refuses new ones.
    pub(crate) fn go_away(&self) {
        let mut state = self.shared.lock();
        state.plan.away = true;
        state.disturbed = true;
        state.serving.drain(..).for_each(|connection| connection.abort());
    }

    /// Ignores the faults so far, which were intended.
    pub(crate) fn forgive(&self) {
        let faults = std::mem::take(&mut self.shared.lock().faults);
        assert!(!faults.is_empty());
    }

    /// Asserts that all requests to the double were valid.
    #[track_caller]
    pub(crate) fn assert_no_faults(&self) {
        assert_eq!(self.shared.lock().faults, Vec::<String>::new());
    }

    async fn wait_for<T>(&self, max_wait: Duration, what: &str, find: impl FnMut(&State) -> Option<T>) -> T {
        match tokio::time::timeout(max_wait, self.shared.until(find)).await {
            Ok(found) => found,
            Err(_) => panic!("timed out waiting for {what}; calls: {:?}", self.calls()),
        }
    }
}

impl Drop for C1 {
    fn drop(&mut self) {
        self.listening.abort();
        if !std::thread::panicking() {
            self.assert_no_faults();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Waits until `find` returns a value after a change.
    async fn until<T>(&self, mut find: impl FnMut(&State) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = find(&self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    fn fault(&self, fault: impl Into<String>) {
        self.lock().faults.push(fault.into());
    }
}

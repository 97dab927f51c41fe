//! Stands in for ConductorOne: the token endpoint and the API on one TLS port, as the real one has them. It checks
//! all that it is sent, and fails when it is told to.

mod api;
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
use prost::{Message, Name};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

pub(crate) use plan::{Method, Plan, Tls};

use super::server::{Server, program};

/// How long a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// The stand-in, until dropped.
pub(crate) struct C1 {
    address: SocketAddr,
    /// Certificates, and a folder for the program's temporary files.
    folder: TempDir,
    shared: Arc<Shared>,
    listening: tokio::task::JoinHandle<()>,
}

/// What the parts of the stand-in share.
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The public key of the client, and its id.
    public_key: Vec<u8>,
    client_id: String,
    audience: String,
    /// The key's name, where it has one.
    key_id: Option<String>,
    nonces: Vec<String>,
    /// Tokens that were given out.
    tokens: Vec<String>,
    queue: VecDeque<Task>,
    /// The ids of the tasks that were handed out.
    offered: HashSet<String>,
    number: u64,
    /// What was called, in order.
    calls: Vec<Call>,
    hellos: Vec<BatonServiceHelloRequest>,
    /// The report of each task.
    finished: HashMap<String, BatonServiceFinishTaskRequest>,
    /// Connections were broken, and answers lost with them.
    disturbed: bool,
    uploads: Vec<Upload>,
    connections: usize,
    /// How often something connected, whatever came of it.
    attempts: usize,
    serving: Vec<tokio::task::AbortHandle>,
    /// What was wrong with what it was sent.
    faults: Vec<String>,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The task that it was about; empty for none.
    pub(crate) task_id: String,
    pub(crate) at: tokio::time::Instant,
    /// Of GetTasks: how many were asked for, and how many are known.
    pub(crate) asked: Option<(u32, Vec<String>)>,
}

/// A file that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) task_id: String,
    pub(crate) bytes: Vec<u8>,
    /// The sizes of its pieces.
    pub(crate) pieces: Vec<usize>,
}

/// How a task ended.
#[derive(Clone, Debug)]
pub(crate) enum Finished {
    Success(BatonServiceFinishTaskRequest),
    Error { code: i32, message: String, non_retryable: bool, annotations: usize },
}

impl Finished {
    /// The answer in a success; panics when it is something else.
    #[track_caller]
    pub(crate) fn response<M: Message + Name + Default>(&self) -> M {
        let Self::Success(request) = self else { panic!("{self:?}") };
        let Some(FinalState::Success(success)) = &request.final_state else { panic!("{request:?}") };
        let packed = success.response.as_ref().expect("no response");
        assert_eq!(packed.type_url, M::type_url());
        M::decode(packed.value.as_slice()).unwrap()
    }

    /// Fails unless the task failed so.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: i32, text: &str, non_retryable: bool) {
        let Self::Error { code: found, message, non_retryable: is_final, .. } = self else {
            panic!("{self:?}")
        };
        assert_eq!((*found, *is_final), (code, non_retryable), "{message}");
        let suffix = "\ntask failed and is non-retryable";
        assert_eq!(message.ends_with(suffix), non_retryable, "{message}");
        assert!(message.contains(text), "{message}");
    }
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

    /// Where the program keeps its temporary files.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// The names of what is there.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.temp_dir()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The authority that vouches for the stand-in.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The program with all that it needs to find the stand-in, before a database.
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

    /// The running program.
    pub(crate) fn serve(&self, connection_string: &str, flags: &[&str]) -> Server {
        let mut program = self.program(connection_string);
        program.args(flags);
        Server::run(program)
    }

    /// Changes what the stand-in does from now on.
    pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.shared.lock().plan);
        self.shared.changed.notify_waiters();
    }

    /// Offers a task, and gives its id.
    pub(crate) fn give(&self, task: TaskType) -> String {
        self.give_as(|id| Task { id, task_type: Some(task), ..Default::default() })
    }

    /// Offers a task that is made with an id.
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

    /// Runs a task to its end.
    pub(crate) async fn run(&self, task: TaskType) -> Finished {
        let id = self.give(task);
        self.finished(&id).await
    }

    /// Waits for the end of a task.
    pub(crate) async fn finished(&self, id: &str) -> Finished {
        self.finished_within(PATIENCE, id).await
    }

    /// As [`finished`](Self::finished), for as long as this.
    pub(crate) async fn finished_within(&self, patience: Duration, id: &str) -> Finished {
        let what = format!("the end of {id}");
        let find = |state: &State| state.finished.get(id).cloned();
        let request = self.wait_for(patience, &what, find).await;
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

    /// Waits until so many calls of a method were made, and gives them all.
    pub(crate) async fn called(&self, method: Method, times: usize) -> Vec<Call> {
        self.wait_for(PATIENCE, &format!("{times} calls of {method:?}"), |state| {
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

    /// How many reports there were of a task; a second one is a fault.
    pub(crate) fn reports(&self, id: &str) -> usize {
        usize::from(self.shared.lock().finished.contains_key(id))
    }

    pub(crate) fn uploads(&self) -> Vec<Upload> {
        self.shared.lock().uploads.clone()
    }

    /// How many connections to the API there were, those of the token endpoint left out.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// How many connections of any kind were begun, also while it was away.
    pub(crate) fn attempts(&self) -> usize {
        self.shared.lock().attempts
    }

    /// Ends every connection, and lets no new one come about.
    pub(crate) fn go_away(&self) {
        let mut state = self.shared.lock();
        state.plan.away = true;
        state.disturbed = true;
        state.serving.drain(..).for_each(|connection| connection.abort());
    }

    /// What was wrong so far was meant to be.
    pub(crate) fn forgive(&self) {
        let faults = std::mem::take(&mut self.shared.lock().faults);
        assert!(!faults.is_empty());
    }

    /// Fails unless all that the stand-in was sent was right.
    #[track_caller]
    pub(crate) fn assert_no_faults(&self) {
        assert_eq!(self.shared.lock().faults, Vec::<String>::new());
    }

    async fn wait_for<T>(&self, patience: Duration, what: &str, find: impl FnMut(&State) -> Option<T>) -> T {
        match tokio::time::timeout(patience, self.shared.until(find)).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what}; calls: {:?}", self.calls()),
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

    /// Waits for a change after which there is something to find.
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

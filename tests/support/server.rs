//! The real program before a database, on a free port.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::postgres::Database;

/// How long the program may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// `baton-retool serve`, killed when dropped.
pub(crate) struct Server {
    process: Child,
    /// Kills the program when we are killed and so cannot: it reads from us until then.
    watcher: Child,
    /// As the log says it.
    listening: String,
    logs: Arc<Logs>,
}

/// Everything that the program wrote to stderr so far.
#[derive(Default)]
struct Logs {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// The program has closed its stderr, so nothing more will come.
    ended: bool,
}

impl Server {
    /// Serves a database as its superuser, with more arguments of `serve` behind ours.
    pub(crate) fn start(database: &Database, extra_args: &[&str]) -> Self {
        Self::start_at(&database.url(), extra_args)
    }

    /// Serves whatever the connection string leads to. Returns when the server accepts connections;
    /// panics with all that it wrote when it ends before or takes longer than ten seconds.
    pub(crate) fn start_at(connection_string: &str, extra_args: &[&str]) -> Self {
        Self::start_with(&[], connection_string, extra_args)
    }

    /// As [`start_at`](Self::start_at), with these variables in its environment.
    pub(crate) fn start_with(
        environment: &[(&str, &str)],
        connection_string: &str,
        extra_args: &[&str],
    ) -> Self {
        let mut args = vec!["--log-level", "debug"];
        args.extend(extra_args);
        Self::launch(environment, connection_string, &args)
    }

    /// As [`start_at`](Self::start_at), logging no more than it would by itself.
    pub(crate) fn start_quietly(connection_string: &str) -> Self {
        Self::launch(&[], connection_string, &[])
    }

    fn launch(environment: &[(&str, &str)], connection_string: &str, args: &[&str]) -> Self {
        let mut process = program()
            .envs(environment.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0", "--connection-string", connection_string])
            .args(["--log-format", "json"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let watcher = Command::new("sh")
            .args(["-c", r#"trap '' INT; read -r _ || kill -KILL "$0""#, &process.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let logs = Arc::new(Logs::default());
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let writer = logs.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                writer.add(line);
            }
            writer.end();
        });
        let mut server = Self { process, watcher, listening: String::new(), logs };
        server.listening = server.announced_address();
        server
    }

    /// Where it listens on TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listening.parse().unwrap()
    }

    /// Where it listens, as it says itself.
    pub(crate) fn listening(&self) -> &str {
        &self.listening
    }

    /// A new connection without TLS.
    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.listening)).unwrap().connect().await.unwrap()
    }

    /// A new connection with TLS.
    pub(crate) async fn secure_channel(
        &self,
        tls: ClientTlsConfig,
    ) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.listening)).unwrap();
        endpoint.tls_config(tls).unwrap().connect().await
    }

    /// The id of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Every line of its log so far; what is no JSON (a panic, say) as a JSON string. What was written before
    /// an answer may still be on its way when the answer is there, so lines are waited for until none comes,
    /// or for two seconds while others go on calling.
    pub(crate) fn logs(&self) -> Vec<Value> {
        const SILENCE: Duration = Duration::from_millis(50);
        const ENOUGH: Duration = Duration::from_secs(2);
        let begun = Instant::now();
        let mut lines = self.logs.lines();
        loop {
            std::thread::sleep(SILENCE);
            let later = self.logs.lines();
            if later.len() == lines.len() || begun.elapsed() > ENOUGH {
                return later.into_iter().map(parsed).collect();
            }
            lines = later;
        }
    }

    /// The first line of its log, past or to come, that the test is after; panics with the whole log
    /// when none comes within ten seconds.
    pub(crate) fn wait_for_log(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.logs.wait_for(PATIENCE, |line| wanted(line).then(|| line.clone()));
        found.unwrap_or_else(|| panic!("no such line in the log:\n{}", self.logs.lines().join("\n")))
    }

    /// Asks it to end, as a container runtime would, without waiting.
    pub(crate) fn terminate(&self) {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = ["-c", r#"kill -TERM "$0""#, &self.process.id().to_string()];
        assert!(Command::new("sh").args(kill).status().unwrap().success());
    }

    /// How it ended by itself, or on an earlier request, and its whole log; panics when it takes longer
    /// than ten seconds.
    pub(crate) fn ended(mut self) -> (ExitStatus, Vec<Value>) {
        let status = self.wait();
        (status, self.logs())
    }

    /// The bytes of memory that it has resident; nothing where there is no `/proc`.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// Asks it to end and returns how it did and its whole log; panics when it takes longer than ten seconds.
    pub(crate) fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        self.terminate();
        let status = self.wait();
        (status, self.logs())
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                self.logs.wait_for_end();
                return status;
            }
            let log = || self.logs.lines().join("\n");
            assert!(Instant::now() < deadline, "the server does not stop; it wrote:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn announced_address(&self) -> String {
        let line = self.wait_for_log(|line| line["msg"] == "listening");
        let address = line["address"].as_str().map(str::to_owned);
        address.unwrap_or_else(|| panic!("no address in {line}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // Before the process is waited for: afterwards its id may be another's.
        let _ = self.watcher.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let _ = self.watcher.wait();
        let _ = self.process.wait();
    }
}

/// The program without a setting that the machine happens to have in its environment.
pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_baton-retool"));
    for (name, _) in std::env::vars_os() {
        let ours = |name: &str| ["BATON_", "OTEL_", "PG"].iter().any(|prefix| name.starts_with(prefix));
        // A proxy would stand between the program and a test's own servers.
        let proxy = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
        if name.to_str().is_some_and(|name| ours(name) || proxy(name)) {
            program.env_remove(name);
        }
    }
    program
}

impl Logs {
    fn add(&self, line: String) {
        self.state.lock().unwrap().lines.push(line);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }

    /// What `find` makes of the first line that it finds something in; nothing when the time is up or
    /// the program has ended without such a line.
    fn wait_for<T>(&self, limit: Duration, find: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut state = self.state.lock().unwrap();
        loop {
            let found = state.lines[seen..].iter().find_map(|line| find(&parsed(line.clone())));
            seen = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || state.ended || left.is_zero() {
                return found;
            }
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_timeout_while(state, PATIENCE, |state| !state.ended).unwrap());
    }
}

fn parsed(line: String) -> Value {
    serde_json::from_str(&line).unwrap_or(Value::String(line))
}

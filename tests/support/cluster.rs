//! A throwaway Postgres server, kept by `scripts/with-postgres --hold`: that script finds or installs
//! the programs, starts the server and removes it when our end of its stdin closes, which the kernel
//! sees to even when a test run is killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::postgres::Template;

/// One server. Tests share [`Cluster::shared`]; a test that stops its server takes [`Cluster::private`].
pub(crate) struct Cluster {
    /// What the script announced: the variables that `scripts/psql` reads.
    environment: HashMap<String, String>,
    /// Made once per kind, copied for every database; the lock makes others wait for a template under way.
    pub(super) templates: tokio::sync::Mutex<HashMap<Template, String>>,
    names: AtomicU64,
    keeper: Mutex<Keeper>,
}

/// The running script: takes orders on its stdin and answers each with a line.
struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    /// The server of this process, started by whoever asks first: the one that `RETOOL_POSTGRES` names
    /// (a superuser's URL without database) or else one of our own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(Self::launch(&mut script("with-postgres")))).clone()
    }

    /// A server for one test alone, gone when the last of it is dropped.
    pub(crate) fn private() -> Arc<Self> {
        Arc::new(Self::launch(script("with-postgres").env_remove("RETOOL_POSTGRES")))
    }

    /// Ends the server without warning, as a crash would. Connections break, new ones are refused.
    pub(crate) fn stop(&self) {
        self.order("stop");
    }

    /// Starts a stopped server again, on the same port and with the same data.
    pub(crate) fn start(&self) {
        self.order("start");
    }

    /// A crash with an immediate recovery.
    pub(crate) fn restart(&self) {
        self.order("restart");
    }

    /// Freezes the server: connections stay open, connecting succeeds, nothing is answered.
    pub(crate) fn pause(&self) {
        self.order("pause");
    }

    /// Ends a [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.order("resume");
    }

    /// The directory of the Unix socket; nothing for a container or a server that was there before.
    pub(crate) fn socket(&self) -> Option<&Path> {
        let socket = self.environment.get("RETOOL_POSTGRES_SOCKET")?;
        (!socket.is_empty()).then(|| Path::new(socket))
    }

    /// `host:port`, to build a URL of any kind.
    pub(crate) fn address(&self) -> &str {
        self.url().rsplit(['@', '/']).next().unwrap()
    }

    /// The superuser's URL for one database.
    pub(super) fn url_of(&self, database: &str) -> String {
        format!("{}/{database}", self.url())
    }

    /// A name that no other test of this or any other run uses for a database or a role.
    pub(super) fn unique_name(&self) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("{}{number}", self.environment["RETOOL_POSTGRES_PREFIX"])
    }

    /// Runs a file of SQL with psql, whose variables and commands it may use.
    pub(super) fn psql(&self, database: &str, variables: &[(&str, &str)], file: &Path) {
        let mut psql = script("psql");
        psql.arg(database).envs(&self.environment);
        for (name, value) in variables {
            psql.arg("-v").arg(format!("{name}={value}"));
        }
        let input = std::fs::File::open(file).unwrap();
        let output = psql.stdin(input).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", file.display());
    }

    fn url(&self) -> &str {
        &self.environment["RETOOL_POSTGRES"]
    }

    fn launch(with_postgres: &mut Command) -> Self {
        let mut process =
            with_postgres.arg("--hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut environment = HashMap::new();
        loop {
            let line = answers.next().expect("no Postgres: the reason stands above").unwrap();
            match line.split_once('=') {
                Some((name, value)) => environment.insert(name.to_owned(), value.to_owned()),
                None => break assert_eq!(line, "ready"),
            };
        }
        let keeper = Mutex::new(Keeper { process, orders, answers });
        Self { environment, templates: tokio::sync::Mutex::default(), names: AtomicU64::new(1), keeper }
    }

    fn order(&self, order: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.orders.as_mut().unwrap(), "{order}").unwrap();
        let answer = keeper.answers.next().expect("the keeper of the server is gone").unwrap();
        assert_eq!(answer, "done", "order {order}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Ok(keeper) = self.keeper.get_mut() {
            keeper.orders = None;
            // A panic here would hide the one that brought us here.
            let _ = keeper.process.wait();
        }
    }
}

/// Connects with a URL; the connection ends with the client.
pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs something async to its end where there is no `await`, within a few seconds. Has a thread of its
/// own, since a runtime may not be started inside another.
pub(super) fn block_on(work: impl Future<Output = ()> + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), work).await });
        });
    });
}

fn script(name: &str) -> Command {
    Command::new(project_file("scripts").join(name))
}

/// A file of the project, from wherever the tests run.
pub(crate) fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

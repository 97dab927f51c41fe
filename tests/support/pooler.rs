//! PgBouncer in transaction mode in front of a database, if the program is installed.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::postgres::{Database, Role};
use super::skipped;

/// A running pooler with a single server connection that all its clients share.
pub(crate) struct Pooler {
    address: SocketAddr,
    /// A shell that stops the pooler when its stdin closes, even if this process is killed.
    keeper: Child,
    _directory: TempDir,
}

impl Pooler {
    /// Starts a pooler. `ignored` are the start-up parameters that it accepts and ignores. Returns `None`,
    /// with a message, if PgBouncer is not installed; panics if CI is set.
    pub(crate) fn start(database: &Database, role: &Role, ignored: &str) -> Option<Self> {
        Self::start_in_mode("transaction", database, role, ignored)
    }

    /// Like [`start`](Self::start), in another pooling mode.
    pub(crate) fn start_in_mode(mode: &str, database: &Database, role: &Role, ignored: &str) -> Option<Self> {
        let Some(program) = program() else {
            skipped::without("pgbouncer");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let address = free_address();
            let configuration = configure(directory.path(), mode, database, role, ignored, address);
            let mut keeper = keep(&program, &configuration);
            while keeper.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Some(Self { address, keeper, _directory: directory });
                }
                assert!(Instant::now() < deadline, "pgbouncer does not start");
                std::thread::sleep(Duration::from_millis(20));
            }
            // Most likely another process has taken the port in the meantime.
            assert!(Instant::now() < deadline, "pgbouncer ends at once");
        }
    }

    /// The connection string of the role for the database, through the pooler.
    pub(crate) fn url(&self, database: &Database, role: &Role) -> String {
        format!("postgres://{}:{}@{}/{}", role.name, role.password, self.address, database.name())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.keeper.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let _ = self.keeper.wait();
    }
}

fn keep(program: &Path, configuration: &Path) -> Child {
    // PgBouncer refuses to run as root, and switches to the given user. Background processes have no stdin,
    // so another descriptor is used for it.
    const KEEP: &str = r#"
        exec 3<&0
        as=
        [ "$(id -u)" != 0 ] || as="-u nobody"
        "$0" -q $as "$1" </dev/null >/dev/null 2>&1 3<&- & pooler=$!
        { read -r _ <&3; kill "$pooler"; } 2>/dev/null & reader=$!
        wait "$pooler"
        kill "$reader" 2>/dev/null"#;
    Command::new("sh")
        .args(["-c", KEEP])
        .args([program, configuration])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn configure(
    directory: &Path,
    mode: &str,
    database: &Database,
    role: &Role,
    ignored: &str,
    address: SocketAddr,
) -> PathBuf {
    let server: SocketAddr = database.cluster().address().parse().unwrap();
    let users = directory.join("users.txt");
    fs::write(&users, format!("\"{}\" \"{}\"\n", role.name, role.password)).unwrap();
    let text = format!(
        "[databases]\n{name} = host={} port={}\n[pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 1\n\
         ignore_startup_parameters = {ignored}\n",
        server.ip(),
        server.port(),
        address.ip(),
        address.port(),
        users.display(),
        name = database.name(),
    );
    let configuration = directory.join("pgbouncer.ini");
    fs::write(&configuration, text).unwrap();
    // The user to which it switches has to read them.
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    configuration
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|place| place.join("pgbouncer")).find(|file| file.is_file())
}

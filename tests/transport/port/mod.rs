//! The port as used by an agent in another container. This file has the shared code of the tests.

mod exposure;
mod tls;
mod tokens;
mod unix_sockets;

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tonic::Status;
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::support::parent::{Pki, Signed};
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually};

/// No server listens on this port; these tests need no database.
const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";
const TOKENS: [&str; 3] = ["first-token-0123456789", "second-token-0123456789", "third-token-0123456789"];
const HEALTH: &str = "grpc.health.v1.Health/Check";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Files for a server, deleted with the test.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file as in a rotation: the new file replaces the old one.
    fn put(&self, name: &str, contents: &str) -> String {
        let (path, new) = (self.path(name), self.path("new"));
        fs::write(&new, contents).unwrap();
        fs::rename(&new, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The flags for a certificate with its key.
    fn certificate(&self, signed: &Signed) -> [String; 2] {
        let certificate = self.put("server.crt", &signed.cert_pem);
        let key = self.put("server.key", &signed.key.serialize_pem());
        [format!("--tls-cert={certificate}"), format!("--tls-key={key}")]
    }

    /// The flag for tokens, one per line.
    fn tokens(&self, tokens: &[&str]) -> String {
        format!("--auth-token-file={}", self.put("tokens", &tokens.join("\n")))
    }
}

fn start(flags: &[impl AsRef<str>]) -> Server {
    Server::start_at(NOWHERE, &flags.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

/// Runs a server that is expected to fail at start.
fn refused(flags: &[impl AsRef<str>]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    program()
        .args(["serve", "--connection-string", NOWHERE, "--listen", "127.0.0.1:0"])
        .args(flags.iter().map(AsRef::as_ref))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    for word in words {
        assert!(errors.contains(word), "no {word:?} in: {errors}");
    }
}

fn trusting(pki: &Pki) -> ClientTlsConfig {
    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pki.ca_pem)).domain_name("127.0.0.1")
}

/// Counts successful calls, made one after the other until the flag is set. The first failure ends them.
struct Traffic {
    calls: Arc<AtomicUsize>,
    enough: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<(), Status>>,
}

impl Traffic {
    fn start(wire: Wire) -> Self {
        let (calls, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stop) = (calls.clone(), enough.clone());
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                wire.metadata().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { calls, enough, task }
    }

    /// Returns when more calls have succeeded.
    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        eventually("more calls", async || (self.calls.load(Ordering::Relaxed) > before + 10).then_some(()))
            .await;
    }

    async fn stop(self) -> Result<(), Status> {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

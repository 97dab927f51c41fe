//! The port as an agent in another container reaches it: TLS, tokens, unix sockets, and what is refused.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig};
use tonic::{Code, Status};

use crate::support::handshake::{Hello, refuses_tls_1_1, shown_certificate};
use crate::support::parent::{Pki, Signed};
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, assert_refused, eventually};

/// Nobody listens there; these tests ask nothing that needs the database.
const NOWHERE: &str = "postgres://baton@127.0.0.1:1/retool";
const TOKENS: [&str; 3] = ["first-token-0123456789", "second-token-0123456789", "third-token-0123456789"];
const HEALTH: &str = "grpc.health.v1.Health/Check";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Files for a server, gone with the test.
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

    /// Writes a file as a rotation does: another file takes its place.
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

    /// The flag for tokens, one a line.
    fn tokens(&self, tokens: &[&str]) -> String {
        format!("--auth-token-file={}", self.put("tokens", &tokens.join("\n")))
    }
}

fn start(flags: &[impl AsRef<str>]) -> Server {
    Server::start_at(NOWHERE, &flags.iter().map(AsRef::as_ref).collect::<Vec<_>>())
}

/// Runs a server that is expected to refuse to start.
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

/// The number of calls that went well so far, made one after the other until the flag is raised; the first
/// that does not ends them.
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

    /// Returns when more calls have been made from now on.
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

// === TLS ===

#[tokio::test]
async fn only_certificates_of_the_given_authority_open_a_port_with_mutual_tls() {
    let (files, pki, stranger) = (Files::new(), Pki::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let authority = format!("--tls-client-ca={}", files.put("ca.crt", &pki.ca_pem));
    let server = start(&[certificate, key, authority]);
    let expired = pki.sign_with("client", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let future = pki.sign_with("client", |params| params.not_before = rcgen::date_time_ymd(2090, 1, 1));
    for (name, tls, opens) in [
        ("one of the authority's", trusting(&pki).identity(pki.sign("client").identity()), true),
        ("none", trusting(&pki), false),
        ("another authority's", trusting(&pki).identity(stranger.sign("client").identity()), false),
        ("an expired one", trusting(&pki).identity(expired.identity()), false),
        ("one of the future", trusting(&pki).identity(future.identity()), false),
        (
            "a client that trusts another authority",
            trusting(&stranger).identity(pki.sign("client").identity()),
            false,
        ),
        (
            "a client that wants another name",
            trusting(&pki).identity(pki.sign("client").identity()).domain_name("localhost"),
            false,
        ),
    ] {
        // With TLS 1.3 a client learns that it was turned away only when it asks for something.
        let answered = match server.secure_channel(tls).await {
            Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(answered, opens, "{name}");
    }
}

#[tokio::test]
async fn a_port_with_tls_takes_clients_without_a_certificate_and_none_without_tls() {
    let (files, pki) = (Files::new(), Pki::new());
    let server = start(&files.certificate(&pki.sign("server")));
    assert!(Wire::over(server.secure_channel(trusting(&pki)).await.unwrap()).metadata().await.is_ok());
    let plain = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address())).unwrap();
    let answer = match plain.connect().await {
        Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
        Err(_) => false,
    };
    assert!(!answer);
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_with_clients_that_ask_for_h2() {
    let (files, pki) = (Files::new(), Pki::new());
    let server = start(&files.certificate(&pki.sign("server")));
    let to = server.address();
    let usual = || Hello::usual(&pki, None);
    assert!(Hello { versions: &[&rustls::version::TLS13], ..usual() }.is_answered(to).await);
    assert!(Hello { versions: &[&rustls::version::TLS12], ..usual() }.is_answered(to).await);
    assert!(Hello { alpn: &["http/1.1", "h2"], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &["http/1.1"], ..usual() }.is_answered(to).await);
    assert!(!Hello { alpn: &[], ..usual() }.is_answered(to).await);
    assert!(refuses_tls_1_1(to).await);
}

#[tokio::test]
async fn a_rotated_certificate_is_taken_up_while_calls_go_on() {
    let (files, pki) = (Files::new(), Pki::new());
    let (first, second) = (pki.sign("first"), pki.sign("second"));
    let server = start(&files.certificate(&first));
    let to = server.address();
    let channel = server.secure_channel(trusting(&pki)).await.unwrap();
    let traffic = Traffic::start(Wire::over(channel));
    assert_eq!(shown_certificate(&pki, to).await, first.cert_der);

    // Half of a new pair fits nothing.
    files.put("server.crt", &second.cert_pem);
    let kept = server.wait_for_log(|line| line["msg"] == "kept the former certificate");
    assert_eq!(kept["level"], "warn");
    assert!(kept["error"].as_str().unwrap().contains("server.crt"), "{kept}");
    assert_eq!(shown_certificate(&pki, to).await, first.cert_der);
    traffic.goes_on().await;

    files.put("server.key", &second.key.serialize_pem());
    server.wait_for_log(|line| line["msg"] == "took up a changed certificate");
    assert_eq!(shown_certificate(&pki, to).await, second.cert_der);
    traffic.goes_on().await;

    // A file that is gone for a while is no reason to stop either.
    fs::remove_file(files.path("server.key")).unwrap();
    server.wait_for_log(|line| {
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("cannot be read") && error.contains("tls-key"))
    });
    assert_eq!(shown_certificate(&pki, to).await, second.cert_der);
    traffic.goes_on().await;
    traffic.stop().await.unwrap();
}

#[tokio::test]
async fn a_rotated_authority_lets_its_clients_in_and_the_former_ones_no_more() {
    let (files, pki, next) = (Files::new(), Pki::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let authority = format!("--tls-client-ca={}", files.put("ca.crt", &pki.ca_pem));
    let server = start(&[certificate, key, authority]);
    let (former, latter) = (pki.sign("client"), next.sign("client"));
    assert!(Hello::usual(&pki, Some(&former)).is_answered(server.address()).await);
    assert!(!Hello::usual(&pki, Some(&latter)).is_answered(server.address()).await);
    files.put("ca.crt", &next.ca_pem);
    server.wait_for_log(|line| line["msg"] == "took up a changed certificate");
    assert!(!Hello::usual(&pki, Some(&former)).is_answered(server.address()).await);
    assert!(Hello::usual(&pki, Some(&latter)).is_answered(server.address()).await);
}

#[test]
fn tls_files_that_are_of_no_use_end_the_program_and_are_not_shown() {
    let (files, pki) = (Files::new(), Pki::new());
    let signed = pki.sign("server");
    let [certificate, key] = files.certificate(&signed);
    let private = signed.key.serialize_pem();
    let other_key = format!("--tls-key={}", files.put("other.key", &pki.sign("x").key.serialize_pem()));
    let rubbish = files.put("rubbish.pem", "hunter2 is no certificate\n");
    let broken =
        files.put("broken.pem", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n");
    let directory = files.directory.path().to_str().unwrap();
    let nowhere = files.path("nowhere.pem");
    let nowhere = nowhere.to_str().unwrap();
    let key_file = files.path("server.key");
    for (flags, words) in [
        (vec![certificate.clone()], vec!["tls-cert", "tls-key"]),
        (vec![key.clone()], vec!["tls-key", "tls-cert"]),
        (vec![format!("--tls-client-ca={rubbish}")], vec!["tls-client-ca", "tls-cert"]),
        (vec![format!("--tls-cert={nowhere}"), key.clone()], vec!["tls-cert: ", nowhere, "cannot be read"]),
        (vec![certificate.clone(), format!("--tls-key={nowhere}")], vec!["tls-key: ", nowhere]),
        (vec![certificate.clone(), format!("--tls-key={directory}")], vec!["tls-key: ", directory]),
        (vec![format!("--tls-cert={rubbish}"), key.clone()], vec!["tls-cert: ", &rubbish, "certificate"]),
        (
            vec![format!("--tls-cert={}", key_file.display()), key.clone()],
            vec!["tls-cert: ", "server.key", "certificate"],
        ),
        (
            vec![certificate.clone(), format!("--tls-key={rubbish}")],
            vec!["tls-key: ", &rubbish, "private key"],
        ),
        (vec![certificate.clone(), format!("--tls-key={broken}")], vec!["tls-key", &broken]),
        (vec![certificate.clone(), other_key], vec!["tls-cert", "tls-key", "server.crt", "other.key"]),
        (
            vec![certificate.clone(), key.clone(), format!("--tls-client-ca={rubbish}")],
            vec!["tls-client-ca: ", &rubbish, "certificate"],
        ),
        (
            vec![certificate.clone(), key.clone(), format!("--tls-client-ca={nowhere}")],
            vec!["tls-client-ca: ", nowhere],
        ),
    ] {
        let output = refused(&flags);
        assert_ends(&output, 2, &words);
        let errors = String::from_utf8_lossy(&output.stderr);
        let secret = private.lines().nth(1).unwrap();
        assert!(!errors.contains("hunter2") && !errors.contains("aHVudGVyMg") && !errors.contains(secret));
    }
}

// === tokens ===

#[tokio::test]
async fn whoever_shows_no_good_token_learns_nothing_but_that() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..2]), "--health-without-token=false".to_owned()]);
    let wire = Wire::to(&server).await;
    for token in &TOKENS[..2] {
        assert!(wire.showing(token).metadata().await.is_ok());
        assert_refused(wire.showing(token).raw("no.Service/Method", vec![]).await, Code::Unimplemented, &[]);
        assert!(wire.showing(token).raw(HEALTH, vec![]).await.is_ok());
    }
    let mut answers = Vec::new();
    for showing in [wire.clone(), wire.showing(TOKENS[2]), wire.showing(""), wire.showing("first-token")] {
        for (path, request) in [
            ("c1.connector.v2.ConnectorService/GetMetadata", vec![]),
            // A request against the rules, one that cannot be read, and one that is too large.
            ("c1.connector.v2.ResourcesService/ListResources", vec![]),
            ("c1.connector.v2.ResourcesService/ListResources", vec![0xff; 40]),
            ("c1.connector.v2.ResourcesService/ListResources", vec![0; 5 * 1024 * 1024]),
            ("c1.connector.v2.ResourcesService/NoSuchMethod", vec![]),
            ("no.such.Service/Method", vec![]),
            (REFLECTION, vec![]),
            (HEALTH, vec![]),
        ] {
            let status = assert_refused(showing.raw(path, request).await, Code::Unauthenticated, &[]);
            answers.push((status.message().to_owned(), status.details().to_vec()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ: {answers:?}");
}

#[tokio::test]
async fn health_is_open_without_a_token_and_nothing_else_is() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..1])]);
    let wire = Wire::to(&server).await;
    assert!(wire.raw(HEALTH, vec![]).await.is_ok());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
    assert_refused(wire.raw(REFLECTION, vec![]).await, Code::Unauthenticated, &[]);
}

// The client hears that the server goes while this thread waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn rotated_tokens_are_taken_up_while_calls_go_on() {
    let files = Files::new();
    let server = start(&[files.tokens(&TOKENS[..2])]);
    let wire = Wire::to(&server).await;
    let traffic = Traffic::start(wire.showing(TOKENS[1]));
    files.put("tokens", "short\n");
    let kept = server.wait_for_log(|line| line["msg"] == "kept the former tokens");
    assert!(kept["error"].as_str().unwrap().contains("auth-token-file"), "{kept}");
    traffic.goes_on().await;

    files.put("tokens", &TOKENS[1..].join("\n"));
    server.wait_for_log(|line| line["msg"] == "took up changed tokens");
    assert!(wire.showing(TOKENS[2]).metadata().await.is_ok());
    assert_refused(wire.showing(TOKENS[0]).metadata().await, Code::Unauthenticated, &[]);
    traffic.goes_on().await;
    traffic.stop().await.unwrap();
    let log = format!("{:?}", server.stop().1);
    assert!(TOKENS.iter().all(|token| !log.contains(token)), "a token is in the log");
}

#[test]
fn token_files_that_are_of_no_use_end_the_program_and_are_not_shown() {
    let files = Files::new();
    let nowhere = files.path("nowhere");
    for (path, word) in [
        (nowhere.to_str().unwrap().to_owned(), "cannot be read"),
        (files.put("empty", ""), "one token a line"),
        (files.put("short", "hunter2\n"), "at least 16"),
        (files.put("spaces", "hunter2 and twice hunter2\n"), "visible ASCII"),
    ] {
        let output = refused(&[format!("--auth-token-file={path}")]);
        assert_ends(&output, 2, &["auth-token-file: ", &path, word]);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
}

#[tokio::test]
async fn tokens_and_tls_go_together() {
    let (files, pki) = (Files::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let server = start(&[certificate, key, files.tokens(&TOKENS)]);
    let wire = Wire::over(server.secure_channel(trusting(&pki)).await.unwrap());
    assert!(wire.showing(TOKENS[0]).metadata().await.is_ok());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
}

// === who can reach it ===

#[test]
fn plaintext_where_other_machines_reach_it_is_refused_with_the_ways_out() {
    let files = Files::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        for flags in [vec![], vec![files.tokens(&TOKENS)]] {
            let output = refused(&[vec![format!("--listen={address}")], flags].concat());
            assert_ends(&output, 2, &[address, "--tls-cert", "--tls-key", "unix socket", "--insecure"]);
        }
    }
}

#[tokio::test]
async fn plaintext_where_other_machines_reach_it_is_warned_about_when_it_is_wanted() {
    let server = start(&["--listen=0.0.0.0:0", "--insecure"]);
    let warnings: Vec<_> = server.logs().into_iter().filter(|line| line["level"] == "warn").collect();
    let said = |word: &str| warnings.iter().any(|line| line["msg"].as_str().unwrap().contains(word));
    assert!(said("plaintext") && said("--auth-token-file"), "{warnings:?}");
    let port = server.address().port();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    assert!(Wire::over(endpoint.connect().await.unwrap()).metadata().await.is_ok());
}

#[tokio::test]
async fn tls_where_other_machines_reach_it_is_warned_about_while_it_asks_nobody_for_proof() {
    let (files, pki) = (Files::new(), Pki::new());
    let [certificate, key] = files.certificate(&pki.sign("server"));
    let flags = [certificate, key, "--listen=0.0.0.0:0".to_owned()];
    let warned =
        |server: &Server| server.logs().iter().any(|line| line.to_string().contains("--tls-client-ca"));
    assert!(warned(&start(&flags)));
    assert!(!warned(&start(&[flags.as_slice(), &[files.tokens(&TOKENS)]].concat())));
}

#[tokio::test]
async fn reflection_can_be_switched_off() {
    let server = start(&["--reflection=false"]);
    let wire = Wire::to(&server).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        assert_refused(wire.raw(&path, vec![]).await, Code::Unimplemented, &[]);
    }
    assert!(wire.metadata().await.is_ok());
    assert!(wire.raw(HEALTH, vec![]).await.is_ok());
}

// === unix sockets ===

fn socket_at(path: &Path) -> String {
    format!("--listen=unix:{}", path.display())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn calls_through(path: &Path) -> bool {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    match endpoint.connect().await {
        Ok(channel) => Wire::over(channel).metadata().await.is_ok(),
        Err(_) => false,
    }
}

// The client hears that the server goes while this thread waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_its_own_user_and_is_removed_at_the_end() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let server = start(&[socket_at(&path)]);
    assert_eq!(server.listening(), format!("unix:{}", path.display()));
    assert_eq!(mode(&path), 0o600);
    assert!(calls_through(&path).await);
    assert!(server.stop().0.success());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_directory_that_hands_its_group_down_lets_that_group_connect() {
    let files = Files::new();
    fs::set_permissions(files.directory.path(), fs::Permissions::from_mode(0o2770)).unwrap();
    let path = files.path("baton.sock");
    let _server = start(&[socket_at(&path)]);
    assert_eq!(mode(&path), 0o660);
    assert!(calls_through(&path).await);
}

#[tokio::test]
async fn a_unix_socket_asks_for_tokens_too() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let _server = start(&[socket_at(&path), files.tokens(&TOKENS)]);
    let endpoint = tonic::transport::Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    let wire = Wire::over(endpoint.connect().await.unwrap());
    assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
    assert!(wire.showing(TOKENS[0]).metadata().await.is_ok());
}

#[tokio::test]
async fn a_socket_that_a_killed_server_left_behind_is_taken_over() {
    let files = Files::new();
    let path = files.path("baton.sock");
    drop(start(&[socket_at(&path)]));
    assert!(path.exists(), "a killed server cannot remove its socket");
    let _server = start(&[socket_at(&path)]);
    assert!(calls_through(&path).await);
}

#[tokio::test]
async fn a_socket_that_somebody_listens_at_is_left_alone() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let first = start(&[socket_at(&path)]);
    assert_ends(&refused(&[socket_at(&path)]), 1, &["baton.sock", "another program listens there"]);
    assert!(calls_through(&path).await);
    drop(first);
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let files = Files::new();
    let path = files.path("precious");
    fs::write(&path, "data").unwrap();
    assert_ends(&refused(&[socket_at(&path)]), 1, &["precious", "in use"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    let link = files.path("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_ends(&refused(&[socket_at(&link)]), 1, &["link", "in use"]);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let directory = files.path("missing/baton.sock");
    assert_ends(&refused(&[socket_at(&directory)]), 1, &["missing/baton.sock"]);
}

#[tokio::test]
async fn a_socket_that_has_taken_the_place_of_ours_is_not_removed() {
    let files = Files::new();
    let path = files.path("baton.sock");
    let server = start(&[socket_at(&path)]);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    assert!(server.stop().0.success());
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
}

//! Log targets that are slow, full, rotated or flooded, and the effect on changes.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use baton_retool::proto::connector::{
    CreateAccountResponse, InvokeActionResponse, ResourceTypesServiceListResourceTypesRequest,
};
use futures_util::future::join_all;
use serde_json::Value;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::changes::Changes;
use crate::support::http::ask;
use crate::support::parent::Pki;
use crate::support::postgres::Database;
use crate::support::raw::Raw;
use crate::support::server::{Server, program};
use crate::support::stage::{Stage, action, ada, assert_failed, form};
use crate::support::wire::{Wire, assert_refused, eventually};

/// In this time, lines about similar events are counted together.
const WINDOW_SECONDS: u64 = 10;
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nothing";

fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn metric(server: &Server, name: &str) -> f64 {
    let line = server.wait_for_log(|line| line["msg"] == "metrics listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let text = ask(address, "GET", "/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_of_stderr_delays_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.log");
    let mut server = program()
        .args(["serve", "--listen=127.0.0.1:0", "--log-level=debug", "--log-format=json"])
        .args(["--connection-string", NOWHERE])
        .arg(format!("--log-path=stderr,{}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let listening = eventually("the address", async || {
        let lines = lines_of(&file);
        let line = lines.iter().find(|line| line["msg"] == "listening")?;
        line["address"].as_str().map(str::to_owned)
    })
    .await;
    let endpoint = Endpoint::from_shared(format!("http://{listening}")).unwrap();
    let wire = Wire::over(endpoint.connect().await.unwrap());
    // More lines than a pipe and the queue before it can hold.
    let callers = (0..4).map(|_| {
        let wire = wire.clone();
        tokio::spawn(async move {
            for _ in 0..2_500 {
                wire.metadata().await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    // The file has every line: one target does not wait for another one.
    eventually("all lines in the file", async || {
        let calls = lines_of(&file).iter().filter(|line| line["grpc.method"] == "GetMetadata").count();
        (calls == 10_000).then_some(())
    })
    .await;
    // After a reader starts, the log reports the lost lines.
    let stderr = BufReader::new(server.stderr.take().unwrap());
    let reported = tokio::task::spawn_blocking(move || {
        let mut lines = stderr.lines().map_while(Result::ok);
        lines.any(|line| line.contains("lines of the log were dropped") && line.contains(r#""lines":"#))
    });
    assert!(reported.await.unwrap(), "the log does not report the dropped lines");
    let _ = server.kill();
    let _ = server.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_token_does_not_flood_the_log() {
    const LINES: usize = 10;
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens");
    fs::write(&tokens, "a-token-0123456789").unwrap();
    let flag = format!("--auth-token-file={}", tokens.display());
    let server = Server::start_at(NOWHERE, &[&flag, "--metrics-listen=127.0.0.1:0"]);
    let begun = Instant::now();
    // A connection without a token may make few calls.
    for _ in 0..20 {
        let wire = Wire::to(&server).await;
        for _ in 0..25 {
            assert_refused(wire.metadata().await, Code::Unauthenticated, &[]);
        }
    }
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    let lines = server.logs().iter().filter(|line| line["grpc.code"] == "Unauthenticated").count();
    assert!(lines >= LINES && lines <= LINES * windows as usize, "{lines} lines");
    let left_out = metric(&server, r#"baton_retool_log_lines_lost_total{reason="repeated"}"#);
    assert_eq!(left_out as usize + lines, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_refused_while_their_record_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.log");
    symlink("/dev/full", &log).unwrap();
    let paths = format!("--log-path=stderr,{}", log.display());
    let stage = Stage::with(&["--provisioning", &paths, "--metrics-listen=127.0.0.1:0"]).await;
    let (server, database) = (&stage.server, &stage.database);
    let changes = Changes::of(server).await;
    let members = async || {
        let client = database.client().await;
        client.query_one("SELECT count(*) FROM user_groups", &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = members().await;
    let (tables, words) = (stage.tables().await, ["record of changes", "--log-path"]);
    for _ in 0..2 {
        let (entitlement, principal) = ("group:g6:member", "user/u10");
        assert_refused(changes.grant(entitlement, principal).await, Code::Unavailable, &words);
        assert_refused(changes.revoke(entitlement, principal).await, Code::Unavailable, &words);
        assert_refused(stage.create(&ada()).await, Code::Unavailable, &words);
        for name in ["enable_user", "disable_user"] {
            assert_failed(&stage.act(name, "u5").await, &["Unavailable: ", words[0], words[1]]);
        }
    }
    tables.assert_same(&stage.tables().await);
    assert_eq!(stage.api.methods(), Vec::<String>::new(), "a change without a record");
    let said = server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.starts_with("the log cannot be written"))
    });
    assert_eq!(said["level"], "error", "{said}");
    assert!(said["log_path"].as_str().unwrap().ends_with("audit.log"), "{said}");
    assert_eq!(metric(server, "baton_retool_log_unwritable_targets"), 1.0);
    // Reads continue to work.
    stage.wire.organizations().await.unwrap();

    fs::remove_file(&log).unwrap();
    fs::write(&log, "").unwrap();
    server.signal("HUP");
    server.wait_for_log(|line| line["signal"] == "SIGHUP");
    changes.grant("group:g6:member", "user/u10").await.unwrap();
    assert_eq!(members().await, before + 1);
    let records = lines_of(&log).into_iter().filter(|line| line["logger"] == "audit");
    let records: Vec<_> = records.map(|line| line["msg"].to_string()).collect();
    assert_eq!(records.first().map(String::as_str), Some(r#""change requested""#));
    eventually("the record", async || {
        lines_of(&log)
            .iter()
            .any(|line| line["msg"] == "change" && line["outcome"] == "changed")
            .then_some(())
    })
    .await;
    assert_eq!(metric(server, "baton_retool_log_unwritable_targets"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_refused_while_a_reader_of_the_log_stalls() {
    let database = Database::small().await;
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut reader = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let paths = format!("--log-path=stderr,{}", pipe.display());
    let server = Server::start(&database, &["--provisioning", &paths, "--metrics-listen=127.0.0.1:0"]);
    let (wire, changes) = (Wire::to(&server).await, Changes::of(&server).await);
    // More lines than the pipe can hold.
    for _ in 0..500 {
        wire.metadata().await.unwrap();
    }
    let refused = changes.grant("group:g6:member", "user/u10").await;
    assert_refused(refused, Code::Unavailable, &["record of changes", "--log-path"]);
    let said = server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.starts_with("the log cannot be written"))
    });
    assert!(said["log_path"].as_str().unwrap().ends_with("pipe"), "{said}");
    assert!(said["error"].as_str().unwrap().contains("takes too long"), "{said}");
    assert_eq!(metric(&server, "baton_retool_log_unwritable_targets"), 1.0);

    std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
    eventually("a writable target", async || {
        (metric(&server, "baton_retool_log_unwritable_targets") == 0.0).then_some(())
    })
    .await;
    changes.grant("group:g6:member", "user/u10").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_off_do_not_flood_the_log() {
    const LINES: usize = 20;
    let database = Database::empty_schema().await;
    let server = Server::start(&database, &["--metrics-listen=127.0.0.1:0"]);
    let changes = Changes::of(&server).await;
    let begun = Instant::now();
    for _ in 0..300 {
        let refused = changes.grant("group:g6:member", "user/u10").await;
        assert_refused(refused, Code::FailedPrecondition, &["provisioning is not enabled"]);
    }
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    let lines = server.logs().iter().filter(|line| line["msg"] == "change").count();
    assert!(lines >= LINES && lines <= LINES * windows as usize, "{lines} lines");
    // A refused change is counted in any case.
    let counted = r#"baton_retool_provisioning_total{operation="grant",outcome="refused"}"#;
    assert_eq!(metric(&server, counted), 300.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_changes_do_not_flood_the_log_and_hide_no_change() {
    const LINES: usize = 20;
    const CALLS: usize = 60;
    const CREATE_ACCOUNT: &str = "AccountManagerService/CreateAccount";
    const INVOKE_ACTION: &str = "ActionService/InvokeAction";
    let stage = Stage::with(&["--provisioning", "--metrics-listen=127.0.0.1:0"]).await;
    let changes = Changes::of(&stage.server).await;
    let begun = Instant::now();
    for _ in 0..CALLS {
        assert_refused(changes.grant("banana:b1:x", "user/u11").await, Code::Unimplemented, &[]);
        assert_refused(changes.revoke("banana:b1:x", "user/u11").await, Code::Unimplemented, &[]);
        let created = stage.wire.call::<CreateAccountResponse>(CREATE_ACCOUNT, &form(&[])).await;
        assert_refused(created, Code::InvalidArgument, &[]);
        for name in ["enable_user", "disable_user"] {
            let answer = stage.wire.call::<InvokeActionResponse>(INVOKE_ACTION, &action(name, "x")).await;
            assert_failed(&answer.unwrap(), &["InvalidArgument: "]);
        }
    }
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    let records = stage.records();
    for operation in ["grant", "revoke", "create_account", "enable_user", "disable_user"] {
        let lines = records.iter().filter(|record| record["operation"] == operation).count();
        assert!(lines >= LINES && lines <= LINES * windows as usize, "{operation}: {lines} lines");
        // A refused change is counted in any case.
        let counted =
            format!(r#"baton_retool_provisioning_total{{operation="{operation}",outcome="refused"}}"#);
        assert_eq!(metric(&stage.server, &counted), CALLS as f64);
    }
    // Changes that were announced have all their lines, also those that Retool's state does not allow.
    for _ in 0..LINES {
        changes.grant("group:g6:member", "user/u10").await.unwrap();
        assert_refused(changes.grant("group:g13:member", "user/u10").await, Code::FailedPrecondition, &[]);
    }
    let lines = stage.server.logs();
    let count = |message: &str| {
        let is_valid = |line: &&Value| line["msg"] == message && line["principal_id"] == "u10";
        lines.iter().filter(is_valid).count()
    };
    assert_eq!((count("change requested"), count("change")), (2 * LINES, 2 * LINES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_with_failing_calls_does_not_flood_the_log() {
    const LINES: usize = 500;
    const AT_A_TIME: usize = 50;
    const CALLS: usize = 16 * AT_A_TIME;
    let server = Server::start_at(NOWHERE, &["--metrics-listen=127.0.0.1:0"]);
    let raw = Raw::to(server.address()).await;
    let request = ResourceTypesServiceListResourceTypesRequest { page_size: 251, ..Default::default() };
    let begun = Instant::now();
    for _ in 0..CALLS / AT_A_TIME {
        let path = "c1.connector.v2.ResourceTypesService/ListResourceTypes";
        let endings = join_all((0..AT_A_TIME).map(|_| raw.call(path, &[], &request))).await;
        assert!(endings.into_iter().all(|ending| ending.unwrap().code.as_deref() == Some("3")));
    }
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    let refused = |line: &Value| line["grpc.code"] == "InvalidArgument";
    let lines = server.logs().into_iter().filter(refused).count();
    assert!(lines >= LINES && lines <= LINES * windows as usize, "{lines} lines");
    let left_out = metric(&server, r#"baton_retool_log_lines_lost_total{reason="repeated"}"#);
    assert_eq!(left_out as usize + lines, CALLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_handshakes_do_not_flood_the_log() {
    const LINES: usize = 5;
    const CONNECTIONS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let signed = Pki::new().sign("server");
    let (certificate, key) = (directory.path().join("server.crt"), directory.path().join("server.key"));
    fs::write(&certificate, &signed.cert_pem).unwrap();
    fs::write(&key, signed.key.serialize_pem()).unwrap();
    let certificate = format!("--tls-cert={}", certificate.display());
    let key = format!("--tls-key={}", key.display());
    let server = Server::start_at(NOWHERE, &[&certificate, &key, "--metrics-listen=127.0.0.1:0"]);
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // The server closes the connection, after an alert or without one.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let failed = |line: &Value| line["msg"] == "a TLS handshake failed";
    let lines = eventually("a verdict on each handshake", async || {
        let left_out = metric(&server, r#"baton_retool_log_lines_lost_total{reason="repeated"}"#);
        let lines = server.logs().into_iter().filter(failed).count();
        (lines + left_out as usize == CONNECTIONS).then_some(lines)
    })
    .await;
    let windows = begun.elapsed().as_secs() / WINDOW_SECONDS + 1;
    assert!(lines >= LINES && lines <= LINES * windows as usize, "{lines} lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reopens_log_files_and_other_signals_do_not_end_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let (log, rotated) = (directory.path().join("a.log"), directory.path().join("a.log.1"));
    let paths = format!("--log-path=stderr,{}", log.display());
    let server = Server::start_at(NOWHERE, &[&paths]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&log) & !0o640, 0, "{:o}", mode(&log));
    fs::rename(&log, &rotated).unwrap();
    for (signal, name) in [("USR1", "SIGUSR1"), ("USR2", "SIGUSR2"), ("HUP", "SIGHUP")] {
        server.signal(signal);
        server.wait_for_log(|line| line["signal"] == name);
    }
    let wire = Wire::to(&server).await;
    wire.metadata().await.unwrap();
    eventually("a line in the new file", async || {
        lines_of(&log).iter().any(|line| line["grpc.method"] == "GetMetadata").then_some(())
    })
    .await;
    assert_eq!(mode(&log) & !0o640, 0, "{:o}", mode(&log));
    assert!(lines_of(&rotated).iter().any(|line| line["msg"] == "listening"));
    assert!(server.stop().0.success());
}

//! The transport to ConductorOne: TLS, certificates, a hanging endpoint, an outage. The log names each fault,
//! and the program recovers on its own.

use std::fs;

use baton_retool::proto::connectorapi::task::{SyncFullTask, TaskType};
use serde_json::Value;

use super::{NOWHERE, Stage, small};
use crate::support::c1::{C1, Finished, Method, Tls};
use crate::support::server::Server;

/// Whether the line is a warning that Hello failed for this reason.
fn is_retried(line: &Value, reason: &str) -> bool {
    line["level"] == "warn"
        && line["msg"] == "startup Hello failed, retrying"
        && line["error"].as_str().is_some_and(|text| text.contains(reason))
}

/// Checks that the program reports these TLS settings of the server, and continues once they are correct.
async fn recovers_from(tls: Tls, reason: &str) {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.tls = tls);
    let server = c1.serve(NOWHERE, &[]);
    server.wait_for_log(|line| is_retried(line, reason));
    assert!(!c1.calls().iter().any(|call| call.method == Method::Hello));
    c1.plan(|plan| plan.tls = Tls::Usual);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_a_server_without_http2() {
    for tls in [Tls::WithoutAlpn, Tls::OnlyHttp1] {
        recovers_from(tls, "127.0.0.1 does not support HTTP/2, so it is not ConductorOne's API").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_tls_before_1_2() {
    recovers_from(Tls::Only11, "127.0.0.1 supports neither TLS 1.2 nor TLS 1.3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_tls_1_2() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.tls = Tls::Only12);
    let _server = c1.serve(NOWHERE, &[]);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_an_untrusted_certificate() {
    recovers_from(Tls::Untrusted, "it comes from a certificate authority that this machine does not trust")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_certificate_authorities_from_a_folder() {
    let c1 = C1::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::copy(c1.authority(), folder.path().join("authority.pem")).unwrap();
    let mut command = c1.program(NOWHERE);
    command.env_remove("SSL_CERT_FILE").env("SSL_CERT_DIR", folder.path());
    let _server = Server::run(command);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_certificate_authorities_the_program_ends_at_once() {
    let c1 = C1::start().await;
    let mut command = c1.program(NOWHERE);
    let empty = tempfile::tempdir().unwrap();
    command.env("SSL_CERT_FILE", "/nowhere.pem").env("SSL_CERT_DIR", empty.path());
    let (status, said) = super::end(Server::run(command));
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("no certificate authorities") && said.contains("/nowhere.pem"), "{said}");
    assert_eq!(c1.attempts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_token_endpoint_times_out_and_is_retried() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.holds_tokens = true);
    let server = c1.serve(NOWHERE, &["--http-timeout-seconds", "3"]);
    server.wait_for_log(|line| is_retried(line, "/auth/v1/token cannot be reached: "));
    let timed_out = server.wait_for_log(|line| is_retried(line, "timed out"));
    assert!(timed_out["error"].as_str().unwrap().contains("127.0.0.1"), "{timed_out}");
    c1.plan(|plan| plan.holds_tokens = false);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_causes_no_busy_loop() {
    let c1 = C1::start().await;
    let server = c1.serve(NOWHERE, &[]);
    c1.run(small()).await;
    let before = c1.attempts();
    c1.go_away();
    let failed = |line: &Value, times: u64| {
        line["msg"] == "cannot get tasks from ConductorOne, retrying" && line["err_count"] == times
    };
    // After 1 and 4 more seconds.
    let last = server.wait_for_log(|line| failed(line, 3));
    assert_eq!(last["next_check_after"], 9.0);
    let made = c1.attempts() - before;
    assert!(made <= 6, "{made} connections for three polls");
    c1.plan(|plan| plan.away = false);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_connection_breaks_restarts() {
    let stage = Stage::new(&["--sync-resource-types", "org"]).await;
    // More than the connection's buffers hold before the other end reads it.
    let log = vec![b'x'; 16 * 1024 * 1024];
    fs::write(stage.c1.temp_dir().join("debug.log"), &log).unwrap();
    // The file of the sync has one piece; the upload of the log stops in the middle.
    stage.c1.plan(|plan| plan.holds_uploads_at = Some(2));
    let id = stage.c1.give(TaskType::SyncFull(SyncFullTask::default()));
    stage.c1.called(Method::Upload, 2).await;
    stage.c1.go_away();
    let line = stage.server.wait_for_log(|line| line["msg"] == "upload failed, retrying");
    assert_eq!(line["task_id"], id);
    stage.c1.plan(|plan| (plan.away, plan.holds_uploads_at) = (false, None));
    assert!(matches!(stage.c1.finished(&id).await, Finished::Success(_)));
    let sizes: Vec<usize> = stage.c1.uploads().iter().map(|upload| upload.bytes.len()).collect();
    assert_eq!((sizes.len(), sizes[1]), (2, log.len()));
    assert!(stage.c1.called(Method::Upload, 3).await.len() < 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_id_comes_from_the_variable_or_the_machine() {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    let own = |value: &str| Some(value.to_owned());
    let mut cases = vec![(own(" "), " ".to_owned()), (own(""), "baton-sdk".to_owned())];
    cases.extend(name.map(|name| (None, name)));
    for (variable, host) in cases {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.host = host);
        let mut command = c1.program(NOWHERE);
        match variable {
            Some(value) => command.env("BATON_HOST_ID", value),
            None => command.env_remove("BATON_HOST_ID"),
        };
        let _server = Server::run(command);
        c1.run(small()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_probe_port_ends_the_program_before_the_first_poll() {
    let c1 = C1::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, said) = super::end(c1.serve(NOWHERE, &["--health-check", "--health-check-port", &port]));
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--health-check-port"), "{said}");
    assert!(!c1.calls().iter().any(|call| call.method == Method::GetTask));
}

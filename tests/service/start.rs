//! From the command line to the first Hello.

use std::process::Stdio;
use std::time::Duration;

use tonic::Code;

use super::{NOWHERE, Stage, end, small};
use crate::support::c1::{C1, Method};
use crate::support::http::ask;
use crate::support::server::{Server, program};

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_without_a_command_start_service_mode() {
    let stage = Stage::new(&["-f", "ignored.c1z", "--skip-entitlements-and-grants"]).await;
    stage.c1.called(Method::GetTask, 2).await;
    let methods: Vec<Method> = stage.c1.calls().iter().map(|call| call.method).collect();
    assert_eq!(methods[..3], [Method::Token, Method::Hello, Method::GetTask]);
    let hello = stage.c1.hellos().remove(0);
    assert_eq!((hello.host_id.as_str(), hello.task_id.as_str()), ("test-host", ""));
    let build = hello.build_info.unwrap();
    assert_eq!(build.package, "github.com/conductorone/baton-retool");
    assert_eq!(build.package_version, concat!("v", env!("CARGO_PKG_VERSION")));
    assert!(build.lang_version.starts_with("rust"));
    let os = hello.os_info.unwrap();
    assert_eq!(os.os, std::env::consts::OS);
    assert!(!os.hostname.is_empty() && !os.kernel_version.is_empty() && !os.platform.is_empty());
    let metadata = hello.connector_metadata.unwrap();
    assert_eq!(metadata.display_name, "Retool");
    assert!(metadata.capabilities.is_some());
    stage.server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| text.starts_with("--file has no effect"))
    });
    let (status, _) = stage.server.stop();
    assert!(status.success());
    // No file was written to the working directory.
    assert!(!stage.c1.temp_dir().join("../ignored.c1z").exists());
    // All calls share one connection.
    assert_eq!(stage.c1.connections(), 1);
}

#[test]
fn an_invalid_id_or_secret_ends_the_program_at_once() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = program();
        let folder = tempfile::tempdir().unwrap();
        command.current_dir(folder.path()).env("BATON_CONNECTION_STRING", NOWHERE);
        let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let id = ("BATON_CLIENT_ID", "name@127.0.0.1:1/pcc");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[id], "client-secret"),
        (&[("BATON_CLIENT_SECRET", "a:b:v1:c")], "client-id"),
        (&[("BATON_CLIENT_ID", "name"), ("BATON_CLIENT_SECRET", "a:b:v1:c")], "invalid client id"),
        (&[id, ("BATON_CLIENT_SECRET", "a:b:v2:c")], "invalid client secret"),
        (&[id, ("BATON_CLIENT_SECRET", "a:b:v1:e30")], "invalid client secret"),
        (
            &[id, ("BATON_CLIENT_SECRET", "a:b:v1:e30"), ("BATON_TASK_CONCURRENCY", "0")],
            "a whole number from 1 to 100",
        ),
    ];
    for (variables, words) in cases {
        let (code, errors) = run(variables);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(words), "{variables:?}: {errors}");
        assert!(!errors.contains("e30"), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_or_file_ends_the_program() {
    let c1 = C1::start().await;
    for (variable, value, words) in [
        ("BATON_C1Z_TEMP_DIR", "/no/such/folder", "the specified c1z temp dir does not exist"),
        ("BATON_EXTERNAL_RESOURCE_C1Z", "no-such-file", "external resource c1z file does not exist"),
        ("BATON_C1_API_HOST", "https://acme", "BATON_C1_API_HOST"),
    ] {
        let mut command = c1.program(NOWHERE);
        command.env(variable, value);
        let (status, said) = end(Server::run(command));
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert!(c1.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_hello_until_it_succeeds() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.fail(Method::Hello, &[Code::Unavailable, Code::Internal]));
    let server = c1.serve(NOWHERE, &[]);
    let hellos = c1.called(Method::Hello, 3).await;
    let waits: Vec<Duration> = hellos.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits[0] >= Duration::from_millis(900) && waits[1] >= Duration::from_millis(1900), "{waits:?}");
    c1.called(Method::GetTask, 1).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_hello_after_a_temporary_failure() {
    for code in [
        Code::Cancelled,
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::ResourceExhausted,
        Code::Aborted,
        Code::DataLoss,
    ] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.fail(Method::Hello, &[code]));
        let server = c1.serve(NOWHERE, &[]);
        c1.called(Method::GetTask, 1).await;
        server.wait_for_log(|line| line["msg"] == "startup Hello failed, retrying");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_hello_ends_the_program() {
    for code in [
        Code::InvalidArgument,
        Code::NotFound,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::Unimplemented,
        Code::Unauthenticated,
    ] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.always(Method::Hello, Some(code)));
        let (status, said) = end(c1.serve(NOWHERE, &[]));
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("startup Hello failed") && said.contains("scripted failure"), "{said}");
        assert!(!c1.calls().iter().any(|call| call.method == Method::GetTask));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_an_api_that_is_unavailable_at_startup() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.away = true);
    let server = c1.serve(NOWHERE, &[]);
    let failed = server.wait_for_log(|line| line["msg"] == "startup Hello failed, retrying");
    assert!(failed["error"].as_str().unwrap().contains("cannot be reached"), "{failed}");
    // The first failed request is logged before its retries, and the retries are not.
    let warnings: Vec<_> = server.logs().into_iter().filter(|line| line["level"] == "warn").collect();
    let of_token = |line: &&serde_json::Value| {
        line["msg"] == "cannot get an access token from ConductorOne, retrying"
            && line["error"].as_str().is_some_and(|text| text.contains("cannot be reached"))
    };
    assert_eq!(warnings.iter().filter(of_token).count(), 1, "{warnings:?}");
    let at = |wanted: &dyn Fn(&&serde_json::Value) -> bool| warnings.iter().position(|line| wanted(&line));
    assert!(at(&of_token) < at(&|line| line["msg"] == failed["msg"]), "{warnings:?}");
    c1.plan(|plan| plan.away = false);
    c1.called(Method::GetTask, 1).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_overrides_the_host_of_the_api() {
    let c1 = C1::start().await;
    // The host of the client's id, which has no address. It stays the audience of the client's assertion.
    c1.expect_client_of("acme.invalid");
    let mut command = c1.program(NOWHERE);
    command.env("BATON_C1_API_HOST", c1.address().to_string());
    let server = Server::run(command);
    c1.called(Method::GetTask, 1).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_respond_from_the_start_and_are_ready_after_hello() {
    let c1 = C1::start().await;
    c1.plan(|plan| plan.always(Method::Hello, Some(Code::Unavailable)));
    let server = c1.serve(NOWHERE, &["--health-check", "--health-check-port", "0"]);
    let line = server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    c1.called(Method::Hello, 1).await;
    assert_eq!(ask(address, "GET", "/live").code, 200);
    let before = ask(address, "GET", "/ready");
    assert_eq!((before.code, before.json()["status"].as_str()), (503, Some("not_ready")));
    // The check queries the database, which is unreachable.
    let health = ask(address, "GET", "/health");
    assert_eq!((health.code, health.json()["status"].as_str()), (503, Some("unhealthy")));
    assert!(health.json()["details"]["validation_error"].is_string(), "{}", health.body);
    c1.plan(|plan| plan.always(Method::Hello, None));
    let id = c1.give(small());
    c1.finished(&id).await;
    assert_eq!(ask(address, "GET", "/ready").code, 200);
    // It does not listen for other callers.
    assert!(!server.logs().iter().any(|line| line["msg"] == "listening"));
}

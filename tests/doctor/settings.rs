//! Checks of settings, including settings that `doctor` itself does not use.

use super::database::{FEW, Visit, assert_shown, healthy, run, visit};
use crate::support::postgres::Database;

#[tokio::test]
async fn superuser_roles_and_service_mode_variables_are_reported() {
    let database = Database::seeded(FEW).await;
    let arguments = ["--connection-string", &database.url(), "--strict"];
    let environment = [("BATON_CLIENT_ID", "name@acme.example"), ("BATON_CLIENT_SECRET", "a:b:v1:hunter2")];
    let output = run(&environment, &arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    let seen = Visit { code: output.status.code().unwrap(), text };
    assert_shown!("superuser_and_bad_client", seen, Some(&database), None);
}

#[test]
fn invalid_settings_are_reported() {
    let bad_value =
        visit("host=127.0.0.1 user=baton dbname=retool", &["--statement-timeout-seconds", "soon"]);
    assert_shown!("bad_setting", bad_value, None, None);
    let half = visit(
        "host=127.0.0.1 user=baton dbname=retool",
        &["--retool-api-base-url", "https://retool.example.com"],
    );
    assert_shown!("half_of_rest", half, None, None);
    let misspelled = visit("host=127.0.0.1 user=baton password=hunter2 dbname=retool sslmod=require", &[]);
    assert!(!misspelled.text.contains("hunter2"));
    assert_shown!("bad_connection_string", misspelled, None, None);
    let none = run(&[], &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8(none.stdout).unwrap().contains("connection-string is required"));
}

#[tokio::test]
async fn settings_that_prevent_a_start_are_reported() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    let directory = tempfile::tempdir().unwrap();
    let tokens = directory.path().join("tokens");
    std::fs::write(&tokens, "hunter2").unwrap();
    let tokens = format!("--auth-token-file={}", tokens.display());
    for (flags, word) in [
        (&["--tls-cert=/nowhere.crt", "--tls-key=/nowhere.key"][..], "/nowhere.key cannot be read"),
        (&["--auth-token-file=/nowhere/tokens"], "/nowhere/tokens cannot be read"),
        (&[tokens.as_str()], "at least 16"),
        (&["--listen=0.0.0.0:0"], "can be reached from other machines"),
        (&["--log-path=/nowhere/of/all.log"], "/nowhere/of/all.log cannot be written to"),
        (
            &[
                "--otel-collector-endpoint=collector:4317",
                "--otel-collector-endpoint-tls-cert-path=/nowhere.pem",
            ],
            "/nowhere.pem",
        ),
    ] {
        let seen = visit(&url, flags);
        let settings = seen.text.lines().find(|line| line.starts_with("failed") && line.contains(word));
        assert!(seen.code == 2 && settings.is_some(), "{flags:?}: {}", seen.text);
        assert!(!seen.text.contains("hunter2"), "{}", seen.text);
        assert_eq!(seen.status_of("database"), ["ok"], "doctor still runs the other checks: {}", seen.text);
    }
    let log = directory.path().join("new.log");
    let seen = visit(&url, &[&format!("--log-path={}", log.display()), "--listen=127.0.0.1:0", "--strict"]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    assert!(!log.exists(), "doctor created a file");
}

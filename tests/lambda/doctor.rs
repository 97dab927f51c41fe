//! The report of `doctor` about a function.

use std::io::ErrorKind;
use std::net::TcpListener;

use baton_retool::proto::connectorapi::EgressMode;
use serde_json::{Value, json};

use crate::egress::policy;
use crate::support::hosted::Config;
use crate::support::hosted::stage::{NOWHERE, Parts};
use crate::support::postgres::Database;

fn report(parts: &Parts, variables: &[(&str, &str)]) -> (Option<i32>, Value) {
    let mut program = parts.program("doctor");
    program.args(["--output", "json"]).envs(variables.iter().copied());
    let output = program.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(parts.hosted.secret().rsplit(':').next().unwrap()));
    (output.status.code(), serde_json::from_str(&text).expect(&text))
}

fn line(report: &Value, check: &str) -> (String, String) {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["check"] == check).unwrap();
    (found["status"].as_str().unwrap().to_owned(), found.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_the_served_settings() {
    let database = Database::small().await;
    let parts = Parts::new(&database.url()).await;
    let (code, found) = report(&parts, &[]);
    assert_eq!(code, Some(0), "{found:#}");
    let (status, text) = line(&found, "c1");
    assert!(status == "ok" && text.contains("cv-1"), "{text}");
    assert_eq!(line(&found, "login").0, "ok");
    assert_eq!(line(&found, "read").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_why_the_function_cannot_start() {
    let parts = Parts::new(NOWHERE).await;
    let (code, found) = report(&parts, &[("BATON_LAMBDA_AUTH_JWT_SIGNER", "{}")]);
    let (status, text) = line(&found, "c1");
    assert!(code == Some(2) && status == "failed" && text.contains("lambda-auth-jwt-signer"), "{text}");
    let (code, found) = report(&parts, &[("BATON_LAMBDA_CLIENT_SECRET", "a:b:v2:c")]);
    let (status, text) = line(&found, "c1");
    assert!(code == Some(2) && status == "failed" && text.contains("client secret"), "{text}");
    parts
        .hosted
        .serve("cv-2", Config::of("cv-2", json!({ "connection-string": NOWHERE, "skip-pages": "perhaps" })));
    let (code, found) = report(&parts, &[]);
    let (status, text) = line(&found, "c1");
    assert!(code == Some(2) && status == "failed" && text.contains("skip-pages"), "{text}");
    assert_eq!(line(&found, "login").0, "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_does_not_connect_to_hosts_that_the_egress_policy_refuses() {
    let parts = Parts::new(NOWHERE).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = |mode: EgressMode, allowed: &[&str]| {
        let settings = json!({
            "connection-string":
                format!("postgres://baton@localhost:{port}/retool?sslmode=disable&connect_timeout=1"),
            "retool-api-base-url": format!("http://127.0.0.1:{port}"), "retool-api-token": "t",
        });
        let config = Config { policy: Some(policy(mode, allowed)), ..Config::of("cv-1", settings) };
        parts.hosted.serve("cv-1", config);
    };
    const SKIPPED: &str = "the egress policy does not allow connections to its host";
    // The check of the keys fails, too, and does not hide the policy.
    for variables in [&[][..], &[("BATON_LAMBDA_AUTH_JWT_SIGNER", "{}")]] {
        serve(EgressMode::Enforce, &["db.example.com"]);
        let (code, found) = report(&parts, variables);
        assert_eq!(code, Some(2));
        for check in ["dns", "tcp", "tls", "login", "server", "snapshot", "drift", "rest"] {
            let (status, text) = line(&found, check);
            assert!(status == "skipped" && text.contains(SKIPPED), "{text}");
        }
        let (status, text) = line(&found, "c1");
        let word = if variables.is_empty() { "connections to localhost" } else { "lambda-auth-jwt-signer" };
        assert!(status == "failed" && text.contains(word), "{text}");
        let refused = listener.accept().map(|_| "connected").map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::WouldBlock));
    }
    // Each is checked alone: the policy allows one of them.
    serve(EgressMode::Enforce, &["localhost"]);
    let (code, found) = report(&parts, &[]);
    assert_eq!((code, line(&found, "tcp").0.as_str()), (Some(2), "ok"), "{found:#}");
    assert!(line(&found, "rest").1.contains(SKIPPED));
    let (status, text) = line(&found, "c1");
    assert!(status == "failed" && text.contains("connections to http://127.0.0.1"), "{text}");
    assert!(listener.accept().is_ok());
    // A policy that is not enforced prevents no check.
    serve(EgressMode::Report, &[]);
    let (_, found) = report(&parts, &[]);
    assert_eq!((line(&found, "tcp").0.as_str(), line(&found, "c1").0.as_str()), ("ok", "ok"), "{found:#}");
    assert_ne!(line(&found, "rest").0, "skipped");
}

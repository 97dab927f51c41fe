//! The report of `doctor` about a function.

use serde_json::{Value, json};

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

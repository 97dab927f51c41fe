//! Checks of the REST API: each wrong response has its own fix.

use serde_json::Value;

use super::database::{Visit, run, visit};
use crate::support::closed_port::ClosedPort;
use crate::support::postgres::Database;
use crate::support::retool_api::{Reply, RetoolApi, TOKEN};

/// The API is checked regardless of the database.
fn arguments(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).chain(["--provisioning"]).collect()
}

/// Only the lines about the API, without the port.
fn about(seen: &Visit) -> String {
    let shown = seen.shown(None, None);
    let lines = shown.lines().skip_while(|line| !line.contains("  rest"));
    lines.take_while(|line| !line.contains("  c1")).collect::<Vec<_>>().join("\n")
}

fn fixes(connection: &str, flags: &[&str]) -> Vec<String> {
    let output = run(&[], &[&["--connection-string", connection, "--output", "json"], flags].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = report["checks"].as_array().unwrap().iter().find(|line| line["check"] == "rest").unwrap();
    assert_ne!(line["meaning"], "", "{line}");
    line["fix"].as_array().unwrap().iter().map(|fix| fix.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_rest_answer_is_reported_with_its_fix() {
    let database = Database::empty_schema().await;
    let api = RetoolApi::start(&database);
    let flags = api.flags();
    let flags = arguments(&flags);
    let closed = ClosedPort::new();
    let connection = format!("host=127.0.0.1 port={} user=baton dbname=retool", closed.port());
    let ask = |reply: Reply| {
        api.always("GET", reply);
        let seen = visit(&connection, &flags);
        assert!(!seen.text.contains(TOKEN), "{}", seen.text);
        assert_eq!(seen.status_of("rest"), ["failed"], "{}", seen.text);
        assert!(!fixes(&connection, &flags).is_empty(), "{}", seen.text);
        about(&seen)
    };
    insta::assert_snapshot!("doctor_rest_404", ask(Reply::refusal(404, "Not found")));
    insta::assert_snapshot!("doctor_rest_web_page", ask(Reply::html(200)));
    let elsewhere = "https://elsewhere.example/tools/api/v2/users";
    insta::assert_snapshot!("doctor_rest_redirect", ask(Reply::redirect(301, elsewhere)));
    insta::assert_snapshot!("doctor_rest_scope", ask(Reply::refusal(403, "no scope")));
    insta::assert_snapshot!("doctor_rest_busy", ask(Reply::refusal(429, "slow down")));
    insta::assert_snapshot!("doctor_rest_broken", ask(Reply::html(503)));
    insta::assert_snapshot!("doctor_rest_strange", ask(Reply::refusal(422, "what?")));
    let (open, refusing) = (api.address().to_string(), closed.address().to_string());
    let flags: Vec<String> = api.flags().iter().map(|flag| flag.replace(&open, &refusing)).collect();
    let flags = arguments(&flags);
    let gone = visit(&connection, &flags);
    insta::assert_snapshot!("doctor_rest_unreachable", about(&gone));
    assert_eq!(fixes(&connection, &flags).len(), 1);
}

//! The REST API from an operator's point of view: Validate, TLS, proxies, warnings.

use std::time::{Duration, Instant};

use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use tonic::Code;

use crate::support::http::ask;
use crate::support::parent::Pki;
use crate::support::postgres::Database;
use crate::support::retool_api::{Gate, Reply, RetoolApi, TOKEN};
use crate::support::server::Server;
use crate::support::stage::{Stage, ada, limits, limits_of, result};
use crate::support::wire::{Wire, assert_refused, eventually};

#[tokio::test]
async fn validate_requests_one_user_and_reports_the_remaining_rate_limit() {
    let stage = Stage::new().await;
    stage.api.set(|manners| {
        manners.headers = vec![
            ("RateLimit-Limit".to_owned(), "100".to_owned()),
            ("RateLimit-Remaining".to_owned(), "99".to_owned()),
        ];
    });
    let answer = stage.validate().await.unwrap();
    assert_eq!((answer.sdk_version.as_str(), answer.annotations.len()), ("v0.25.0", 1));
    let limit = limits(&answer.annotations).unwrap();
    assert_eq!((limit.status(), limit.limit, limit.remaining), (LimitStatus::Ok, 100, 99));
    let seen = stage.api.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/users"));
    assert_eq!(seen[0].query.get("limit").map(String::as_str), Some("1"));
}

#[tokio::test]
async fn validate_detects_a_revoked_token() {
    let stage = Stage::new().await;
    for _ in 0..2 {
        stage.validate().await.unwrap();
        assert_eq!(stage.api.methods(), ["GET"]);
    }
    stage.api.always("GET", Reply::refusal(401, "no"));
    let status = assert_refused(stage.validate().await, Code::Unauthenticated, &["--retool-api-token"]);
    assert!(limits_of(&status).is_some());
    assert_eq!(stage.api.methods(), ["GET"]);
}

#[tokio::test]
async fn without_provisioning_validate_succeeds_although_the_rest_api_fails() {
    let refusals =
        [(401, Code::Unauthenticated, "--retool-api-token"), (403, Code::PermissionDenied, "users:read")];
    let provisioning = Stage::with(&["--provisioning", "--http-timeout-seconds", "4"]).await;
    let reading = Stage::with(&["--http-timeout-seconds", "4"]).await;
    for (status, code, words) in refusals {
        provisioning.api.next("GET", Reply::refusal(status, "no"));
        assert_refused(provisioning.validate().await, code, &[words]);
        reading.api.next("GET", Reply::refusal(status, "no"));
        assert_eq!(reading.validate().await.unwrap().annotations, []);
    }
    let warned = |stage: &Stage| {
        let lines = stage.server.logs().into_iter().filter(|line| line["level"] == "warn");
        lines.filter(|line| line["msg"].as_str().is_some_and(|text| text.contains("users:read"))).count()
    };
    assert_eq!((warned(&provisioning), warned(&reading)), (0, 2));
    let outages = [
        Reply::refusal(503, "later"),
        Reply::refusal(429, "slow down"),
        Reply::refusal(404, "no"),
        Reply::refusal(200, "no"),
        Reply::html(200),
        Reply::redirect(301, "https://elsewhere.example.com"),
        Reply::Truncated(Duration::ZERO),
        Reply::Closed,
        Reply::Usual.behind(&Gate::closed()),
    ];
    for stage in [&provisioning, &reading] {
        let before = warned(stage);
        for outage in &outages {
            stage.api.next("GET", outage.clone());
            let begun = Instant::now();
            assert_eq!(stage.validate().await.unwrap().annotations, [], "{outage:?}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{outage:?}: {:?}", begun.elapsed());
        }
        assert_eq!(warned(stage) - before, outages.len());
    }
}

#[tokio::test]
async fn an_old_retool_that_ignores_the_limit_is_accepted() {
    let stage = Stage::new().await;
    let users: Vec<_> = (0..20_000).map(|id| serde_json::json!({"id": format!("user_{id}")})).collect();
    stage.api.next("GET", Reply::json(200, serde_json::json!({"success": true, "data": users})));
    assert!(limits(&stage.validate().await.unwrap().annotations).is_some());
}

#[tokio::test]
async fn health_probes_send_no_request_to_retool() {
    let stage = Stage::with(&["--health-check", "--health-check-port", "0"]).await;
    let line = stage.server.wait_for_log(|line| line["msg"] == "health endpoints listening");
    let probes = line["address"].as_str().unwrap().parse().unwrap();
    // The check of the database at startup sends no request either.
    stage.server.wait_for_log(|line| line["msg"] == "the database can be read");
    for path in ["/health", "/ready", "/live"] {
        let is_ok = async || (ask(probes, "GET", path).code == 200).then_some(());
        eventually(path, is_ok).await;
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused() {
    let pki = Pki::new();
    let signed = pki.sign("retool");
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    std::fs::write(&authority, &pki.ca_pem).unwrap();
    let authority = authority.to_str().unwrap();
    let other = directory.path().join("other.pem");
    std::fs::write(&other, Pki::new().ca_pem).unwrap();
    let other = other.to_str().unwrap();
    for (file, trusted) in [(authority, true), (other, false)] {
        let database = Database::small().await;
        let api = RetoolApi::start_tls(&database, &signed.cert_pem, &signed.key.serialize_pem());
        let url = database.url();
        let environment = [("SSL_CERT_FILE", file)];
        let stage = Stage::between(database, api, &environment, &url, &["--provisioning"]).await;
        if trusted {
            assert_eq!(result(&stage.create(&ada()).await.unwrap()).0, "success");
            continue;
        }
        let before = stage.tables().await;
        assert_refused(
            stage.create(&ada()).await,
            Code::FailedPrecondition,
            &["certificate", "SSL_CERT_FILE"],
        );
        assert_eq!(stage.validate().await.unwrap().annotations, []);
        assert_eq!(stage.api.methods(), Vec::<String>::new());
        assert_eq!(stage.tables().await, before);
    }
}

#[tokio::test]
async fn a_proxy_from_the_environment_is_used() {
    let database = Database::small().await;
    let api = RetoolApi::start(&database);
    let proxy = format!("http://{}", api.address());
    // No name server resolves this host.
    let flags = [
        "--provisioning",
        "--retool-api-base-url",
        "http://retool.invalid/tools",
        "--retool-api-token",
        TOKEN,
    ];
    let server = Server::start_with(&[("http_proxy", &proxy)], &database.url(), &flags);
    let answer: baton_retool::proto::connector::CreateAccountResponse =
        Wire::to(&server).await.call("AccountManagerService/CreateAccount", &ada()).await.unwrap();
    assert_eq!(result(&answer).0, "success");
    assert_eq!(api.methods(), ["POST"]);
}

#[tokio::test]
async fn warns_of_a_token_sent_unencrypted_over_a_network() {
    let nowhere = "postgres://baton@127.0.0.1:1/retool";
    for (base, warned) in [
        ("http://retool.example.com", true),
        ("https://retool.example.com", false),
        ("http://127.0.0.1:1", false),
    ] {
        let server = Server::start_at(nowhere, &["--retool-api-base-url", base, "--retool-api-token", TOKEN]);
        server.wait_for_log(|line| line["msg"] == "listening");
        let logs = server.logs();
        let clear =
            |line: &&serde_json::Value| line["msg"].as_str().is_some_and(|text| text.contains("unencrypted"));
        assert_eq!(
            logs.iter().any(|line| clear(&line) && line["level"] == "warn"),
            warned,
            "{base}: {logs:?}"
        );
        assert!(logs.iter().all(|line| !line.to_string().contains(TOKEN)), "{logs:?}");
    }
}

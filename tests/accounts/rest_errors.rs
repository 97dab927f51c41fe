//! Errors of Retool's REST API in responses to callers and in the log.

use std::time::{Duration, Instant, SystemTime};

use baton_retool::proto::ratelimit::RateLimitDescription;
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use serde_json::json;
use tonic::{Code, Status};

use crate::support::closed_port::ClosedPort;
use crate::support::collector::Collector;
use crate::support::retool_api::{Gate, Reply, TOKEN};
use crate::support::stage::{Stage, ada, limits_of};
use crate::support::wire::eventually;

async fn refused(stage: &Stage, reply: Reply) -> Status {
    stage.api.next("POST", reply.clone());
    stage.create(&ada()).await.map(|answer| panic!("{reply:?}: {answer:?}")).unwrap_err()
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

#[tokio::test]
async fn each_http_status_maps_to_its_code_with_the_rate_limit_as_detail() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (status, code, words) in [
        (400, Code::InvalidArgument, "HTTP 400"),
        (401, Code::Unauthenticated, "--retool-api-token"),
        (402, Code::InvalidArgument, "HTTP 402"),
        (403, Code::PermissionDenied, "users:write"),
        (404, Code::NotFound, "--retool-api-base-url"),
        (408, Code::DeadlineExceeded, "may have been created"),
        (409, Code::AlreadyExists, "HTTP 409"),
        (422, Code::InvalidArgument, "HTTP 422"),
        (429, Code::Unavailable, "retry later"),
        (500, Code::Unavailable, "may have been created"),
        (501, Code::Unimplemented, "HTTP 501"),
        (502, Code::Unavailable, "retrying is safe"),
        (503, Code::Unavailable, "retrying is safe"),
        (504, Code::Unavailable, "retrying is safe"),
        (599, Code::Unavailable, "retrying is safe"),
    ] {
        let begun = now();
        let said =
            refused(&stage, Reply::refusal(status, "reason of Retool").with("Retry-After", "30")).await;
        assert_eq!(said.code(), code, "{status}: {said:?}");
        for words in [words, "reason of Retool"] {
            assert!(said.message().contains(words), "{status}: no {words:?} in {}", said.message());
        }
        let reset = limits_of(&said).unwrap().reset_at.unwrap().seconds;
        // The rate limit is from the look-up after a refused request.
        if !matches!(status, 400 | 409 | 422) {
            assert!((begun + 30..=now() + 30).contains(&reset), "{status}: {reset}");
        }
    }
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn the_log_has_the_reason_without_the_text_of_retool() {
    let stage = Stage::new().await;
    let status = refused(&stage, Reply::refusal(400, "it isn't so")).await;
    assert!(status.message().contains("it isn't so"), "{status:?}");
    let line = stage.server.wait_for_log(|line| line["grpc.method"] == "CreateAccount");
    assert_eq!(status.message(), r#"Retool's REST API answers HTTP 400: "it isn't so""#);
    assert_eq!(line["error"], r#"Retool's REST API answers HTTP 400: "...""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_in_answers_of_retool_reach_the_caller_but_no_log() {
    const SAID: &str = "Grace Hopper already has this seat";
    let collector = Collector::start().await;
    let address = collector.address();
    let telemetry = ["--otel-collector-endpoint", &address, "--otel-collector-endpoint-tls-insecure"];
    let stage = Stage::with(&[&["--provisioning", "--log-level", "debug"], &telemetry[..]].concat()).await;
    for code in [400, 409, 503, 200] {
        let status = refused(&stage, Reply::refusal(code, SAID)).await;
        assert!(status.message().contains(SAID), "{status:?}");
    }
    stage.api.next("PATCH", Reply::refusal(400, SAID));
    let run = stage.act("disable_user", "u5").await;
    assert!(format!("{run:?}").contains(SAID), "the caller does not read it: {run:?}");
    // Validate logs why the API cannot be used.
    stage.api.next("GET", Reply::refusal(500, SAID));
    stage.validate().await.unwrap();
    stage.server.wait_for_log(|line| line.to_string().contains("which accounts need, cannot be used"));
    for line in stage.server.logs() {
        assert!(!line.to_string().contains("Hopper"), "{line}");
    }
    eventually("the last line in the collector", async || {
        format!("{:?}", collector.received()).contains("cannot be used").then_some(())
    })
    .await;
    assert!(!format!("{:?}", collector.received()).contains("Hopper"));
}

#[tokio::test]
async fn status_429_sets_how_long_to_wait() {
    let stage = Stage::new().await;
    let hint = async |headers: &[(&str, &str)]| {
        let plain = Reply::refusal(429, "slow down");
        let reply = headers.iter().fold(plain, |reply, (name, value)| reply.with(name, value));
        let begun = now();
        let status = refused(&stage, reply).await;
        assert_eq!(status.code(), Code::Unavailable);
        (begun, limits_of(&status).unwrap())
    };
    let (begun, given) =
        hint(&[("X-RateLimit-Limit", "45"), ("X-RateLimit-Remaining", "9"), ("Retry-After", "7")]).await;
    assert_eq!((given.status(), given.limit, given.remaining), (LimitStatus::Overlimit, 45, 0));
    assert!((begun + 7..=now() + 7).contains(&given.reset_at.unwrap().seconds));
    let (begun, assumed) = hint(&[]).await;
    assert_eq!((assumed.status(), assumed.limit, assumed.remaining), (LimitStatus::Overlimit, 1, 0));
    assert!((begun + 60..=now() + 60).contains(&assumed.reset_at.unwrap().seconds));
}

#[tokio::test]
async fn reads_a_rate_limit_reset_given_as_a_date() {
    let stage = Stage::new().await;
    for (header, date) in [
        ("Retry-After", "Sun, 01 Mar 2026 12:02:00 GMT"),
        ("Retry-After", "Sunday, 01-Mar-26 12:02:00 GMT"),
        ("RateLimit-Reset", "2026-03-01T12:02:00Z"),
        ("X-Rate-Limit-Reset", "1772366520000"),
    ] {
        let status = refused(&stage, Reply::refusal(429, "slow down").with(header, date)).await;
        let limit = limits_of(&status).unwrap();
        assert_eq!(limit.reset_at.unwrap().seconds, 1_772_366_520, "{header}: {date}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_from_the_api_names_only_the_setting() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (reply, code, words) in [
        (Reply::html(200), Code::FailedPrecondition, &["--retool-api-base-url", "plan"][..]),
        (
            Reply::json(200, json!({"success": true})).with("Content-Type", "text/plain"),
            Code::FailedPrecondition,
            &["not JSON", "may have been created"],
        ),
        (Reply::json(200, json!(null)), Code::Internal, &["success", "may have been created"]),
        (
            Reply::redirect(301, "https://elsewhere.example.com/api/v2/users?email=ada@example.com"),
            Code::FailedPrecondition,
            &["https://elsewhere.example.com ", "--retool-api-base-url"],
        ),
        (
            Reply::redirect(301, &format!("https://{}.example.com/", TOKEN.to_uppercase())),
            Code::FailedPrecondition,
            &["redirects", "--retool-api-base-url"],
        ),
        (Reply::redirect(302, "/auth/login"), Code::FailedPrecondition, &["redirects to http://127.0.0.1"]),
        (Reply::redirect(307, "::"), Code::FailedPrecondition, &["HTTP 307"]),
        (Reply::refusal(200, "not today"), Code::FailedPrecondition, &["reports a failure", "not today"]),
        (Reply::json(200, json!({"success": true})), Code::Internal, &["no user", "may have been created"]),
        (
            Reply::json(200, json!({"success": "true", "data": {}})),
            Code::Internal,
            &["may have been created"],
        ),
        (
            Reply::Truncated(Duration::ZERO),
            Code::Unavailable,
            &["interrupted the response", "may have been created"],
        ),
        (Reply::Closed, Code::Unavailable, &["interrupted the response", "may have been created"]),
    ] {
        let status = refused(&stage, reply.clone()).await;
        assert_eq!(status.code(), code, "{reply:?}: {status:?}");
        for words in words {
            assert!(status.message().contains(words), "{reply:?}: no {words:?} in {}", status.message());
        }
        for secret in ["ada@", "ada%40", "email=", "login", "<html>", TOKEN] {
            assert!(!status.message().to_lowercase().contains(secret), "{}", status.message());
        }
    }
    // No request followed a redirect.
    assert!(stage.api.seen().iter().all(|seen| seen.path == "/users"));
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn personal_data_in_answers_of_retool_is_not_passed_on() {
    let stage = Stage::new().await;
    for code in [400, 403, 503, 200] {
        let said = "The user Ada \"LOVELACE\" <ada@example.com>\nis bad; ask bob@example.com";
        let status = refused(&stage, Reply::refusal(code, said)).await;
        assert!(status.message().contains("The user (...) (...) (...) is bad; ask (...)"), "{status:?}");
    }
    let status = refused(&stage, Reply::refusal(403, &"long ".repeat(1000))).await;
    assert!(status.message().len() < 500, "{}", status.message().len());
}

#[tokio::test]
async fn a_request_is_limited_by_its_timeout_setting() {
    let stage = Stage::with(&["--provisioning", "--http-timeout-seconds", "1"]).await;
    let begun = Instant::now();
    let status = refused(&stage, Reply::Usual.behind(&Gate::closed())).await;
    let took = begun.elapsed();
    // Without the setting, a request takes up to 30 seconds.
    assert!((900..25_000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    for words in ["--http-timeout-seconds", "within 1 s", "retrying is safe"] {
        assert!(status.message().contains(words), "{status:?}");
    }
    // Without a response, the rate limits are unknown.
    assert_eq!(limits_of(&status), Some(RateLimitDescription::default()));
}

#[tokio::test]
async fn an_unreachable_address_is_unavailable() {
    let database = crate::support::postgres::Database::small().await;
    let closed = ClosedPort::new();
    let base_url = format!("http://{}/tools", closed.address());
    let flags = ["--provisioning", "--retool-api-base-url", &base_url, "--retool-api-token", TOKEN];
    let server = crate::support::server::Server::start(&database, &flags);
    let wire = crate::support::wire::Wire::to(&server).await;
    let status = wire
        .call::<baton_retool::proto::connector::CreateAccountResponse>(
            "AccountManagerService/CreateAccount",
            &ada(),
        )
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(
        status.message().contains("cannot connect to Retool's REST API at http://127.0.0.1"),
        "{status:?}"
    );
    assert!(!status.message().contains("may have been created"), "{status:?}");
    assert_eq!(limits_of(&status), Some(RateLimitDescription::default()));
}

//! Authentication of callers.

use std::time::Instant;

use baton_retool::proto::connector::{
    ConnectorServiceGetMetadataRequest, ConnectorServiceGetMetadataResponse,
};
use serde_json::{Value, json};

use crate::support::hosted::caller::{Answered, Call, Form, Signer};
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};
use crate::support::server::Server;

fn call(authorization: &[&str]) -> Call {
    let call = Call::of("ConnectorService/GetMetadata", &ConnectorServiceGetMetadataRequest::default());
    call.with("authorization", authorization)
}

async fn answered(stage: &Stage, authorization: &[&str], form: Form) -> Answered {
    stage.make_as(call(authorization), form).await
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_needs_a_token_with_the_right_key_for_this_function() {
    let stage = Stage::nowhere().await;
    let signer = &stage.parts.signer;
    let good = signer.token();
    for form in Form::ALL {
        for none in [&[][..], &[""]] {
            answered(&stage, none, form).await.assert_failed(16, "missing authorization header");
        }
        let lower = good.replace("Bearer", "bearer");
        for header in ["Bearer", "Bearer ", "Basic abc", lower.as_str()] {
            answered(&stage, &[header], form).await.assert_failed(16, "invalid authorization header");
        }
        let foreign = Signer::new().token();
        let issuer = signer.token_with(|claims| claims["iss"] = "other".into());
        let subject = signer.token_with(|claims| claims["sub"] = "other".into());
        let audience = signer.token_with(|claims| claims["aud"] = "other".into());
        let stale = signer.token_with(|claims| claims["exp"] = (now() - 1).into());
        let endless = signer.token_with(|claims| claims["exp"] = (now() + 90_000).into());
        let timeless = signer.token_with(|claims| drop(claims.as_object_mut().unwrap().remove("exp")));
        let early = signer.token_with(|claims| claims["nbf"] = (now() + 60).into());
        for wrong in [
            "Bearer x",
            "Bearer a.b.c",
            &foreign,
            &issuer,
            &subject,
            &audience,
            &stale,
            &endless,
            &timeless,
            &early,
        ] {
            let refused = answered(&stage, &[wrong], form).await;
            refused.assert_failed(16, "invalid token: token is invalid: ");
            assert!(!refused.status.message.contains("test-"), "{}", refused.status.message);
        }
        // The first value that is not empty counts.
        let _: ConnectorServiceGetMetadataResponse =
            answered(&stage, &["", &good, "x"], form).await.message();
    }
    // The log contains no token.
    let (_, lines) = stage.function.stop();
    let text = lines.iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains(good.trim_start_matches("Bearer ")));
    assert!(text.contains("call refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_token_gets_only_unauthenticated_and_triggers_nothing() {
    let stage = Stage::nowhere().await;
    let stranger = call(&["Bearer x"]).with("x-baton-connector-config-version", &["cv-9"]);
    for method in ["foo", "/no.Such/Method", "/c1.connector.v2.AssetService/GetAsset"] {
        let call = Call { method: method.to_owned(), request: None, ..stranger.clone() };
        stage
            .make_as(call.with("grpc-timeout", &["x"]), Form::Frame)
            .await
            .assert_failed(16, "invalid token");
    }
    assert_eq!(stage.parts.hosted.asked(), [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_a_token_and_events_that_are_not_calls_cause_few_lines() {
    const EVENTS: usize = 40;
    let stage = Stage::nowhere().await;
    let begun = Instant::now();
    for _ in 0..EVENTS {
        answered(&stage, &["Bearer x"], Form::Json).await.assert_failed(16, "invalid token");
        answered(&stage, &[], Form::Frame).await.assert_failed(16, "missing");
        assert_eq!(stage.invoke(&json!([])).await.error().1, "InvalidEvent");
    }
    // Each window of ten seconds has its own lines.
    let most = 10 * (begun.elapsed().as_secs() / 10 + 1);
    let (_, lines) = stage.function.stop();
    for (message, reason) in [
        ("call refused", "missing authorization header"),
        ("call refused", "invalid token: token is invalid: it is not a signed JSON Web Token"),
        ("event is not a call", ""),
    ] {
        let is_one =
            |line: &&Value| line["msg"] == message && line["reason"].as_str().unwrap_or_default() == reason;
        let found = lines.iter().filter(is_one).count();
        assert!((10..=most as usize).contains(&found), "{found} lines {message:?} {reason:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_can_be_published() {
    let parts = Parts::new(NOWHERE).await;
    let start_at = |parts: &Parts, url: String| {
        let mut program = parts.program("lambda");
        program.env_remove("BATON_LAMBDA_AUTH_JWT_SIGNER").env("BATON_LAMBDA_AUTH_JWT_JWKS_URL", url);
        Server::run(program)
    };
    let start = |parts: &Parts| start_at(parts, format!("http://{}/jwks", parts.lambda.address()));
    let (status, lines) = start_at(&parts, "http://x:hunter2@127.0.0.1:1/jwks?k=hunter2".to_owned()).ended();
    assert_eq!(status.code(), Some(1));
    let said = lines.last().unwrap()["msg"].as_str().unwrap();
    assert!(
        said.contains("http://127.0.0.1:1/jwks cannot be reached") && !said.contains("hunter2"),
        "{said}"
    );
    let odd = json!({ "kty": "oct", "k": "AAAA" });
    for (status, text, word) in [
        (404, String::new(), "answered 404"),
        (200, "no JSON".to_owned(), "not a set of JSON Web Keys"),
        (200, json!({ "keys": [odd] }).to_string(), "the set has no usable key"),
        (302, String::new(), "answered 302"),
        (200, json!({ "keys": [], "x": "y".repeat(2 * 1024 * 1024) }).to_string(), "more than 1 MiB"),
    ] {
        parts.lambda.publish(status, text);
        let (status, lines) = start(&parts).ended();
        assert_eq!(status.code(), Some(1));
        let said = lines.last().unwrap()["msg"].as_str().unwrap();
        assert!(said.starts_with("lambda-auth-jwt-jwks-url") && said.contains(word), "{said}");
    }
    let other = Signer::new();
    let mut named = other.jwk();
    named["kid"] = "k2".into();
    parts.lambda.publish(200, json!({ "keys": [odd, parts.signer.jwk(), named] }).to_string());
    let function = start(&parts);
    // The URL does not use TLS.
    function.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.contains("does not use TLS")));
    let stage = Stage { function, parts };
    for signer in [&stage.parts.signer, &other] {
        let _: ConnectorServiceGetMetadataResponse =
            answered(&stage, &[&signer.token()], Form::Frame).await.message();
    }
    answered(&stage, &[&Signer::new().token()], Form::Frame).await.assert_failed(16, "invalid token");
    // An unknown key does not trigger another fetch.
    assert_eq!(stage.parts.lambda.published(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificate_authorities_of_the_platform_are_trusted_for_published_keys() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.publish(&json!({ "keys": [parts.signer.jwk()] }));
    let program = |parts: &Parts| {
        let mut program = parts.program("lambda");
        program
            .env_remove("BATON_LAMBDA_AUTH_JWT_SIGNER")
            .env("BATON_LAMBDA_AUTH_JWT_JWKS_URL", format!("https://{}/jwks", parts.hosted.address()));
        program
    };
    // The additional certificate authority is for ConductorOne only, and not for the JWKS URL.
    let (status, lines) = Server::run(program(&parts)).ended();
    assert_eq!(status.code(), Some(1));
    let said = lines.last().unwrap()["msg"].as_str().unwrap();
    assert!(said.contains("/jwks cannot be reached") && said.contains("UnknownIssuer"), "{said}");
    let mut trusting = program(&parts);
    trusting.env("SSL_CERT_FILE", parts.hosted.authority());
    let stage = Stage { function: Server::run(trusting), parts };
    let _: ConnectorServiceGetMetadataResponse =
        answered(&stage, &[&stage.parts.signer.token()], Form::Frame).await.message();
}

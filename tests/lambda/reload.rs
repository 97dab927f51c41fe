//! Another configuration, where a caller expects one.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use baton_retool::proto::connector::{
    ResourceTypesServiceListResourceTypesRequest, ResourceTypesServiceListResourceTypesResponse,
};
use serde_json::{Value, json};

use crate::support::hosted::Config;
use crate::support::hosted::caller::{Answered, Call, Form};
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};

/// A call by a caller who expects this version; empty for none.
async fn expecting(stage: &Stage, version: &str, form: Form) -> Answered {
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let call = Call::of("ResourceTypesService/ListResourceTypes", &request);
    let call = call.with("X-Baton-Connector-Config-Version", &[version]);
    let call = call.with("authorization", &[&stage.parts.signer.token()]);
    Answered::read(&stage.invoke(&call.event(form)).await, form)
}

/// How many resource types there are, which tells configurations apart.
async fn types(stage: &Stage, version: &str) -> usize {
    let answer: ResourceTypesServiceListResourceTypesResponse =
        expecting(stage, version, Form::Frame).await.message();
    answer.list.len()
}

fn settings(skip_pages: bool, skip_resources: bool) -> Value {
    json!({ "connection-string": NOWHERE, "skip-pages": skip_pages, "skip-resources": skip_resources })
}

/// Calls until a version was asked for, since there is no reload shortly after another.
async fn until_asked(stage: &Stage, version: &str) {
    let begun = Instant::now();
    while !stage.parts.hosted.asked().iter().any(|asked| asked == version) {
        types(stage, version).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{version} was never asked for");
        // The step of a poll that ends with the event.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_fetched_once() {
    let stage = Stage::nowhere().await;
    stage.parts.hosted.add("cv-2", Config::of("cv-2", settings(true, false)));
    assert_eq!(types(&stage, "").await, 5);
    assert_eq!(types(&stage, "cv-1").await, 5);
    assert_eq!(stage.parts.hosted.asked(), [""]);
    assert_eq!(types(&stage, "cv-2").await, 4);
    assert_eq!(types(&stage, "cv-2").await, 4);
    assert_eq!(types(&stage, "").await, 4);
    assert_eq!(stage.parts.hosted.asked(), ["", "cv-2"]);
    // The token is still good.
    assert_eq!(stage.parts.hosted.token_requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_reload_right_after_another() {
    let stage = Stage::nowhere().await;
    // The machine may be so busy that the second has passed.
    for attempt in 0..20 {
        let (one, two) = (format!("a-{attempt}"), format!("b-{attempt}"));
        stage.parts.hosted.add(&one, Config::of(&one, settings(true, false)));
        stage.parts.hosted.add(&two, Config::of(&two, settings(true, true)));
        until_asked(&stage, &one).await;
        let begun = Instant::now();
        let found = types(&stage, &two).await;
        if begun.elapsed() < Duration::from_millis(900) && !stage.parts.hosted.asked().contains(&two) {
            assert_eq!(found, 4);
            until_asked(&stage, &two).await;
            assert_eq!(types(&stage, "").await, 3);
            return;
        }
    }
    panic!("every reload was followed by another at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_cannot_be_used_leaves_the_former_one() {
    let stage = Stage::nowhere().await;
    stage.parts.hosted.add("cv-2", Config::of("cv-2", json!({ "connection-string": "postgres://h:x/" })));
    let text = "lambda-run: failed to reload connector config: ";
    for times in 1..=3 {
        // In JSON, whatever the form of the call.
        let request = ResourceTypesServiceListResourceTypesRequest::default();
        let call = Call::of("ResourceTypesService/ListResourceTypes", &request)
            .with("x-baton-connector-config-version", &["cv-2"])
            .with("authorization", &[&stage.parts.signer.token()]);
        let posted = stage.invoke(&call.event(Form::Frame)).await;
        Answered::read(&posted, Form::Json).assert_failed(14, text);
        assert_eq!(stage.parts.hosted.asked().len(), 1 + times);
    }
    assert_eq!(types(&stage, "").await, 5);
    let gone = expecting(&stage, "no-such-version", Form::Json).await;
    gone.assert_failed(14, "answered NotFound");
    // Once it is good, it is taken.
    stage.parts.hosted.add("cv-2", Config::of("cv-2", settings(true, true)));
    assert_eq!(types(&stage, "cv-2").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_served_in_time_leaves_the_former_one() {
    let stage = Stage::nowhere().await;
    assert_eq!(types(&stage, "").await, 5);
    stage.parts.hosted.plan(|plan| plan.silent = true);
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let call = Call::of("ResourceTypesService/ListResourceTypes", &request)
        .with("x-baton-connector-config-version", &["cv-2"])
        .with("authorization", &[&stage.parts.signer.token()]);
    let begun = SystemTime::now();
    // Long past, and soon.
    for seconds in [0, 2] {
        let deadline = begun.duration_since(UNIX_EPOCH).unwrap().as_millis() + seconds * 1000;
        let event = call.event(Form::Json).to_string();
        let posted = stage.parts.lambda.invoke_until(Some(&deadline.to_string()), event).await;
        Answered::read(&posted, Form::Json)
            .assert_failed(14, "ConductorOne did not serve it before the deadline of the invocation");
    }
    assert_eq!(types(&stage, "").await, 5);
    stage.parts.hosted.plan(|plan| plan.silent = false);
    stage.parts.hosted.add("cv-2", Config::of("cv-2", settings(true, false)));
    assert_eq!(types(&stage, "cv-2").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_than_asked_for_is_used_as_what_it_is() {
    let stage = Stage::nowhere().await;
    stage.parts.hosted.add("cv-2", Config::of("cv-3", settings(true, false)));
    assert_eq!(types(&stage, "cv-2").await, 4);
    stage.function.wait_for_log(|line| line["served"] == "cv-3" && line["level"] == "warn");
    // That is the version that it has now.
    assert_eq!(types(&stage, "cv-3").await, 4);
    assert_eq!(stage.parts.hosted.asked(), ["", "cv-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_a_version_is_known_by_its_time_or_by_what_was_asked() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.add("v", Config { settings: settings(true, false), ..Config::default() });
    parts.hosted.serve("", Config { settings: settings(false, false), ..Config::default() });
    let stage = parts.run();
    assert_eq!(types(&stage, "").await, 5);
    let line = stage.function.wait_for_log(|line| line["msg"] == "waiting for events");
    assert_eq!(line["configuration"], "2026-01-02T03:04:05.006Z");
    assert_eq!(types(&stage, "2026-01-02T03:04:05.006Z").await, 5);
    assert_eq!(types(&stage, "v").await, 4);
    assert_eq!(types(&stage, "v").await, 4);
    assert_eq!(stage.parts.hosted.asked(), ["", "v"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_life_is_fetched_anew() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.plan(|plan| plan.token_life = None);
    parts.hosted.add("cv-2", Config::of("cv-2", settings(true, false)));
    let stage = parts.run();
    assert_eq!(types(&stage, "cv-2").await, 4);
    // The nonce stays, so that one challenge is enough.
    assert_eq!(stage.parts.hosted.token_requests(), 3);
}

//! Reloads of the configuration if a caller expects another version.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use baton_retool::proto::connector::{
    ResourceTypesServiceListResourceTypesRequest, ResourceTypesServiceListResourceTypesResponse,
    ResourcesServiceListResourcesRequest, ResourcesServiceListResourcesResponse,
};
use serde_json::{Value, json};

use crate::support::hosted::Config;
use crate::support::hosted::caller::{Answered, Call, Form};
use crate::support::hosted::stage::{NOWHERE, Parts, Stage};
use crate::support::postgres::Database;

/// Makes a call that expects this version; empty for none.
pub(crate) async fn expecting(stage: &Stage, version: &str, form: Form) -> Answered {
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let call = Call::of("ResourceTypesService/ListResourceTypes", &request);
    let call = call.with("X-Baton-Connector-Config-Version", &[version]);
    let call = call.with("authorization", &[&stage.parts.signer.token()]);
    Answered::read(&stage.invoke(&call.event(form)).await, form)
}

/// The number of resource types, which identifies the configuration.
pub(crate) async fn types(stage: &Stage, version: &str) -> usize {
    let answer: ResourceTypesServiceListResourceTypesResponse =
        expecting(stage, version, Form::Frame).await.message();
    answer.list.len()
}

fn settings(skip_pages: bool, skip_resources: bool) -> Value {
    json!({ "connection-string": NOWHERE, "skip-pages": skip_pages, "skip-resources": skip_resources })
}

/// Repeats calls until the version was requested, because a reload is skipped shortly after another one.
async fn until_asked(stage: &Stage, version: &str) {
    let begun = Instant::now();
    while !stage.parts.hosted.asked().iter().any(|asked| asked == version) {
        types(stage, version).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{version} was never requested");
        // The interval of a poll that ends with the event.
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
    // The token is still valid.
    assert_eq!(stage.parts.hosted.token_requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn skips_a_reload_right_after_another() {
    let stage = Stage::nowhere().await;
    // On a busy machine the second may have passed.
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
async fn an_unusable_configuration_does_not_replace_the_previous_one() {
    let stage = Stage::nowhere().await;
    stage.parts.hosted.add("cv-2", Config::of("cv-2", json!({ "connection-string": "postgres://h:x/" })));
    let text = "lambda-run: failed to reload connector config: ";
    for times in 1..=3 {
        // The error is JSON, whatever the form of the call.
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
    // A valid configuration is used.
    stage.parts.hosted.add("cv-2", Config::of("cv-2", settings(true, true)));
    assert_eq!(types(&stage, "cv-2").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_served_too_late_does_not_replace_the_previous_one() {
    let stage = Stage::nowhere().await;
    assert_eq!(types(&stage, "").await, 5);
    stage.parts.hosted.plan(|plan| plan.silent = true);
    let request = ResourceTypesServiceListResourceTypesRequest::default();
    let call = Call::of("ResourceTypesService/ListResourceTypes", &request)
        .with("x-baton-connector-config-version", &["cv-2"])
        .with("authorization", &[&stage.parts.signer.token()]);
    let begun = SystemTime::now();
    // Deadlines in the past, and in the near future.
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
async fn a_configuration_with_another_version_is_used_under_its_own_version() {
    let stage = Stage::nowhere().await;
    stage.parts.hosted.add("cv-2", Config::of("cv-3", settings(true, false)));
    assert_eq!(types(&stage, "cv-2").await, 4);
    stage.function.wait_for_log(|line| line["served"] == "cv-3" && line["level"] == "warn");
    // This is now the version in use.
    assert_eq!(types(&stage, "cv-3").await, 4);
    assert_eq!(stage.parts.hosted.asked(), ["", "cv-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_a_version_gets_its_time_or_the_requested_version() {
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
async fn a_replaced_connector_closes_its_connections() {
    let database = Database::small().await;
    let client = database.client().await;
    let mut parts = Parts::new(NOWHERE).await;
    let named =
        |name: &str| json!({ "connection-string": format!("{}?application_name={name}", database.url()) });
    parts.hosted.serve("cv-1", Config::of("cv-1", named("old-connector")));
    parts.hosted.add("cv-2", Config::of("cv-2", named("new-connector")));
    let url = database.url();
    assert!(!url.contains('?'), "{url}");
    parts.database = Some(database);
    let stage = parts.run();
    let connections = async |name: &str| -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        client.query_one(sql, &[&name]).await.unwrap().get(0)
    };
    let list = async |version: &str| {
        let request =
            ResourcesServiceListResourcesRequest { resource_type_id: "org".to_owned(), ..Default::default() };
        let call = Call::of("ResourcesService/ListResources", &request);
        let call = call.with("x-baton-connector-config-version", &[version]);
        let _: ResourcesServiceListResourcesResponse = stage.make(call, Form::Frame).await.message();
    };
    list("cv-1").await;
    assert!(connections("old-connector").await > 0);
    list("cv-2").await;
    assert!(connections("new-connector").await > 0);
    let begun = Instant::now();
    while connections("old-connector").await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the connections stay open");
        // The interval of a poll that ends with the event.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_a_lifetime_is_fetched_for_each_use() {
    let parts = Parts::new(NOWHERE).await;
    parts.hosted.plan(|plan| plan.token_life = None);
    parts.hosted.add("cv-2", Config::of("cv-2", settings(true, false)));
    let stage = parts.run();
    assert_eq!(types(&stage, "cv-2").await, 4);
    // The nonce stays valid, so one challenge is sufficient.
    assert_eq!(stage.parts.hosted.token_requests(), 3);
}

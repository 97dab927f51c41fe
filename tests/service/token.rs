//! The access token: what the endpoint is sent is checked by the stand-in, in every test.

use std::time::Duration;

use serde_json::Value;
use tonic::Code;

use super::{NOWHERE, end, small};
use crate::support::c1::{C1, Method};

#[tokio::test(flavor = "multi_thread")]
async fn one_token_does_for_many_calls() {
    let c1 = C1::with_key_id(Some("key-7")).await;
    let _server = c1.serve(NOWHERE, &[]);
    c1.run(small()).await;
    c1.called(Method::GetTask, 5).await;
    assert_eq!(c1.called(Method::Token, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_soon_or_does_not_say_is_fetched_anew() {
    for life in [None, Some(10), Some(-3)] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_life = life);
        let _server = c1.serve(NOWHERE, &[]);
        let polls = c1.called(Method::GetTask, 4).await.len();
        assert!(c1.called(Method::Token, polls).await.len() >= polls, "{life:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kind_of_token_is_passed_on() {
    for kind in ["", "BEARER", "DPoP"] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_type = if kind == "BEARER" { "bearer" } else { kind }.to_owned());
        let _server = c1.serve(NOWHERE, &[]);
        c1.called(Method::GetTask, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_ends_the_program_at_the_start() {
    for status in [400, 401, 403] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_answers.push_back((status, "<html>no</html>".to_owned())));
        let (code, said, took) = end(c1.serve(NOWHERE, &[]));
        assert_eq!(code.code(), Some(1), "{said}");
        assert!(said.contains("startup Hello failed") && said.contains(&status.to_string()), "{said}");
        assert!(said.contains("BATON_CLIENT_SECRET"), "{said}");
        assert_eq!(c1.called(Method::Token, 1).await.len(), 1);
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_out_of_order_is_asked_again() {
    let bad = [
        (500, String::new()),
        (503, "<html>".to_owned()),
        (200, "<html>a portal</html>".to_owned()),
        (200, String::new()),
        (200, r#"{"access_token":""}"#.to_owned()),
        (429, String::new()),
    ];
    let c1 = C1::start().await;
    c1.plan(|plan| plan.token_answers.extend(bad.clone()));
    let server = c1.serve(NOWHERE, &[]);
    c1.called(Method::GetTask, 1).await;
    assert_eq!(c1.called(Method::Token, bad.len() + 1).await.len(), bad.len() + 1);
    let log = server.logs().iter().map(ToString::to_string).collect::<String>();
    assert!(log.contains("not the JSON of a token") && log.contains("an empty token"), "{log}");
    assert!(!log.contains("token-0") && !log.contains("a portal"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_named_and_waited_for() {
    let c1 = C1::start().await;
    let set = |ahead_by: i64| {
        c1.plan(|plan| {
            plan.clock_ahead_by = ahead_by;
            // Every call needs a new token.
            plan.token_life = Some(5);
        });
    };
    set(4000);
    let server = c1.serve(NOWHERE, &[]);
    let told = |line: &Value, what: &str, direction: &str| {
        let error = line["error"].as_str().unwrap_or_default();
        line["msg"] == *what && error.contains("this machine's clock is ") && error.contains(direction)
    };
    server.wait_for_log(|line| told(line, "startup Hello failed, retrying", " s behind: set it right"));
    set(0);
    c1.called(Method::GetTask, 1).await;
    // It may also go wrong later.
    set(-4000);
    server.wait_for_log(|line| {
        told(line, "cannot get tasks from ConductorOne, retrying", " s ahead: set it right")
    });
    set(0);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_not_used_again() {
    let c1 = C1::start().await;
    c1.plan(|plan| {
        plan.failures.entry(Method::GetTask).or_default().extend([None, Some(Code::Unauthenticated)]);
    });
    let _server = c1.serve(NOWHERE, &[]);
    c1.called(Method::GetTask, 3).await;
    assert_eq!(c1.called(Method::Token, 2).await.len(), 2);
}

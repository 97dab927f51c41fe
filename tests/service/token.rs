//! The access token. The double checks the requests to the endpoint in every test.

use serde_json::Value;
use tonic::Code;

use super::{NOWHERE, end, small};
use crate::support::c1::{C1, Method};

#[tokio::test(flavor = "multi_thread")]
async fn one_token_serves_many_calls() {
    let c1 = C1::with_key_id(Some("key-7")).await;
    let _server = c1.serve(NOWHERE, &[]);
    c1.run(small()).await;
    c1.called(Method::GetTask, 5).await;
    assert_eq!(c1.called(Method::Token, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_reuse_a_token_with_a_short_or_missing_lifetime() {
    for life in [None, Some(10), Some(-3)] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_life = life);
        let _server = c1.serve(NOWHERE, &[]);
        let polls = c1.called(Method::GetTask, 4).await.len();
        assert!(c1.called(Method::Token, polls).await.len() >= polls, "{life:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_the_type_of_the_token() {
    // The double checks the type in every call.
    for kind in ["", "bearer", "BEARER", "mac", "Mac", "basic", "BASIC", "DPoP", "custom"] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_type = kind.to_owned());
        let _server = c1.serve(NOWHERE, &[]);
        c1.called(Method::GetTask, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_null_counts_as_missing() {
    let c1 = C1::start().await;
    let token = c1.issue_token();
    let answer = serde_json::json!({ "access_token": token, "token_type": null, "expires_in": null });
    c1.plan(|plan| plan.token_answers.push_back((200, answer.to_string())));
    let _server = c1.serve(NOWHERE, &[]);
    // The double checks that the first Hello has this token, with the type Bearer.
    c1.called(Method::GetTask, 1).await;
    let methods: Vec<Method> = c1.calls().iter().map(|call| call.method).collect();
    // Without a lifetime, the token is used once.
    assert_eq!(methods[..4], [Method::Token, Method::Hello, Method::Token, Method::GetTask]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_client_ends_the_program_at_startup() {
    for status in [400, 401, 403] {
        let c1 = C1::start().await;
        c1.plan(|plan| plan.token_answers.push_back((status, "<html>no</html>".to_owned())));
        let (code, said) = end(c1.serve(NOWHERE, &[]));
        assert_eq!(code.code(), Some(1), "{said}");
        assert!(said.contains("startup Hello failed") && said.contains(&status.to_string()), "{said}");
        assert!(said.contains("BATON_CLIENT_SECRET"), "{said}");
        assert_eq!(c1.called(Method::Token, 1).await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_retries_a_client_that_is_rejected_later() {
    let c1 = C1::start().await;
    // Every call needs a new token.
    c1.plan(|plan| plan.token_life = Some(5));
    let server = c1.serve(NOWHERE, &[]);
    c1.run(small()).await;
    c1.plan(|plan| plan.token_answers.extend([(401, String::new()), (403, String::new())]));
    let refused = server.wait_for_log(|line| {
        line["level"] == "warn"
            && line["msg"] == "cannot get tasks from ConductorOne, retrying"
            && line["error"].as_str().is_some_and(|text| text.contains("ConductorOne refuses this client"))
    });
    assert!(refused["error"].as_str().unwrap().contains("BATON_CLIENT_SECRET"), "{refused}");
    c1.run(small()).await;
    server.wait_for_log(|line| line["msg"] == "polling ConductorOne works again");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_a_broken_token_endpoint() {
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
    assert!(log.contains("an invalid JSON response") && log.contains("an empty token"), "{log}");
    assert!(!log.contains("token-0") && !log.contains("a portal"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_a_wrong_clock_and_retries() {
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
    let names_clock = |line: &Value, what: &str, direction: &str| {
        let error = line["error"].as_str().unwrap_or_default();
        line["msg"] == *what && error.contains("this machine's clock is ") && error.contains(direction)
    };
    server.wait_for_log(|line| {
        names_clock(line, "startup Hello failed, retrying", "1 h 6 min behind: correct it")
    });
    set(0);
    c1.called(Method::GetTask, 1).await;
    // The clock may also become wrong later.
    set(-4000);
    server.wait_for_log(|line| {
        names_clock(line, "cannot get tasks from ConductorOne, retrying", "1 h 6 min ahead: correct it")
    });
    set(0);
    c1.run(small()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_reuse_a_rejected_token() {
    let c1 = C1::start().await;
    c1.plan(|plan| {
        plan.failures.entry(Method::GetTask).or_default().extend([None, Some(Code::Unauthenticated)]);
    });
    let _server = c1.serve(NOWHERE, &[]);
    c1.called(Method::GetTask, 3).await;
    assert_eq!(c1.called(Method::Token, 2).await.len(), 2);
}

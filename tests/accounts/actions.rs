//! `enable_user` and `disable_user`: an action is complete only if the account is as requested.

use std::time::Duration;

use baton_retool::proto::connector::BatonActionStatus;
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use baton_retool::proto::{boolean, number, string, structure};
use prost_types::Struct;
use serde_json::json;
use tonic::Code;

use crate::support::postgres::Database;
use crate::support::retool_api::{Gate, LegacyId, Reply};
use crate::support::server::Server;
use crate::support::stage::{
    SHORT, Stage, action, action_on, assert_complete, assert_failed, limits, text_of,
};
use crate::support::wire::{Wire, assert_refused};

#[tokio::test]
async fn an_account_is_disabled_and_enabled_again() {
    let stage = Stage::new().await;
    stage.api.set(|manners| manners.legacy_id = LegacyId::Text);
    for (name, after, before) in [
        ("disable_user", false, "enabled"),
        ("enable_user", true, "disabled"),
        ("enable_user", true, "enabled"),
    ] {
        let answer = stage.act(name, "u5").await;
        assert_complete(&answer);
        assert_eq!((answer.name.as_str(), answer.id.len()), (name, 27));
        assert!(limits(&answer.annotations).is_some());
        assert_eq!(stage.enabled(5).await, after);
        let seen = stage.api.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert_eq!(seen[0].method, "PATCH");
        let body = json!({"operations": [{"op": "replace", "path": "/active", "value": after}]});
        assert_eq!(seen[0].body, body);
        let record = stage.records().pop().unwrap();
        assert_eq!((&record["operation"], &record["principal_id"]), (&json!(name), &json!("u5")));
        let after = if after { "enabled" } else { "disabled" };
        let outcome = if before == after { "unchanged" } else { "changed" };
        assert_eq!(
            (&record["outcome"], &record["before"], &record["after"]),
            (&json!(outcome), &json!(before), &json!(after))
        );
    }
}

/// Responses to a change that do not show the state of the account, or show a wrong one.
fn unproven() -> Vec<(Reply, &'static str)> {
    vec![
        (Reply::refusal(200, "it went wrong"), "FailedPrecondition: "),
        (Reply::html(200), "FailedPrecondition: "),
        (Reply::redirect(301, "https://login.example.com/?next=secret"), "FailedPrecondition: "),
        (Reply::redirect(302, "/auth/login"), "FailedPrecondition: "),
        (Reply::json(200, json!({"success": true})), "Internal: "),
        (Reply::json(200, json!({"success": true, "data": {"active": "false"}})), "Internal: "),
        (Reply::json(200, json!({"data": {"active": false}})), "Internal: "),
        (Reply::json(204, json!({})), "Internal: "),
        (Reply::refusal(400, "no"), "InvalidArgument: "),
        (Reply::refusal(500, "no"), "Unavailable: "),
        (Reply::html(502), "Unavailable: "),
        (Reply::Truncated(Duration::ZERO), "Unavailable: "),
        (Reply::Closed, "Unavailable: "),
    ]
}

#[tokio::test]
async fn an_action_without_effect_is_not_complete() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (reply, code) in unproven() {
        stage.api.next("PATCH", reply.clone());
        let answer = stage.act("disable_user", "u5").await;
        assert_failed(&answer, &[code]);
        let error = text_of(answer.response.as_ref(), "error");
        assert!(!error.contains("secret") && !error.contains("/auth"), "{error}");
        // One request for the change, and one for the resulting state; none to the target of a redirect.
        assert_eq!(stage.api.methods(), ["PATCH", "GET"], "{reply:?}");
    }
    assert_eq!(stage.tables().await, before);
    let outcomes = stage.records();
    assert!(outcomes.iter().all(|record| record["outcome"] != "changed"), "{outcomes:?}");
}

#[tokio::test]
async fn an_action_with_effect_is_complete_even_if_its_answer_is_lost() {
    let stage = Stage::new().await;
    let mut expected = true;
    for (reply, _) in unproven() {
        stage.api.next("PATCH", reply.clone().when_done());
        expected = !expected;
        let name = if expected { "enable_user" } else { "disable_user" };
        let answer = stage.act(name, "u5").await;
        assert_complete(&answer);
        assert_eq!(stage.enabled(5).await, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn an_action_whose_effect_cannot_be_verified_is_not_complete() {
    let stage = Stage::new().await;
    for again in [
        Reply::html(200),
        Reply::refusal(401, "no"),
        Reply::Closed,
        Reply::json(200, json!({"success": true, "data": {}})),
    ] {
        stage.api.next("PATCH", Reply::json(200, json!({"success": true, "data": {}})));
        stage.api.next("GET", again);
        assert_failed(&stage.act("disable_user", "u5").await, &["Internal: ", "check the account"]);
        assert_eq!(last_outcome(&stage), ("unknown".to_owned(), "unverified".to_owned()));
    }
    // A response about another account proves nothing about this one.
    let other = Reply::json(200, json!({"success": true, "data": {"id": "user_other", "active": false}}));
    stage.api.next("PATCH", other.clone());
    stage.api.next("GET", other);
    assert_failed(&stage.act("disable_user", "u5").await, &["Internal: ", "check the account"]);
    assert_eq!(last_outcome(&stage), ("unknown".to_owned(), "unverified".to_owned()));
    // Retool reports success, but the account is still enabled.
    stage.api.next("PATCH", Reply::json(200, json!({"success": true, "data": {"active": true}})));
    assert_failed(&stage.act("disable_user", "u5").await, &["Internal: ", "still enabled"]);
    assert_eq!(last_outcome(&stage), ("failed".to_owned(), "unverified".to_owned()));
    assert!(stage.enabled(5).await);
}

/// The outcome and the reason in the record of the last action.
fn last_outcome(stage: &Stage) -> (String, String) {
    let record = stage.records().pop().unwrap();
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("reason"))
}

#[tokio::test]
async fn a_refusal_by_retool_fails_the_action() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (status, words) in [
        (401, ["Unauthenticated: ", "--retool-api-token"]),
        (403, ["PermissionDenied: ", "users:write"]),
        (404, ["NotFound: ", "the user does not exist"]),
        (429, ["Unavailable: ", "retry later"]),
    ] {
        stage.api.next("PATCH", Reply::refusal(status, "no").with("Retry-After", "7"));
        let answer = stage.act("disable_user", "u5").await;
        assert_failed(&answer, &words);
        assert_eq!(stage.api.methods(), ["PATCH"]);
        let limit = limits(&answer.annotations).unwrap();
        let over = status == 429;
        assert_eq!(limit.status() == LimitStatus::Overlimit, over);
    }
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn malformed_rate_limit_headers_are_ignored() {
    let stage = Stage::new().await;
    stage.api.set(|manners| {
        manners.headers = vec![
            ("X-RateLimit-Limit".to_owned(), "lots".to_owned()),
            ("X-RateLimit-Remaining".to_owned(), "some".to_owned()),
            ("X-RateLimit-Reset".to_owned(), "soon".to_owned()),
        ];
    });
    let answer = stage.act("disable_user", "u5").await;
    assert_complete(&answer);
    let limit = limits(&answer.annotations).unwrap();
    assert_eq!((limit.limit, limit.remaining, limit.status()), (0, 0, LimitStatus::Unspecified));
    assert_eq!(limit.reset_at.unwrap().seconds, -62_135_596_800);
}

#[tokio::test]
async fn every_action_requires_provisioning() {
    let stage = Stage::with(&[]).await;
    for name in ["enable_user", "disable_user", "delete_user"] {
        let answer = stage.invoke(&action(name, "u5")).await;
        assert_refused(answer, Code::FailedPrecondition, &["provisioning is not enabled"]);
    }
    assert_refused(stage.status("x").await, Code::FailedPrecondition, &["provisioning is not enabled"]);
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert!(stage.enabled(5).await);
}

#[tokio::test]
async fn an_unknown_action_is_not_found() {
    let stage = Stage::new().await;
    for (name, resource_type_id) in
        [("delete_user", ""), ("", ""), ("enable_user", "user"), ("Enable_User", "")]
    {
        let mut request = action(name, "u5");
        request.resource_type_id = resource_type_id.to_owned();
        assert_refused(stage.invoke(&request).await, Code::NotFound, &["ListActionSchemas"]);
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
}

#[tokio::test]
async fn an_invalid_argument_fails_the_action_and_not_the_call() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    let user = ("resource_type_id", string("user"));
    for fields in [
        &[user.clone(), ("resource_id", string("g5"))][..],
        &[user.clone(), ("resource_id", string("5"))],
        &[user.clone(), ("resource_id", string("u05"))],
        &[user.clone(), ("resource_id", string("u-5"))],
        &[user.clone(), ("resource_id", string("u2147483648"))],
        &[user.clone(), ("resource_id", number(5.0))],
        &[("resource_type_id", string("group")), ("resource_id", string("u5"))],
        &[("resource_id", string("u5"))],
        &[user],
        &[],
    ] {
        assert_failed(
            &stage.invoke(&action_on("disable_user", fields)).await.unwrap(),
            &["InvalidArgument: "],
        );
    }
    for args in [
        None,
        Some(Struct::default()),
        Some(structure([("user_id", string("u5"))])),
        Some(structure([("user_id", boolean(true))])),
    ] {
        let mut request = action("disable_user", "u5");
        request.args = args;
        let answer = stage.invoke(&request).await.unwrap();
        assert_failed(&answer, &["InvalidArgument: ", "user_id"]);
        assert_eq!(answer.annotations, []);
    }
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
    // The older format of the same argument.
    let older = [("resource_type", string("user")), ("resource", string("u5")), ("more", boolean(true))];
    assert_complete(&stage.invoke(&action_on("disable_user", &older)).await.unwrap());
}

#[tokio::test]
async fn an_unknown_user_is_not_found_without_a_request_to_retool() {
    let stage = Stage::new().await;
    assert_failed(&stage.act("disable_user", "u999").await, &["NotFound: ", "999"]);
    assert_eq!(stage.api.methods(), Vec::<String>::new());
}

#[tokio::test]
async fn an_action_without_a_rest_api_names_the_missing_settings() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--provisioning"]);
    let wire = Wire::to(&server).await;
    let answer = wire.call("ActionService/InvokeAction", &action("disable_user", "u5")).await.unwrap();
    assert_failed(&answer, &["FailedPrecondition: ", "--retool-api-base-url", "--retool-api-token"]);
}

#[tokio::test]
async fn the_last_enabled_administrator_cannot_be_disabled() {
    let stage = Stage::new().await;
    // u1 and u21 are in the group admin, g2. u22 is in it but disabled; u45 belongs to another organization.
    stage
        .database
        .execute(
            r#"SET session_replication_role = replica;
            INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
            VALUES (22, 2, now(), now()), (45, 2, now(), now())"#,
        )
        .await;
    assert_complete(&stage.act("disable_user", "u21").await);
    let before = stage.tables().await;
    let _ = stage.api.seen();
    assert_failed(
        &stage.act("disable_user", "u1").await,
        &["FailedPrecondition: ", "last enabled member", "admin"],
    );
    assert_eq!(stage.api.methods(), Vec::<String>::new());
    assert_eq!(stage.tables().await, before);
    assert_eq!(stage.records().pop().unwrap()["reason"], "last_admin");
    // A user who is already disabled administers nothing, and another member of the group may be the enabled
    // one.
    assert_complete(&stage.act("disable_user", "u21").await);
    assert_complete(&stage.act("enable_user", "u22").await);
    assert_complete(&stage.act("disable_user", "u1").await);
}

#[tokio::test]
async fn of_two_administrators_disabled_concurrently_one_stays_enabled() {
    let stage = Stage::new().await;
    stage.api.always("PATCH", Reply::Usual.late(SHORT));
    let (first, second) = tokio::join!(stage.act("disable_user", "u1"), stage.act("disable_user", "u21"));
    let mut statuses = [first.status(), second.status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [BatonActionStatus::Complete, BatonActionStatus::Failed], "{first:?} {second:?}");
    assert!(stage.enabled(1).await != stage.enabled(21).await);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_completes_only_if_nothing_needs_to_change() {
    let stage = Stage::with(&["--provisioning", "--dry-run"]).await;
    let before = stage.tables().await;
    for (name, user) in [("disable_user", "u5"), ("enable_user", "u11")] {
        let answer = stage.act(name, user).await;
        assert_failed(&answer, &["dry run: ", user]);
        assert_eq!(answer.response.unwrap().fields["dry_run"], boolean(true));
    }
    for (name, user) in [("enable_user", "u5"), ("disable_user", "u11")] {
        let answer = stage.act(name, user).await;
        assert_complete(&answer);
        let details: Struct = prost::Message::decode(answer.annotations[0].value.as_slice()).unwrap();
        assert_eq!(details, structure([("dry_run", boolean(true)), ("would", string("change nothing"))]));
    }
    assert!(!stage.api.methods().contains(&"PATCH".to_owned()));
    assert_eq!(stage.tables().await, before);
    let outcomes: Vec<_> = stage.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["dry_run", "dry_run", "unchanged", "unchanged"]);
}

#[tokio::test]
async fn an_action_that_times_out_reports_that_it_may_have_taken_effect() {
    let stage = Stage::with(&["--provisioning", "--http-timeout-seconds", "3"]).await;
    for method in ["PATCH", "GET"] {
        stage.api.next(method, Reply::Usual.behind(&Gate::closed()));
    }
    let answer = stage.act("disable_user", "u5").await;
    assert_failed(&answer, &["DeadlineExceeded: ", "may have been changed", "retrying is safe"]);
}

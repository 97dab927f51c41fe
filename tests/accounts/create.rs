//! CreateAccount: the request to Retool, and the response to the agent.

// Agents of all versions read the deprecated fields of a user.
#![allow(deprecated)]

use std::time::Duration;

use baton_retool::proto::connector::create_account_response::Result as Created;
use baton_retool::proto::connector::credential_options::{NoPassword, Options, RandomPassword, Sso};
use baton_retool::proto::connector::user_trait::status::Status as UserStatus;
use baton_retool::proto::connector::{CredentialOptions, Resource, UserTrait};
use baton_retool::proto::ratelimit::rate_limit_description::Status as LimitStatus;
use baton_retool::proto::{find_annotation, string};
use prost_types::Struct;
use serde_json::json;
use tonic::Code;

use crate::support::postgres::Database;
use crate::support::retool_api::{Filter, LegacyId, Reply};
use crate::support::stage::{Stage, ada, form, limits, result, text_of, user_of, with_email};
use crate::support::wire::assert_refused;

fn user_trait(resource: &Option<Resource>) -> UserTrait {
    find_annotation::<UserTrait>(&resource.as_ref().unwrap().annotations).unwrap().unwrap()
}

/// The record of one change, reduced to the fields that are the same in every run.
fn record(stage: &Stage) -> serde_json::Value {
    let line = stage.server.wait_for_log(|line| line["msg"] == "change");
    let keys = ["operation", "target_id", "principal_id", "outcome", "before", "after", "reason"];
    keys.into_iter().map(|key| (key.to_owned(), line[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn a_new_account_is_returned_as_the_next_listing_shows_it() {
    for legacy_id in [LegacyId::Number, LegacyId::Text, LegacyId::Missing] {
        let stage = Stage::new().await;
        stage.api.set(|manners| manners.legacy_id = legacy_id);
        let answer = stage.create(&ada()).await.unwrap();
        let (kind, resource, flag) = result(&answer);
        assert_eq!((kind, flag), ("success", true), "{legacy_id:?}");
        let id = user_of(&resource);
        assert_eq!(id.resource_type, "user");
        assert_eq!(resource, stage.listed(&id.resource).await, "{legacy_id:?}");
        assert!(resource.unwrap().parent_resource_id.is_some());
        assert_eq!(answer.encrypted_data, []);
        assert!(limits(&answer.annotations).is_some());

        let seen = stage.api.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        let body = json!({"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"});
        assert_eq!(
            (seen[0].method.as_str(), seen[0].path.as_str(), &seen[0].body),
            ("POST", "/users", &body)
        );
        let expected = json!({
            "operation": "create_account", "target_id": "", "principal_id": id.resource,
            "outcome": "changed", "before": "absent", "after": "enabled", "reason": null,
        });
        assert_eq!(record(&stage), expected);
    }
}

#[tokio::test]
async fn sent_fields_are_trimmed_and_carry_the_requested_user_type() {
    let stage = Stage::new().await;
    for (number, user_type) in [" default ", "mobile", "embed"].into_iter().enumerate() {
        let request = form(&[
            ("email", string(format!("\t ada{number}@example.com "))),
            ("first_name", string(" Ada ")),
            ("last_name", string("Lovelace\n")),
            ("user_type", string(user_type)),
            ("nickname", string("not asked for")),
        ]);
        let answer = stage.create(&request).await.unwrap();
        let profile = user_trait(&result(&answer).1).profile;
        assert_eq!(text_of(profile.as_ref(), "user_type"), user_type.trim());
        let expected = json!({
            "email": format!("ada{number}@example.com"), "first_name": "Ada", "last_name": "Lovelace",
            "user_type": user_type.trim(),
        });
        assert_eq!(stage.api.seen()[0].body, expected);
    }
    // All requests used one connection.
    assert_eq!(stage.api.connections(), 1);
}

#[tokio::test]
async fn every_credential_option_without_a_password_sends_an_invitation() {
    let stage = Stage::new().await;
    let random = RandomPassword { length: 20, ..Default::default() };
    let sso = Sso { sso_provider: "okta".to_owned() };
    let options = [Options::NoPassword(NoPassword {}), Options::RandomPassword(random), Options::Sso(sso)];
    for (number, options) in options.into_iter().enumerate() {
        let mut request = with_email(&format!("ada{number}@example.com"));
        request.resource_type_id = "user".to_owned();
        request.credential_options = Some(CredentialOptions { options: Some(options), ..Default::default() });
        let answer = stage.create(&request).await.unwrap();
        assert_eq!(result(&answer).0, "success");
        assert_eq!(answer.encrypted_data, []);
    }
}

#[tokio::test]
async fn waits_for_an_account_that_appears_late_in_the_database() {
    let stage = Stage::new().await;
    stage.api.set(|manners| manners.shows_after = Some(Duration::from_millis(700)));
    let (kind, resource, _) = result(&stage.create(&ada()).await.unwrap());
    assert_eq!(kind, "success");
    assert_eq!(resource, stage.listed(&user_of(&resource).resource).await);
}

#[tokio::test]
async fn an_account_that_never_appears_is_in_progress_and_never_u0() {
    // With one organization, the account must belong to it.
    let single = Database::small().await;
    single.execute(r#"DELETE FROM organizations WHERE id = 2; UPDATE organizations SET name = 'Only'"#).await;
    let url = single.url();
    let (with_id, without) = tokio::join!(Stage::serve(single, &url, &["--provisioning"]), Stage::new());
    for (stage, legacy_id) in [(&with_id, LegacyId::Text), (&without, LegacyId::Missing)] {
        stage.api.set(|manners| {
            manners.shows_after = None;
            manners.legacy_id = legacy_id;
        });
    }
    let (ada_request, other_request) = (ada(), ada());
    let (provisional, nothing) = tokio::join!(with_id.create(&ada_request), without.create(&other_request));

    let provisional = provisional.unwrap();
    let (kind, resource, flag) = result(&provisional);
    assert_eq!((kind, flag), ("in progress", true));
    // Now the row appears, and the earlier response was correct.
    with_id
        .database
        .execute(&format!(
            r#"INSERT INTO users (id, email, "firstName", "lastName", "organizationId", "createdAt", "updatedAt")
               VALUES ({}, 'ada@example.com', 'Ada', 'Lovelace', 1, '2026-03-01 12:00 UTC', now())"#,
            &user_of(&resource).resource[1..]
        ))
        .await;
    assert_eq!(resource, with_id.listed(&user_of(&resource).resource).await);
    assert!(limits(&provisional.annotations).is_some());

    let (kind, resource, flag) = result(&nothing.unwrap());
    assert_eq!((kind, resource, flag), ("in progress", None, true));
    for stage in [&with_id, &without] {
        let record = record(stage);
        assert_eq!((&record["outcome"], &record["after"]), (&json!("changed"), &json!("unverified")));
    }
}

#[tokio::test]
async fn a_taken_email_is_answered_with_the_existing_account() {
    let duplicates = [
        Reply::refusal(409, "exists"),
        Reply::refusal(400, "exists"),
        Reply::refusal(422, "exists"),
        Reply::refusal(200, "exists"),
    ];
    let filters = [Filter::Exact, Filter::AnyCase, Filter::Ignored(7), Filter::Ignored(1000)];
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (duplicate, filter) in duplicates.into_iter().zip(filters) {
        stage.api.set(|manners| {
            manners.duplicate = duplicate.clone();
            manners.filter = filter;
        });
        // u11 is disabled, u5 is not.
        for (user, email, status) in [
            ("u11", "user11@acme.example", UserStatus::Disabled),
            ("u5", "user5@acme.example", UserStatus::Enabled),
            ("u5", "User5@ACME.example", UserStatus::Enabled),
        ] {
            let answer = stage.create(&with_email(email)).await.unwrap();
            let (kind, resource, flag) = result(&answer);
            assert_eq!((kind, flag), ("already exists", true), "{duplicate:?} {filter:?}");
            assert_eq!(user_trait(&resource).status.unwrap().status(), status);
            assert_eq!(resource, stage.listed(user).await, "{filter:?} {email}");
            assert!(limits(&answer.annotations).is_some());
        }
    }
    assert!(stage.records().iter().all(|record| record["outcome"] == "unchanged"), "{:?}", stage.records());
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn a_taken_email_that_retool_does_not_find_is_looked_up_in_the_database() {
    let stage = Stage::new().await;
    // The address has another case than in the request, in a Retool that compares exactly.
    stage.database.execute("UPDATE users SET email = 'User5@Acme.Example' WHERE id = 5").await;
    let (kind, resource, _) = result(&stage.create(&with_email("user5@acme.example")).await.unwrap());
    assert_eq!((kind, resource), ("already exists", stage.listed("u5").await));
    // A failed look-up does not prove that no user has the address.
    stage.api.always("GET", Reply::refusal(403, "no"));
    let (kind, resource, _) = result(&stage.create(&with_email("user5@acme.example")).await.unwrap());
    assert_eq!((kind, resource), ("already exists", stage.listed("u5").await));
    // If two users in two organizations have the address, the database cannot tell which one it is.
    stage.database.execute("UPDATE users SET email = 'user5@acme.example' WHERE id = 46").await;
    let answer = stage.create(&with_email("user5@acme.example")).await;
    assert_refused(answer, Code::AlreadyExists, &["409"]);
}

#[tokio::test]
async fn a_failed_lookup_after_a_refusal_is_an_error_and_changes_nothing() {
    let stage = Stage::new().await;
    let before = stage.tables().await;
    for (refusal, code, words) in [
        (400, Code::Unavailable, "HTTP 500"),
        (422, Code::Unavailable, "HTTP 500"),
        (409, Code::AlreadyExists, "looking it up failed"),
    ] {
        stage.api.next("POST", Reply::refusal(refusal, "no"));
        stage.api.next("GET", Reply::refusal(500, "later"));
        assert_refused(stage.create(&ada()).await, code, &[words]);
    }
    assert_eq!(stage.tables().await, before);
}

#[tokio::test]
async fn never_mistakes_the_legacy_id_of_another_user_for_the_new_user() {
    let stage = Stage::new().await;
    // An API that belongs to another Retool than the database.
    let stranger = json!({"id": "user_other", "legacy_id": 7, "email": "ada@example.com", "active": true});
    stage.api.next("POST", Reply::json(200, json!({"success": true, "data": stranger})));
    let (kind, resource, _) = result(&stage.create(&ada()).await.unwrap());
    assert_eq!((kind, resource), ("in progress", None));
    stage.api.next("POST", Reply::refusal(409, "exists"));
    let list = json!({"success": true, "data": [stranger], "has_more": false});
    stage.api.next("GET", Reply::json(200, list));
    assert_refused(stage.create(&ada()).await, Code::FailedPrecondition, &["different Retool instances"]);
    assert!(stage.records().iter().all(|record| record["principal_id"] == ""), "{:?}", stage.records());
}

#[tokio::test]
async fn never_mistakes_a_user_with_another_address_for_the_new_user() {
    let stage = Stage::new().await;
    // The ids and the address are those of a user in the database.
    let user = stage.database.client().await;
    let user = user.query_one("SELECT sid, id, email FROM users WHERE id = 7", &[]).await.unwrap();
    let (sid, id, email): (&str, i32, &str) = (user.get(0), user.get(1), user.get(2));
    let stranger = json!({"id": sid, "legacy_id": id, "email": email, "active": true});
    stage.api.next("POST", Reply::json(200, json!({"success": true, "data": stranger})));
    let (kind, resource, _) = result(&stage.create(&ada()).await.unwrap());
    assert_eq!((kind, resource), ("in progress", None));
    assert_eq!(record(&stage)["principal_id"], "");
}

#[tokio::test]
async fn an_answer_with_an_unknown_sid_is_matched_by_number_and_address() {
    let stage = Stage::new().await;
    let client = stage.database.client().await;
    let row = client.query_one("SELECT id, email FROM users WHERE id = 7", &[]).await.unwrap();
    let (id, email): (i32, String) = (row.get(0), row.get(1));
    let made = json!({"id": "user_unknown", "legacy_id": id, "email": email, "active": true});
    stage.api.next("POST", Reply::json(200, json!({"success": true, "data": made})));
    let (kind, resource, _) = result(&stage.create(&with_email(&email)).await.unwrap());
    assert_eq!((kind, &resource), ("success", &stage.listed("u7").await));
    assert_eq!(record(&stage)["principal_id"], "u7");
}

#[tokio::test]
async fn the_outcome_is_unknown_if_the_account_may_have_been_created() {
    let stage = Stage::new().await;
    for (reply, outcome, reason) in [
        (Reply::Closed, "unknown", "rest_closed"),
        (Reply::json(200, json!({"success": true})), "unknown", "rest_incomplete"),
        (Reply::refusal(503, "down"), "unknown", "rest_broken"),
        (Reply::redirect(302, "/login"), "failed", "rest_redirect"),
    ] {
        stage.api.next("POST", reply);
        stage.create(&ada()).await.unwrap_err();
        let record = stage.records().pop().unwrap();
        assert_eq!((&record["outcome"], &record["reason"]), (&json!(outcome), &json!(reason)));
    }
}

#[tokio::test]
async fn never_mistakes_a_user_of_another_organization_for_the_new_user() {
    // The API covers the first organization only, and has refused for another reason.
    for code in [400, 422, 200] {
        let stage = Stage::new().await;
        stage.api.next("POST", Reply::refusal(code, "no"));
        let status = stage.create(&with_email("g1@globex.example")).await.unwrap_err();
        assert!(matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition), "{status:?}");
        assert_eq!(stage.api.methods(), ["POST", "GET"]);
    }
}

#[tokio::test]
async fn each_create_account_looks_the_user_up_again() {
    let stage = Stage::new().await;
    let request = with_email("user5@acme.example");
    for _ in 0..2 {
        assert_eq!(result(&stage.create(&request).await.unwrap()).0, "already exists");
        assert_eq!(stage.api.methods(), ["POST", "GET"]);
    }
    // An empty result is not cached either.
    stage.api.set(|manners| manners.duplicate = Reply::refusal(409, "exists"));
    stage.api.next("POST", Reply::refusal(409, "exists"));
    assert_refused(stage.create(&ada()).await, Code::AlreadyExists, &["409"]);
    assert_eq!(result(&stage.create(&ada()).await.unwrap()).0, "success");
    let (kind, resource, _) = result(&stage.create(&ada()).await.unwrap());
    assert_eq!((kind, resource.is_some()), ("already exists", true));
}

#[tokio::test]
async fn concurrent_requests_for_one_account_create_it_once() {
    let stage = Stage::new().await;
    let (first, second) = (ada(), ada());
    let (first, second) = tokio::join!(stage.create(&first), stage.create(&second));
    let (first, second) = (result(&first.unwrap()), result(&second.unwrap()));
    let mut kinds = [first.0, second.0];
    kinds.sort_unstable();
    assert_eq!(kinds, ["already exists", "success"]);
    assert_eq!(first.1, second.1);
    let users = stage.database.client().await;
    let count = users.query_one("SELECT count(*) FROM users WHERE email = 'ada@example.com'", &[]).await;
    assert_eq!(count.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_retry_after_a_lost_answer_finds_the_account() {
    for reply in
        [Reply::Closed, Reply::Truncated(Duration::ZERO), Reply::html(502), Reply::refusal(503, "later")]
    {
        let stage = Stage::new().await;
        stage.api.next("POST", reply.clone().when_done());
        let status = stage.create(&ada()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{reply:?}: {status:?}");
        for words in ["may have been created", "retrying is safe"] {
            assert!(status.message().contains(words), "{status:?}");
        }
        let (kind, resource, _) = result(&stage.create(&ada()).await.unwrap());
        assert_eq!((kind, resource.is_some()), ("already exists", true));
    }
}

#[tokio::test]
async fn a_dry_run_creates_nothing_and_describes_the_account() {
    let stage = Stage::with(&["--provisioning", "--dry-run"]).await;
    let before = stage.tables().await;
    let answer = stage.create(&ada()).await.unwrap();
    let Some(Created::ActionRequired(required)) = &answer.result else { panic!("{answer:?}") };
    assert_eq!((&required.resource, required.is_create_account_result), (&None, true));
    assert!(required.message.contains("dry run"), "{}", required.message);
    let said =
        answer.annotations.iter().find(|any| any.type_url.ends_with("google.protobuf.Struct")).unwrap();
    let said: Struct = prost::Message::decode(said.value.as_slice()).unwrap();
    assert_eq!(said.fields["dry_run"], baton_retool::proto::boolean(true));
    assert!(text_of(Some(&said), "would").contains("create an account"), "{said:?}");

    let answer = stage.create(&with_email("user11@acme.example")).await.unwrap();
    let (kind, resource, _) = result(&answer);
    assert_eq!((kind, resource), ("already exists", stage.listed("u11").await));
    let said: Struct = prost::Message::decode(answer.annotations[0].value.as_slice()).unwrap();
    assert_eq!(text_of(Some(&said), "would"), "change nothing");
    assert!(stage.api.methods().iter().all(|method| method == "GET"));
    assert_eq!(stage.tables().await, before);
    let outcomes: Vec<_> = stage.records().iter().map(|record| record["outcome"].clone()).collect();
    assert_eq!(outcomes, ["dry_run", "unchanged"]);
}

#[tokio::test]
async fn a_created_account_reports_the_remaining_rate_limit() {
    let stage = Stage::new().await;
    stage.api.set(|manners| {
        manners.headers = vec![
            ("X-RateLimit-Limit".to_owned(), "45;w=60".to_owned()),
            ("X-RateLimit-Remaining".to_owned(), "44".to_owned()),
            ("X-RateLimit-Reset".to_owned(), "1772366520".to_owned()),
        ];
    });
    let limit = limits(&stage.create(&ada()).await.unwrap().annotations).unwrap();
    assert_eq!((limit.status(), limit.limit, limit.remaining), (LimitStatus::Ok, 45, 44));
    assert_eq!(limit.reset_at.unwrap().seconds, 1_772_366_520);
}

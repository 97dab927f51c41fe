//! Responses of the REST API that are much larger than the data needed from them.

use baton_retool::proto::connector::{ConnectorServiceValidateRequest, ConnectorServiceValidateResponse};
use serde_json::{Value, json};

use crate::support::retool_api::{Answer, Gate, Reply};
use crate::support::stage::{Stage, result, with_email};
use crate::support::wire::eventually;

const MIB: u64 = 1024 * 1024;
/// Limit of the additional memory for reading a response.
const RISE: u64 = 16 * MIB;
const USERS: usize = 60_000;

/// A response with this JSON text, which may be invalid.
fn answer(body: String) -> Reply {
    Reply::Answer(json_answer(body))
}

fn json_answer(body: String) -> Answer {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Answer { status: 200, headers, body }
}

/// All users, as from a Retool that supports neither `limit` nor `email`, and one more user at the end.
fn everybody(last: Value) -> Reply {
    let body = users(USERS, last);
    assert!(body.len() as u64 > 12 * MIB && (body.len() as u64) < 32 * MIB, "{}", body.len());
    answer(body)
}

fn users(count: usize, last: Value) -> String {
    let groups: Vec<_> = (0..5).map(|id| json!({"id": id, "name": format!("Group number {id}")})).collect();
    let user = |number| json!({"id": format!("user_{number}"), "email": format!("{number}@x.example"), "metadata": {}, "groups": groups, "active": true});
    let users: Vec<_> = (0..count).map(user).chain([last]).collect();
    // The keys are ordered so that the list must be skipped.
    format!(r#"{{"data":{},"has_more":false,"success":true}}"#, Value::from(users))
}

struct Memory {
    before: Option<u64>,
}

impl Memory {
    async fn of(stage: &Stage) -> Self {
        // The first request loads everything that later requests also need.
        stage.validate().await.unwrap();
        Self { before: stage.server.data_memory() }
    }

    #[track_caller]
    fn assert_bounded(&self, stage: &Stage) {
        if let (Some(before), Some(peak)) = (self.before, stage.server.peak_data_memory()) {
            assert!(peak <= before + RISE, "from {before} to {peak} bytes");
        }
    }
}

#[tokio::test]
async fn validate_reads_a_list_of_all_users_in_little_memory() {
    // Large responses are read one after another, which takes long on a busy machine.
    let stage = Stage::with(&["--http-timeout-seconds=30"]).await;
    let memory = Memory::of(&stage).await;
    stage.api.always("GET", everybody(Value::Null));
    let three = futures_util::future::join_all((0..3).map(|_| stage.validate())).await;
    // On a busy machine, later responses may time out before it is their turn.
    let read = three.into_iter().filter(|answer| !answer.as_ref().unwrap().annotations.is_empty()).count();
    assert!(read > 0, "no answer is read to its end");
    memory.assert_bounded(&stage);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_large_answer_is_read_at_a_time() {
    let stage = Stage::with(&["--http-timeout-seconds=30"]).await;
    let validate = || {
        let wire = stage.wire.clone();
        let request = ConnectorServiceValidateRequest::default();
        tokio::spawn(async move {
            wire.call::<ConnectorServiceValidateResponse>("ConnectorService/Validate", &request).await
        })
    };
    let gate = Gate::closed();
    stage.api.next("GET", Reply::Halved(gate.clone(), json_answer(users(100, Value::Null))));
    let first = validate();
    gate.reached().await;
    // This answer is complete, but is not read until the first one ends. Any answer to this request counts as
    // large, because it may be.
    stage.api.next("GET", answer(users(100, Value::Null)));
    let second = validate();
    let mut seen = Vec::new();
    eventually("the second request", async || {
        seen.extend(stage.api.seen());
        (seen.len() == 2).then_some(())
    })
    .await;
    for _ in 0..100 {
        stage.wire.organizations().await.unwrap();
    }
    assert!(
        !first.is_finished() && !second.is_finished(),
        "the second answer was read before the first ended"
    );
    gate.open();
    for answer in [first, second] {
        assert!(!answer.await.unwrap().unwrap().annotations.is_empty(), "the answer was not read");
    }
}

#[tokio::test]
async fn validate_survives_oversized_answers() {
    let stage = Stage::new().await;
    let memory = Memory::of(&stage).await;
    for body in [
        format!(r#"{{"data":[{}0],"success":true}}"#, "0,".repeat(15_000_000)),
        format!(r#"{{"{}":1,"success":true}}"#, "x".repeat(30_000_000)),
        format!(r#"{{"message":"{}","success":false}}"#, "x".repeat(30_000_000)),
        format!(r#"{{"data":[{}{{}}],"success":true}}"#, r#"{"a":[]},"#.repeat(3_000_000)),
        format!(r#"{{"data":{}"#, "[".repeat(10_000_000)),
        format!(r#"{{"data":["{}"],"success":true}}"#, r#"\""#.repeat(10_000_000)),
    ] {
        stage.api.next("GET", answer(body));
        stage.validate().await.unwrap();
    }
    memory.assert_bounded(&stage);
}

#[tokio::test]
async fn finds_a_user_in_a_list_of_all_users() {
    let stage = Stage::new().await;
    let memory = Memory::of(&stage).await;
    stage.api.next("POST", Reply::refusal(409, "exists"));
    stage.api.next("GET", everybody(json!({"legacy_id": 5, "email": "User5@acme.example", "active": true})));
    let answer = stage.create(&with_email("user5@acme.example")).await.unwrap();
    assert_eq!(result(&answer).0, "already exists");
    memory.assert_bounded(&stage);
}

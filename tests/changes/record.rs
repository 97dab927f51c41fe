//! The provisioning switch, the log of changes, and dry runs.

use std::process::Stdio;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::Value as Json;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::changes::faults::{on_its_way, until_blocked};
use crate::support::changes::{Answered, Changes, Did, Tables, refused};
use crate::support::cluster::Cluster;
use crate::support::http::ask;
use crate::support::postgres::{Database, Provisioning, Sizes};
use crate::support::server::{Server, program};
use crate::support::wire::eventually;

const WORLD: &str = r#"
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 1, now(), now());
INSERT INTO users (id, email, "firstName", "organizationId", "createdAt", "updatedAt") VALUES
    (100, 'secretly@acme.example', 'Secretly', 1, now(), now());
INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt") VALUES (100, 'plain', 1, now(), now());
"#;

async fn world() -> Database {
    let database = Database::small().await;
    database.execute(WORLD).await;
    database
}

/// The change records, once there are `count` of them; the log arrives asynchronously.
async fn records(server: &Server, count: usize) -> Vec<Json> {
    eventually("a record of each change", async || {
        let records: Vec<Json> = server.logs().into_iter().filter(|line| line["msg"] == "change").collect();
        (records.len() >= count).then_some(records)
    })
    .await
}

fn fields<'a>(record: &'a Json, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| record[name].as_str().unwrap_or("-")).collect()
}

/// The `would` text of a dry run; `None` if it is not a dry run.
fn would(answer: &Answered) -> Option<String> {
    let said = answer.annotations.iter().find(|any| any.type_url.ends_with("/google.protobuf.Struct"))?;
    let said: Struct = prost::Message::decode(said.value.as_slice()).unwrap();
    assert_eq!(said.fields["dry_run"], Value { kind: Some(Kind::BoolValue(true)) });
    match said.fields["would"].kind.clone() {
        Some(Kind::StringValue(text)) => Some(text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_provisioning_nothing_changes_and_invalid_requests_are_refused_first() {
    let database = world().await;
    let server = Server::start(&database, &[]);
    let changes = Changes::of(&server).await;
    for (entitlement, principal) in [("group:g100:member", "user/u100"), ("page:p100:user:read", "banana/x")]
    {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "provisioning is not enabled")
        );
        let status = refused(&database, changes.revoke(entitlement, principal)).await;
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "provisioning is not enabled")
        );
    }
    let records = records(&server, 4).await;
    let seen: Vec<_> =
        records.iter().map(|record| fields(record, &["operation", "outcome", "reason"]).join(" ")).collect();
    let [grant, revoke] = ["grant", "revoke"].map(|call| format!("{call} refused provisioning_disabled"));
    assert_eq!(seen, [grant.clone(), revoke.clone(), grant, revoke]);
    // Records of refused changes also have the ids of the request, as far as they are valid.
    let about: Vec<_> =
        records.iter().map(|record| fields(record, &["target_id", "principal_id"]).join(" ")).collect();
    assert_eq!(about[..2], ["group:g100:member u100"; 2]);
    assert_eq!(about[2..], ["page:p100:user:read "; 2]);
    let status = refused(&database, changes.send_grant(Default::default())).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

#[tokio::test]
async fn derived_entitlements_cannot_be_granted() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (entitlement, resource) in [
        ("entitlement:o1:member", ("org", "o1")),
        ("entitlement:r1:read", ("resource", "r1")),
        ("user:u1:x", ("user", "u1")),
        ("banana:b1:x", ("banana", "b1")),
    ] {
        let request = baton_retool::proto::connector::GrantManagerServiceGrantRequest {
            entitlement: Some(baton_retool::proto::connector::Entitlement {
                id: entitlement.to_owned(),
                resource: Some(crate::support::client::named(resource.0, resource.1)),
                ..Default::default()
            }),
            principal: Some(crate::support::changes::principal_of("user/u100")),
            ..Default::default()
        };
        let status = refused(&database, changes.send_grant(request)).await;
        assert_eq!(status.code(), Code::Unimplemented, "{entitlement}: {status:?}");
    }
    let (without, _server) = Changes::serving(&database, &["--skip-pages"]).await;
    let status = refused(&database, without.grant("page:p100:group:read", "group/g100")).await;
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

#[tokio::test]
async fn each_change_is_logged_once_with_ids_and_state_before_and_after() {
    let database = world().await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    changes.grant("group:g100:admin", "user/u100").await.unwrap();
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    changes.grant("page:p100:group:write", "group/g100").await.unwrap();
    changes.revoke("page:p100:user:write", "group/g100").await.unwrap();
    changes.revoke("page:p100:user:read", "user/u100").await.unwrap_err();
    changes.grant("group:g1:member", "user/u100").await.unwrap_err();
    changes.grant("group:g100:member", "user/nobody@acme.example").await.unwrap_err();
    let records = records(&server, 8).await;
    let names = ["operation", "target_id", "principal_id", "outcome", "before", "after", "reason"];
    let seen: Vec<_> = records.iter().map(|record| fields(record, &names)).collect();
    assert_eq!(
        seen,
        [
            ["grant", "group:g100:member", "u100", "changed", "none", "member", "-"],
            ["grant", "group:g100:admin", "u100", "changed", "member", "admin", "-"],
            ["grant", "group:g100:member", "u100", "unchanged", "admin", "admin", "-"],
            ["grant", "page:p100:group:write", "g100", "changed", "none", "write", "-"],
            ["revoke", "page:p100:user:write", "g100", "changed", "write", "read", "-"],
            ["revoke", "page:p100:user:read", "u100", "refused", "", "", "access_remains"],
            ["grant", "group:g1:member", "u100", "refused", "", "", "all_users"],
            ["grant", "group:g100:member", "", "refused", "", "", "malformed_id"],
        ]
    );
    for record in &records {
        assert_eq!(record["level"], "info", "{record}");
        assert!(record["peer.address"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert!(record["duration_ms"].as_f64().unwrap() > 0.0, "{record}");
    }
    let whole: String = server.logs().iter().map(Json::to_string).collect();
    for personal in ["secretly", "Secretly", "nobody@acme"] {
        assert!(!whole.contains(personal), "{personal} is in the log");
    }
}

#[tokio::test]
async fn changes_are_logged_at_every_log_level() {
    let database = world().await;
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("s").display());
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut process = program()
        .args([
            "serve",
            "--provisioning",
            "--log-level",
            "error",
            "--log-format",
            "json",
            "--listen",
            &address,
        ])
        .args(["--connection-string", &database.url()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let endpoint = Endpoint::from_shared(address).unwrap();
    let channel = eventually("a server that listens", async || endpoint.connect().await.ok()).await;
    let granted = Changes::over(channel).grant("group:g100:member", "user/u100").await;
    process.kill().unwrap();
    process.wait().unwrap();
    granted.unwrap();
    let log = std::fs::read_to_string(log.path()).unwrap();
    let [requested, line] = log.lines().collect::<Vec<_>>()[..] else {
        panic!("not just the record:\n{log}")
    };
    let requested: Json = serde_json::from_str(requested).unwrap();
    assert_eq!(fields(&requested, &["logger", "msg", "operation"]), ["audit", "change requested", "grant"]);
    assert_eq!(fields(&requested, &["target_id", "principal_id"]), ["group:g100:member", "u100"]);
    let record: Json = serde_json::from_str(line).unwrap();
    assert_eq!((&record["logger"], &record["outcome"]), (&"audit".into(), &"changed".into()), "{line}");
}

#[tokio::test]
async fn the_change_log_has_the_request_id_of_the_caller() {
    use baton_retool::proto::any;
    use baton_retool::proto::connector::{GrantManagerServiceGrantRequest, RequestId};
    let database = world().await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    for (index, (name, recorded)) in
        [("2ABCdefGHI", "2ABCdefGHI"), ("ann@example.com", "")].into_iter().enumerate()
    {
        let request = GrantManagerServiceGrantRequest {
            entitlement: Some(crate::support::changes::entitlement_of("group:g100:member")),
            principal: Some(crate::support::changes::principal_of("user/u100")),
            annotations: vec![any(&RequestId { request_id: name.to_owned() })],
        };
        changes.send_grant(request).await.unwrap();
        assert_eq!(records(&server, index + 1).await.last().unwrap()["request_id"], recorded);
    }
}

#[tokio::test]
async fn a_dry_run_responds_like_a_real_change_and_changes_nothing() {
    let database = world().await;
    database
        .execute(r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (100, 5, now(), now())"#)
        .await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let (dry, server) = Changes::serving_at(&database.url_as(&role), &["--dry-run"]).await;
    let before = Tables::of(&database).await;
    let mut asked = 0;
    for (call, entitlement, principal, says) in [
        ("grant", "group:g100:member", "user/u100", "from none to member"),
        ("grant", "page:p100:group:write", "group/g100", "from none to write"),
        ("grant", "page:p100:user:own", "user/u100", "to own"),
        ("revoke", "group:g5:member", "user/u100", "from member to none"),
        ("grant", "group:g5:member", "user/u100", "nothing"),
        ("revoke", "group:g100:member", "user/u100", "nothing"),
    ] {
        let answer = match call {
            "grant" => dry.grant(entitlement, principal).await.unwrap(),
            _ => dry.revoke(entitlement, principal).await.unwrap(),
        };
        let would = would(&answer).unwrap_or_else(|| panic!("does not say so: {answer:?}"));
        assert!(would.contains(says), "{call} {entitlement}: {would}");
        assert_eq!(answer.did() == Did::Nothing, says == "nothing");
        let expected = if says == "nothing" { "unchanged" } else { "dry_run" };
        asked += 1;
        assert_eq!(records(&server, asked).await.last().unwrap()["outcome"], expected);
    }
    for entitlement in ["group:g1:member", "group:g13:member"] {
        let status = dry.grant(entitlement, "user/u100").await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
    before.assert_same(&Tables::of(&database).await);

    let (real, _server) = Changes::serving(&database, &[]).await;
    let answer = real.grant("group:g100:member", "user/u100").await.unwrap();
    assert_eq!(would(&answer), None, "a real change is not described as a dry run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_a_silent_session_ends_without_waiting_for_a_rollback() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    database.execute(WORLD).await;
    // The write is given up after nine seconds. There is no time left for a second wait.
    let limits = ["--statement-timeout-seconds", "4", "--request-timeout-seconds", "14"];
    let flags = [&limits[..], &["--metrics-listen", "127.0.0.1:0"]].concat();
    let (changes, server) = Changes::serving(&database, &flags).await;
    let mut client = database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE user_groups").await.unwrap();
    let change = on_its_way(&changes, "group:g100:member", "user/u100");
    until_blocked(&database).await;
    cluster.pause();
    let status = change.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let record = server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!(record["outcome"], "failed", "{record}");
    // The rollback is a statement like others, and would wait as long as the write did.
    let listening = server.wait_for_log(|line| line["msg"] == "metrics listening");
    let metrics = ask(listening["address"].as_str().unwrap().parse().unwrap(), "GET", "/metrics").body;
    let is_end =
        |line: &&str| ["transaction.end", "transaction.rollback"].iter().any(|name| line.contains(name));
    assert_eq!(metrics.lines().find(is_end), None);
    cluster.resume();
}

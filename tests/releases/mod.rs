//! Tests that must pass on every supported version of Postgres. `make releases` runs them on the oldest and
//! the newest version; all other runs use the installed version.

use crate::support::changes::{Changes, Did};
use crate::support::client::facts;
use crate::support::oracle::Oracle;
use crate::support::postgres::{Database, Provisioning};
use crate::support::retool_api::Reply;
use crate::support::server::program;
use crate::support::stage::{Stage, assert_failed, result, with_email};
use serde_json::json;

/// The id of a sync, whose listings come from a snapshot.
pub(crate) const A_SYNC: &str = "0ujtsYcgvSTl8PAuAdqWYSMnLOv";

/// Every change with its reverse, in an order in which each has an effect.
pub(crate) const STEPS: [(&str, &str); 8] = [
    ("group:g100:member", "user/u100"),
    ("group:g100:admin", "user/u100"),
    ("page:p100:group:read", "group/g100"),
    ("page:p100:group:write", "group/g100"),
    ("page:p100:group:own", "group/g100"),
    ("page:p100:user:read", "user/u100"),
    ("page:p100:user:write", "user/u100"),
    ("page:p100:user:own", "user/u100"),
];

/// User 100 without any group, page 100, and group 100 without any right.
pub(crate) const WORLD: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, now(), now());
INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt") VALUES
    (100, 'a@acme.example', 1, now(), now());
INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt") VALUES (100, 'plain', 1, now(), now());
"#;

/// Makes each change and reverts it.
pub(crate) async fn makes_every_change(changes: &Changes) {
    for (entitlement, principal) in STEPS {
        let granted = changes.grant(entitlement, principal).await.unwrap();
        assert_ne!(granted.did(), Did::Nothing, "grant {entitlement}");
        assert!(changes.lists(entitlement, principal).await, "{entitlement}");
    }
    for (entitlement, principal) in STEPS.into_iter().rev() {
        assert_eq!(
            changes.revoke(entitlement, principal).await.unwrap().did(),
            Did::Changed,
            "{entitlement}"
        );
        assert!(!changes.lists(entitlement, principal).await, "{entitlement}");
    }
}

/// Requests each resource type by id.
pub(crate) async fn reads_each_type(changes: &Changes) {
    for (kind, id) in [("org", "o1"), ("user", "u1"), ("group", "g1"), ("page", "p1"), ("resource", "r1")] {
        changes.client.get(kind, id).await.unwrap();
    }
}

/// Runs every look-up of an account. The double gives these answers only, so it runs no statement itself.
pub(crate) async fn looks_up_accounts(stage: &Stage) {
    let client = stage.database.client().await;
    let row = client.query_one("SELECT sid::text, email::text FROM users WHERE id = 5", &[]).await.unwrap();
    let (sid, email): (String, String) = (row.get(0), row.get(1));
    let made = json!({"id": sid, "legacy_id": 5, "email": email, "active": true});
    stage.api.next("POST", Reply::json(200, json!({"success": true, "data": made})));
    assert_eq!(result(&stage.create(&with_email(&email)).await.unwrap()).0, "success");
    stage.api.always("GET", Reply::json(200, json!({"success": true, "data": [], "has_more": false})));
    stage.api.next("POST", Reply::refusal(409, "exists"));
    assert_eq!(result(&stage.create(&with_email(&email)).await.unwrap()).0, "already exists");
    stage.api.next("PATCH", Reply::refusal(400, "no"));
    assert_failed(&stage.act("disable_user", "u5").await, &["InvalidArgument: "]);
}

#[tokio::test]
async fn a_sync_agrees_with_the_oracle_and_every_change_is_made() {
    let database = Database::small().await;
    database.execute(WORLD).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let url = database.url_as(&role);
    let oracle = Oracle::read(database.reader().await.as_ref(), false).await;
    let stage = Stage::serve(database, &url, &["--provisioning"]).await;
    let changes = Changes::of(&stage.server).await;

    for sync in ["", A_SYNC] {
        let listed = changes.client.in_sync(sync).everything().await;
        assert_eq!(facts(&listed.grants), oracle.grants(), "sync {sync:?}");
        assert_eq!(listed.resources.len(), oracle.resources().len(), "sync {sync:?}");
    }
    reads_each_type(&changes).await;
    makes_every_change(&changes).await;
    looks_up_accounts(&stage).await;

    let doctor = program().args(["doctor", "--provisioning", "--connection-string", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!text.lines().any(|line| line.starts_with("failed")), "{text}");
    assert!(doctor.status.success(), "{text}");
}

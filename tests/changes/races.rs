//! Changes while other clients change the same rows, and changes whose caller cancels.

use std::time::{Duration, Instant};

use tonic::Code;

use super::faults::{CALLS, on_its_way, until_blocked, world};
use crate::support::changes::{Changes, Did, Tables};
use crate::support::wire::eventually;

#[tokio::test]
async fn waiting_changes_leave_a_connection_for_reads() {
    let database = world().await;
    let url = format!("{}?pool_max_conns=2", database.url());
    // The deadline leaves time for two attempts that wait for a lock.
    let (changes, _server) = Changes::serving_at(&url, &["--request-timeout-seconds", "15"]).await;
    let mut retool = database.client().await;
    let holding = retool.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE group_pages IN EXCLUSIVE MODE").await.unwrap();
    let calls: Vec<_> = (0..4).map(|_| on_its_way(&changes, "page:p100:group:write", "group/g100")).collect();
    until_blocked(&database).await;
    // Within the timeouts of a change for a lock and of a read for a connection.
    assert_eq!(changes.listed("group:g100:member").await, []);
    holding.rollback().await.unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let holding = retool.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE user_groups IN EXCLUSIVE MODE").await.unwrap();
    let status = changes.grant("group:g100:member", "user/u100").await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(status.message().contains("lock_timeout"), "{}", status.message());
}

#[tokio::test]
async fn a_membership_created_concurrently_counts_as_already_granted() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (call, sql) in [
        (
            ("group:g100:member", "user/u100"),
            r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (100, 100, now(), now())"#,
        ),
        (
            ("page:p100:group:write", "group/g100"),
            r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt") VALUES (100, 100, 'own', now(), now())"#,
        ),
    ] {
        let mut retool = database.client().await;
        let writing = retool.transaction().await.unwrap();
        writing.batch_execute(sql).await.unwrap();
        let call = on_its_way(&changes, call.0, call.1);
        until_blocked(&database).await;
        writing.commit().await.unwrap();
        assert_eq!(call.await.unwrap().unwrap().did(), Did::Nothing, "{sql}");
    }

    // A weaker membership created concurrently is detected and replaced.
    let mut retool = database.client().await;
    let writing = retool.transaction().await.unwrap();
    let sql = r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (7, 100, now(), now())"#;
    writing.batch_execute(sql).await.unwrap();
    let call = on_its_way(&changes, "group:g100:admin", "user/u7");
    until_blocked(&database).await;
    writing.commit().await.unwrap();
    let member = Did::Replaced("group:g100:member:user:u7".to_owned());
    assert_eq!(call.await.unwrap().unwrap().did(), member);

    let level = database.client().await;
    let level = level.query_one(r#"SELECT "accessLevel" FROM group_pages WHERE "groupId" = 100"#, &[]).await;
    assert_eq!(level.unwrap().get::<_, String>(0), "own", "theirs is not lowered");
}

#[tokio::test]
async fn a_managed_group_created_concurrently_is_used() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let mut retool = database.client().await;
    let making = retool.transaction().await.unwrap();
    making
        .batch_execute(
            r#"INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt", "unpublishedReleaseAccess")
               VALUES (200, 'baton:page:100:read', 1, now(), now(), false)"#,
        )
        .await
        .unwrap();
    let call = on_its_way(&changes, "page:p100:user:read", "user/u100");
    until_blocked(&database).await;
    making.commit().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().did(), Did::Changed);
    let client = database.client().await;
    let row = client.query_one(r#"SELECT "groupId" FROM user_groups WHERE "userId" = 100"#, &[]).await;
    assert_eq!(row.unwrap().get::<_, i32>(0), 200);
}

#[tokio::test]
async fn concurrent_callers_get_one_of_the_two_outcomes() {
    let database = world().await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    let (other, _second) = Changes::serving(&database, &[]).await;
    for (entitlement, principal, _) in CALLS {
        for _ in 0..5 {
            let mut calls = Vec::new();
            for caller in [&changes, &other].repeat(5) {
                let (granting, revoking) = (caller.clone(), caller.clone());
                calls.push(tokio::spawn(async move { granting.grant(entitlement, principal).await }));
                calls.push(tokio::spawn(async move { revoking.revoke(entitlement, principal).await }));
            }
            for call in calls {
                call.await.unwrap().unwrap_or_else(|status| panic!("{entitlement}: {status:?}"));
            }
            let rows = changes.listed(entitlement).await;
            let wanted = format!("{entitlement}:{}", principal.replace('/', ":"));
            assert!(rows.iter().filter(|grant| grant.id == wanted).count() <= 1);
            changes.revoke(entitlement, principal).await.unwrap();
            assert!(!changes.lists(entitlement, principal).await);
        }
    }
    drop(server);
    let groups = "SELECT count(*) FROM groups WHERE name LIKE 'baton:page:%'";
    let client = database.client().await;
    assert_eq!(client.query_one(groups, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test]
async fn a_cancelled_change_is_rolled_back_and_its_statement_cancelled() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let before = Tables::of(&database).await;
    let mut retool = database.client().await;
    let holding = retool.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE user_groups IN EXCLUSIVE MODE").await.unwrap();
    let call = on_its_way(&changes, "page:p100:user:read", "user/u100");
    until_blocked(&database).await;
    call.abort();
    let started = Instant::now();
    let client = database.client().await;
    eventually("no statement that waits", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(15));
    holding.rollback().await.unwrap();
    before.assert_same(&Tables::of(&database).await);
    assert_eq!(changes.grant("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
}

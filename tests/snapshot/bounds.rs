//! Snapshots stay within their memory limit, regardless of the requests.

use crate::support::client::Client;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

const MIB: u64 = 1024 * 1024;

fn count(server: &Server, message: &str) -> usize {
    let says = |line: &serde_json::Value| line["msg"].as_str().is_some_and(|text| text.contains(message));
    server.logs().iter().filter(|line| says(line)).count()
}

/// Each call names another sync, and none of the syncs ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_unfinished_syncs_stay_within_the_memory_limit() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let client = Client::of(&server).await;
    let whole = client.grant_ids("group", "g1").await;
    let ask = async |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let sync = client.in_sync(&format!("made up {number}"));
            assert_eq!(sync.grant_ids("group", "g1").await, whole);
            // A snapshot that is not used for a while can be replaced.
            if number % 20 == 0 {
                assert_eq!(client.in_sync("made up 0").grant_ids("group", "g1").await, whole);
            }
        }
    };
    ask(0..20).await;
    let before = server.memory();
    let parts = (0..10).map(|part| ask(20 + part * 98..20 + (part + 1) * 98));
    futures_util::future::join_all(parts).await;
    // Some snapshots are read at once, then one from time to time; statements answer all other syncs.
    let reads = count(&server, "read a snapshot of access for a sync");
    assert!((1..20).contains(&reads), "{reads}");
    if let (Some(before), Some(after)) = (before, server.memory()) {
        assert!(after < before + 32 * MIB, "{before} and {after} bytes");
    }
    // A sync keeps its snapshot.
    let kept = client.in_sync("made up 0");
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 1"#).await;
    assert_eq!(kept.grant_ids("group", "g1").await, whole);
    assert!(client.grant_ids("group", "g1").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_does_not_fit_is_answered_by_statements_with_one_log_line() {
    // About 30,000 memberships and users, which exceed 1 MiB.
    let database = Database::seeded(Sizes { users: 30_000, groups: 5, pages: 2, resources: 2 }).await;
    let server = Server::start(&database, &["--snapshot-max-mib=1"]);
    let client = Client::of(&server).await;
    for name in ["first", "second", "first"] {
        let sync = client.in_sync(name);
        assert_eq!(sync.grant_ids("group", "g2").await, client.grant_ids("group", "g2").await);
    }
    assert_eq!(count(&server, "does not fit into --snapshot-max-mib"), 1);
    assert_eq!(count(&server, "read a snapshot of access"), 0);
}

#[tokio::test]
async fn reads_no_snapshot_if_snapshots_are_disabled() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--snapshot-max-mib=0"]);
    let client = Client::of(&server).await;
    let sync = client.in_sync("sync");
    let before = sync.everything().await.grants;
    assert_eq!(before, client.everything().await.grants);
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 6"#).await;
    assert!(sync.grant_ids("group", "g6").await.is_empty());
    assert_eq!(count(&server, "read a snapshot of access"), 0);
}

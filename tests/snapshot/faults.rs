//! Syncs that run in parallel, end early, or encounter an unavailable database.

use baton_retool::proto::connector::{ConnectorServiceCleanupRequest, ConnectorServiceCleanupResponse};
use tonic::Code;

use crate::support::client::{Client, Listing, named};
use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, eventually};

const READ: &str = "read a snapshot of access for a sync";

fn reads(server: &Server) -> usize {
    server.logs().iter().filter(|line| line["msg"] == READ).count()
}

fn grants(id: &str) -> Listing {
    Listing::Grants(named("group", id))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_one_sync_share_one_read_and_no_transaction_stays_open() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let sync = Client::of(&server).await.in_sync("sync");
    let listings = sync.listings().await;
    let calls = listings.iter().map(|listing| sync.pages(listing, 0));
    futures_util::future::join_all(calls).await;
    assert_eq!(reads(&server), 1);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'baton-retool' AND xact_start IS NOT NULL";
    let client = database.client().await;
    eventually("the end of all transactions", async || {
        let open: i64 = client.query_one(open, &[]).await.unwrap().get(0);
        (open == 0).then_some(())
    })
    .await;
    Wire::to(&server).await.validate().await.unwrap();
    database.wait_for_the_count_of_crossing_memberships().await;
    // From here on, grants need no database query.
    database.forget_statements().await;
    sync.pages(&grants("g1"), 0).await;
    assert_eq!(database.statements().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_parallel_syncs_have_separate_snapshots() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let client = Client::of(&server).await;
    let (first, second) = (client.in_sync("first"), client.in_sync("second"));
    let before = client.grant_ids("group", "g6").await;
    assert_eq!(first.grant_ids("group", "g6").await, before);
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 6"#).await;
    let (first_all, second_all) = tokio::join!(first.everything(), second.everything());
    assert_eq!(reads(&server), 2);
    assert!(first_all.grants.len() > second_all.grants.len());
    assert_eq!(first.grant_ids("group", "g6").await, before);
    assert_eq!(second.grant_ids("group", "g6").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_read_returns_its_session() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    database.execute(&format!("ALTER ROLE {} SET lock_timeout = '100ms'", role.name)).await;
    let server = Server::start_at(&format!("{}?pool_max_conns=1", database.url_as(&role)), &[]);
    let client = Client::of(&server).await;
    let expected = client.grant_ids("group", "g6").await;
    let before = database.sessions().await;
    let mut locking = database.client().await;
    let transaction = locking.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE group_pages").await.unwrap();
    // The snapshot needs the table, and the statement that replaces it does not.
    assert_eq!(client.in_sync("sync").grant_ids("group", "g6").await, expected);
    assert_eq!((reads(&server), database.sessions().await), (0, before));
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn cleanup_ends_a_snapshot() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let client = Client::of(&server).await;
    let sync = client.in_sync("sync");
    let before = sync.grant_ids("group", "g6").await;
    assert!(!before.is_empty());
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 6"#).await;
    let wire = Wire::to(&server).await;
    let clean = async |id: &str| {
        let request = ConnectorServiceCleanupRequest { active_sync_id: id.to_owned(), ..Default::default() };
        let _: ConnectorServiceCleanupResponse =
            wire.call("ConnectorService/Cleanup", &request).await.unwrap();
    };
    clean("another").await;
    assert_eq!(sync.grant_ids("group", "g6").await, before);
    clean("sync").await;
    // The same id starts a new snapshot.
    assert_eq!(sync.grant_ids("group", "g6").await, Vec::<String>::new());
    assert_eq!(reads(&server), 2);
}

/// A program that is killed during a sync loses its snapshot; the next program continues the sync with a new
/// one.
#[tokio::test(flavor = "multi_thread")]
async fn another_program_continues_an_interrupted_sync() {
    let database = Database::small().await;
    let listing = Listing::Grants(named("resource", "r1"));
    let server = Server::start(&database, &[]);
    let sync = Client::of(&server).await.in_sync("sync");
    let whole: Vec<_> = sync.pages(&listing, 0).await.into_iter().flat_map(|page| page.rows).collect();
    let first = sync.page(&listing, 7, String::new()).await.unwrap();
    drop(server);
    let server = Server::start(&database, &[]);
    let sync = Client::of(&server).await.in_sync("sync");
    let (mut rows, mut token) = (first.rows, first.next);
    while !token.is_empty() {
        let page = sync.page(&listing, 7, token).await.unwrap();
        rows.extend(page.rows);
        token = page.next;
    }
    assert_eq!(rows, whole);
    assert_eq!(reads(&server), 1);
}

/// If all callers disconnect while a snapshot is read, the read is cancelled, including its statement in the
/// database.
#[tokio::test(flavor = "multi_thread")]
async fn cancels_a_read_that_no_caller_waits_for() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    // The check at startup runs statements too.
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let sync = Client::of(&server).await.in_sync("sync");
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups").await.unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let sync = sync.clone();
            tokio::spawn(async move { sync.page(&grants("g1"), 0, String::new()).await.map(drop) })
        })
        .collect();
    database.wait_until_blocked(1).await;
    assert_eq!(database.statements_in_progress().await, 1);
    for call in calls {
        call.abort();
    }
    eventually("the end of the read", async || (database.statements_in_progress().await == 0).then_some(()))
        .await;
    assert_eq!(reads(&server), 0);
    transaction.rollback().await.unwrap();
    assert!(!sync.grant_ids("group", "g1").await.is_empty());
    assert_eq!(reads(&server), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_fail_while_the_database_is_down_and_recover_afterwards() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let server = Server::start(&database, &["--connect-timeout-seconds", "5"]);
    let client = Client::of(&server).await;
    let sync = client.in_sync("sync");
    let whole = client.grant_ids("group", "g1").await;
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups").await.unwrap();
    let call = tokio::spawn({
        let sync = sync.clone();
        async move { sync.page(&grants("g1"), 0, String::new()).await.map(drop) }
    });
    database.wait_until_blocked(1).await;
    cluster.stop();
    assert_refused(call.await.unwrap(), Code::Unavailable, &[]);
    let again = sync.page(&grants("g1"), 0, String::new()).await;
    assert_refused(again.map(drop), Code::Unavailable, &["cannot connect"]);
    cluster.start();
    assert_eq!(sync.grant_ids("group", "g1").await, whole);
    assert_eq!(reads(&server), 1);
    // A snapshot in memory needs no database.
    cluster.stop();
    assert_eq!(sync.grant_ids("group", "g1").await, whole);
    cluster.start();
}

/// A snapshot that takes too long does not fail the sync: statements answer it as far as possible.
#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_if_a_snapshot_cannot_be_read() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--statement-timeout-seconds", "4"]);
    let client = Client::of(&server).await;
    let sync = client.in_sync("sync");
    let whole = client.grant_ids("group", "g1").await;
    let mut holder = database.client().await;
    let transaction = holder.transaction().await.unwrap();
    // The members of a group do not require this table.
    transaction.batch_execute("LOCK TABLE group_resources").await.unwrap();
    assert_eq!(sync.grant_ids("group", "g1").await, whole);
    server.wait_for_log(|line| {
        line["msg"].as_str().is_some_and(|text| {
            text.contains("could not be read; syncs are answered with SQL statements instead")
        })
    });
    transaction.rollback().await.unwrap();
    // Later calls do not retry it.
    assert_eq!(sync.grant_ids("group", "g1").await, whole);
    assert_eq!(reads(&server), 0);
}

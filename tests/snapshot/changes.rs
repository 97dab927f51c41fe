//! What a sync sees of changes that occur while it runs.

use crate::support::changes::{Changes, Did};
use crate::support::client::{Client, id_of};
use crate::support::postgres::Database;
use crate::support::server::Server;

#[tokio::test]
async fn a_sync_sees_one_point_in_time_and_other_calls_the_current_state() {
    let database = Database::small().await;
    let now = Client::serving(&database, &[]).await;
    let sync = now.in_sync("first");
    let before = now.grant_ids("group", "g6").await;
    assert_eq!(sync.grant_ids("group", "g6").await, before);
    // User 1 moves from one group to another.
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "userId" = 1 AND "groupId" IN (6, 7);
               INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (1, 7, now(), now())"#,
        )
        .await;
    let moved = |ids: &[String]| ids.iter().any(|id| id.ends_with(":user:u1"));
    assert!(moved(&now.grant_ids("group", "g7").await) && !moved(&now.grant_ids("group", "g6").await));
    assert_eq!(sync.grant_ids("group", "g6").await, before);
    // A sync that begins now has its own snapshot.
    let next = now.in_sync("second");
    assert_eq!(next.grant_ids("group", "g7").await, now.grant_ids("group", "g7").await);
    assert_eq!(sync.grant_ids("group", "g6").await, before);
}

/// A change does not affect running syncs, which see one point in time. The next sync sees it.
#[tokio::test]
async fn the_next_sync_sees_a_change_made_by_the_connector() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--provisioning"]);
    let (now, changes) = (Client::of(&server).await, Changes::of(&server).await);
    let sync = now.in_sync("first");
    let before = sync.grant_ids("group", "g6").await;
    let granted = "group:g6:member:user:u10".to_owned();
    assert!(!before.contains(&granted));
    let answer = changes.grant("group:g6:member", "user/u10").await.unwrap();
    assert_eq!(answer.did(), Did::Changed);
    // The change itself reads and returns the current state.
    let again = changes.grant("group:g6:member", "user/u10").await.unwrap();
    assert_eq!(again.did(), Did::Nothing);
    assert!(now.grant_ids("group", "g6").await.contains(&granted));
    assert_eq!(sync.grant_ids("group", "g6").await, before);
    assert!(now.in_sync("second").grant_ids("group", "g6").await.contains(&granted));
}

/// Rows that are added while a sync runs are neither listed nor granted in it.
#[tokio::test]
async fn new_rows_belong_to_the_next_sync() {
    let database = Database::small().await;
    let now = Client::serving(&database, &[]).await;
    let sync = now.in_sync("first");
    let of = async |client: &Client| {
        let mut listed = Vec::new();
        for type_id in ["user", "group", "page", "resource"] {
            listed.push(client.listed(type_id, Some("o1")).await);
        }
        listed.push(client.listed("org", None).await);
        listed
    };
    let before = of(&sync).await;
    database
        .execute(
            r#"INSERT INTO organizations (id, name, "createdAt", "updatedAt") VALUES (500, 'New', now(), now());
               INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt")
                   VALUES (500, 'new@acme.example', 1, now(), now());
               INSERT INTO groups (id, name, "organizationId", "universalAccess", "createdAt", "updatedAt")
                   VALUES (500, 'new', 1, 'own', now(), now());
               INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
                   VALUES (500, 500, now(), now()), (500, 6, now(), now());
               INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
                   VALUES (500, 'new', 1, 1, now(), now());
               INSERT INTO resources (id, name, type, "organizationId", "createdAt", "updatedAt")
                   VALUES (500, 'new', 'mysql', 1, now(), now())"#,
        )
        .await;
    assert_eq!(of(&sync).await, before);
    let after = of(&now).await;
    for (after, before) in after.iter().zip(&before) {
        assert_eq!(after.len(), before.len() + 1);
    }
    assert!(!sync.grant_ids("group", "g6").await.iter().any(|id| id.ends_with("u500")));
    assert_eq!(sync.grant_ids("group", "g500").await, Vec::<String>::new());
    assert_eq!(of(&now.in_sync("second")).await, after);
}

/// Pages of an exact size stay full if rows are left out.
#[tokio::test]
async fn pages_stay_full_if_new_rows_are_left_out() {
    let database = Database::small().await;
    let now = Client::serving(&database, &[]).await;
    let sync = now.in_sync("first");
    let before = sync.listed("page", Some("o1")).await;
    database
        .execute(
            r#"INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
               SELECT i, 'new ' || i, 1, 1, now(), now() FROM generate_series(-100, 400) i
               ON CONFLICT DO NOTHING"#,
        )
        .await;
    let listing = crate::support::client::Listing::Resources("page", Some("o1"));
    for size in [1, 2, 5, 250] {
        let pages = sync.pages(&listing, size).await;
        for page in &pages {
            assert!(page.rows.len() == size as usize || page.next.is_empty(), "{size}");
        }
        assert_eq!(pages.iter().map(|page| page.rows.len()).sum::<usize>(), before.len(), "{size}");
    }
}

/// Rows that are removed before the sync has listed them are not listed, and no grant refers to them.
#[tokio::test]
async fn no_grant_names_a_principal_that_the_sync_does_not_list() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--skip-disabled-users"]);
    let now = Client::of(&server).await;
    let sync = now.in_sync("first");
    // This call reads the snapshot, before users and groups are listed.
    assert_eq!(sync.listed("org", None).await, ["o1", "o2"]);
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "userId" = 5; DELETE FROM users WHERE id = 5;
               UPDATE users SET enabled = false WHERE id = 7;
               UPDATE groups SET "archivedAt" = now() WHERE id = 3;
               SET session_replication_role = replica;
               UPDATE users SET "organizationId" = 2 WHERE id = 9"#,
        )
        .await;
    let all = sync.everything().await;
    let listed: Vec<&str> = all.resources.iter().map(id_of).collect();
    assert!(!["u5", "u7", "g3"].iter().any(|gone| listed.contains(gone)), "{listed:?}");
    assert!(listed.contains(&"u9"));
    let mut named = 0;
    for grant in &all.grants {
        let principal = id_of(grant.principal.as_ref().unwrap());
        assert!(listed.contains(&principal), "{}", grant.id);
        named += usize::from(principal == "u9");
    }
    // A user who only moved keeps the grants of the snapshot.
    assert!(named > 0);
}

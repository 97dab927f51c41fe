//! A snapshot returns the same results as statements: the same rows in the same order, with page tokens that
//! are interchangeable.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::client::{Client, Listing};
use crate::support::organization::{random, with_rows};
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

/// The number of listings of syncs for each source, from the metrics.
async fn sources(server: &Server) -> (f64, f64) {
    let line = server.wait_for_log(|line| line["msg"] == "metrics listening");
    let address = line["address"].as_str().unwrap().parse().unwrap();
    let text = crate::support::http::ask(address, "GET", "/metrics").body;
    let count = |source: &str| {
        let series = format!("baton_retool_snapshot_listings_total{{source=\"{source}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(series.as_str()))
            .map_or(0.0, |value| value.parse().unwrap())
    };
    (count("snapshot"), count("statements"))
}

/// The rows of a listing whose pages come from two clients in an order that `seed` determines.
async fn mixed(clients: [&Client; 2], listing: &Listing, size: u32, seed: u64) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut rows, mut token) = (Vec::new(), String::new());
    loop {
        let page = clients[random.random_range(0..2)].page(listing, size, token.clone()).await.unwrap();
        assert!(page.next.is_empty() || page.next != token, "{listing:?}: the page token repeats");
        rows.extend(page.rows);
        token = page.next;
        if token.is_empty() {
            return rows;
        }
    }
}

/// Compares every listing of both sources: complete, in pages of these sizes, and with pages of the last of these sizes
/// from both.
async fn both_agree(database: &Database, sizes: &[u32], flags: &[&str], context: &str) {
    let flags: Vec<&str> = flags.iter().copied().chain(["--metrics-listen=127.0.0.1:0"]).collect();
    let server = Server::start_quietly(&database.url(), &flags);
    let now = Client::of(&server).await;
    let sync = now.in_sync("2rZ7Jm3ySzNWgeZ9LTGYo3TjXtU");
    let listings = now.listings().await;
    for listing in &listings {
        let whole: Vec<_> = now.pages(listing, 0).await.into_iter().flat_map(|page| page.rows).collect();
        for size in [0].iter().chain(sizes) {
            let pages = sync.pages(listing, *size).await;
            for page in &pages {
                let is_full = *size == 0 || page.rows.len() == *size as usize;
                assert!(is_full || page.next.is_empty(), "{context}, {flags:?}: {size}: {listing:?}");
            }
            let rows: Vec<_> = pages.into_iter().flat_map(|page| page.rows).collect();
            assert_eq!(rows, whole, "{context}, {flags:?}: {size}: {listing:?}");
        }
        let size = sizes.last().copied().unwrap_or_default();
        let rows = mixed([&now, &sync], listing, size, u64::from(size)).await;
        assert_eq!(rows, whole, "{context}, {flags:?}: mixed, {size}: {listing:?}");
    }
    let (of_snapshot, of_statements) = sources(&server).await;
    assert!(of_snapshot > listings.len() as f64, "{context}: {of_snapshot}");
    assert_eq!(of_statements, 0.0, "{context}");
    // Compares complete grants, not only their ids.
    let (of_sync, of_now) = (sync.everything().await, now.everything().await);
    assert_eq!(of_sync.grants, of_now.grants, "{context}, {flags:?}");
    assert_eq!(of_sync.resources, of_now.resources, "{context}, {flags:?}");
    assert_eq!(of_sync.entitlements, of_now.entitlements, "{context}, {flags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_organizations_are_equal_at_every_page_size() {
    for (seed, size) in [(100, 1), (101, 2), (102, 3)] {
        let database = random(seed).await;
        let context = format!("seed {seed}");
        both_agree(&database, &[250, size], &[], &context).await;
        both_agree(&database, &[3], &["--skip-disabled-users"], &context).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeded_organization_is_equal_in_both_sources() {
    both_agree(&Database::small().await, &[250, 5], &[], "seed").await;
    let sizes = Sizes { users: 300, groups: 25, pages: 20, resources: 10 };
    both_agree(&Database::seeded(sizes).await, &[50], &[], "larger seed").await;
}

/// Managed groups with either form of name, groups whose names only look similar, and groups with additional
/// access.
#[tokio::test(flavor = "multi_thread")]
async fn managed_groups_are_equal_in_both_sources() {
    let database = with_rows(
        r#"
        INSERT INTO users (id, "organizationId", enabled)
            VALUES (1, 1, true), (2, 1, true), (3, 1, false), (4, NULL, true), (5, 2, true);
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 1), (2, 1, 1), (3, 2, 1);
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId", name) VALUES
            (1, 1, 'baton:page:1:read'), (2, 1, 'baton:page:1:write'), (3, 1, '0xabc1-group-a page-own'),
            (4, 1, 'baton:page:2:read'), (5, 1, 'baton:page:1:own'), (6, 1, 'x-group-y'),
            (7, 2, 'baton:page:3:read'), (8, 1, '471-group-line
break-read');
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel") VALUES
            (1, 1, 'read'), (2, 1, 'write'), (3, 1, 'own'), (4, 2, 'read'), (5, 1, 'own'), (5, 2, 'read'),
            (6, 1, 'read'), (7, 3, 'read'), (8, 1, 'read');
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel") VALUES (4, 1, 'read');
        INSERT INTO user_groups ("userId", "groupId", "isAdmin")
            SELECT u, g, u = 2 FROM generate_series(1, 5) u, generate_series(1, 8) g WHERE (u + g) % 3 > 0"#,
    )
    .await;
    both_agree(&database, &[3, 1], &[], "managed groups").await;
    both_agree(&database, &[3], &["--skip-disabled-users"], "managed groups").await;
}

/// Without optional privileges, and without tables that the settings exclude.
#[tokio::test(flavor = "multi_thread")]
async fn roles_with_fewer_privileges_get_equal_results() {
    let database = random(200).await;
    let role = database.documented_role(&[]).await;
    let name = &role.name;
    let agree = async |flags: &[&str], context: &str| {
        let server = Server::start_at(&database.url_as(&role), flags);
        let now = Client::of(&server).await;
        let sync = now.in_sync("sync");
        let (of_sync, of_now) = (sync.everything().await, now.everything().await);
        assert_eq!(of_sync.grants, of_now.grants, "{context}");
        assert_eq!(of_sync.resources, of_now.resources, "{context}");
        let read = server.logs().iter().any(|line| line["msg"] == "read a snapshot of access for a sync");
        assert!(read, "{context}");
        of_sync.grants.len()
    };
    let all = agree(&[], "all privileges").await;
    database.execute(&format!(r#"REVOKE SELECT ("archivedAt") ON groups FROM {name}"#)).await;
    let with_archived = agree(&[], "no archivedAt").await;
    assert!(with_archived > all, "{with_archived} {all}");
    database.execute(&format!(r#"REVOKE SELECT ("resourceIdForEnv") ON group_resources FROM {name}"#)).await;
    let without_environments = agree(&[], "no resourceIdForEnv").await;
    assert!(without_environments < with_archived, "{without_environments} {with_archived}");
    for table in ["resources", "group_resources", "group_resource_folder_defaults"] {
        database.execute(&format!("REVOKE SELECT ON {table} FROM {name}")).await;
    }
    agree(&["--skip-resources"], "no resources").await;
    for table in ["pages", "group_pages", "group_folder_defaults"] {
        database.execute(&format!("REVOKE SELECT ON {table} FROM {name}")).await;
    }
    agree(&["--skip-resources", "--skip-pages"], "no pages").await;
}

/// A version of Retool without a column, and with keys of another type.
#[tokio::test(flavor = "multi_thread")]
async fn other_retool_versions_give_equal_results() {
    let database = random(201).await;
    database
        .execute(
            r#"ALTER TABLE group_resources DROP COLUMN "resourceIdForEnv";
               ALTER TABLE groups DROP COLUMN "archivedAt";
               -- Some of the random rows refer to nothing, which a change of type would notice.
               ALTER TABLE group_pages DROP CONSTRAINT "group_pages_groupId_fkey", DROP CONSTRAINT "group_pages_pageId_fkey";
               ALTER TABLE pages DROP CONSTRAINT "pages_folderId_fkey";
               ALTER TABLE group_pages ALTER "groupId" TYPE bigint, ALTER "pageId" TYPE bigint;
               ALTER TABLE pages ALTER "folderId" TYPE bigint"#,
        )
        .await;
    both_agree(&database, &[2], &[], "another version").await;
}

/// Another program, without a snapshot or with its own, continues a listing.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_continues_a_listing_of_a_sync() {
    let database = Database::small().await;
    let first = Client::serving(&database, &[]).await.in_sync("sync");
    let second = Client::serving(&database, &[]).await.in_sync("sync");
    let without = Client::serving(&database, &["--snapshot-max-mib=0"]).await.in_sync("sync");
    for listing in first.listings().await {
        let whole: Vec<_> = without.pages(&listing, 0).await.into_iter().flat_map(|page| page.rows).collect();
        for pair in [[&first, &second], [&first, &without]] {
            assert_eq!(mixed(pair, &listing, 3, 7).await, whole, "{listing:?}");
        }
    }
}

//! Listings with any page size: during concurrent writes, across restarts and replicas.

use std::collections::BTreeSet;

use crate::support::client::{Client, Listing, assert_no_doubles, named};
use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

/// The most bytes of a page of a listing (decision page-size).
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;

fn rows(pages: Vec<crate::support::client::Answer<String>>) -> Vec<String> {
    pages.into_iter().flat_map(|page| page.rows).collect()
}

/// All kinds of listings with more than one page in the small organization.
fn interesting() -> Vec<Listing> {
    vec![
        Listing::Resources("user", Some("o1")),
        Listing::Resources("group", Some("o1")),
        Listing::Resources("page", Some("o1")),
        Listing::Resources("resource", Some("o1")),
        Listing::Grants(named("org", "o1")),
        Listing::Grants(named("group", "g1")),
        Listing::Grants(named("page", "p1")),
        Listing::Grants(named("resource", "r1")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_size_gives_the_same_rows_in_full_pages() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let mut met = BTreeSet::new();
    for (number, listing) in client.listings().await.into_iter().enumerate() {
        let whole = rows(client.pages(&listing, 0).await);
        assert_no_doubles(&whole);
        // Small pages need many calls, so each listing has one of these sizes.
        let small = [1, 2, 3][number % 3];
        for size in [small, 250] {
            let pages = client.pages(&listing, size).await;
            for page in &pages {
                let last = page.next.is_empty();
                let full = page.rows.len() == size as usize;
                assert!(full || (last && page.rows.len() < size as usize), "{size}: {listing:?}");
                // A last page is empty only if the whole listing is.
                assert!(!page.rows.is_empty() || whole.is_empty(), "{size}: {listing:?}");
            }
            assert_eq!(rows(pages), whole, "{size}: {listing:?}");
        }
        if whole.len() > 3 {
            met.insert(format!("{listing:?}").split([' ', '(']).next().unwrap().to_owned());
        }
    }
    assert_eq!(met.len(), 4, "a kind of listing has nothing to page through: {met:?}");
}

#[tokio::test]
async fn a_page_holds_the_requested_number_of_rows_up_to_the_maximum() {
    let database = Database::seeded(Sizes::SEVERAL_PAGES).await;
    let client = Client::serving(&database, &[]).await;
    for listing in [
        Listing::Resources("user", Some("o1")),
        Listing::Resources("page", Some("o1")),
        Listing::Resources("resource", Some("o1")),
        Listing::Grants(named("org", "o1")),
        Listing::Grants(named("group", "g1")),
        Listing::Grants(named("resource", "r1")),
    ] {
        let first = client.page(&listing, 250, String::new()).await.unwrap();
        assert_eq!(first.rows.len(), 250, "{listing:?}");
        let whole = rows(client.pages(&listing, 0).await);
        assert_eq!(rows(client.pages(&listing, 250).await), whole, "{listing:?}");
        assert_eq!(rows(client.pages(&listing, 30).await), whole, "{listing:?}");
    }
}

/// Between any two pages, rows before, after and at the position of the listing are deleted or added.
#[tokio::test(flavor = "multi_thread")]
async fn unchanged_rows_are_listed_once_during_concurrent_writes() {
    let database = Database::small().await;
    // Every second object is deleted or added; the others stay. New objects also reuse keys.
    let churn = r#"
        DELETE FROM user_groups WHERE "userId" % 2 = 0 AND ("userId" * 7 + {n}) % 3 = 0;
        DELETE FROM users WHERE id % 2 = 0 AND (id * 7 + {n}) % 5 = 0;
        INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt")
            SELECT i, 'new' || i || '@acme.example', 1, now(), now() FROM generate_series(2, 80, 2) i
            WHERE (i + {n}) % 4 = 0 ON CONFLICT DO NOTHING;
        INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
            SELECT u.id, g.id, now(), now() FROM users u, groups g
            WHERE u.id % 2 = 0 AND u."organizationId" = 1 AND g."organizationId" = 1 AND (u.id + g.id + {n}) % 3 = 0
            ON CONFLICT DO NOTHING;
        DELETE FROM pages WHERE id % 2 = 0 AND (id + {n}) % 3 = 0 AND "organizationId" = 1;
        INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
            SELECT i, 'new ' || i, 1, 1, now(), now() FROM generate_series(2, 40, 2) i
            WHERE (i + {n}) % 4 = 0 ON CONFLICT DO NOTHING;
        DELETE FROM resources WHERE id % 2 = 0 AND (id + {n}) % 3 = 0 AND "organizationId" = 1;
        INSERT INTO resources (id, name, type, "organizationId", "createdAt", "updatedAt")
            SELECT i, 'new ' || i, 'mysql', 1, now(), now() FROM generate_series(2, 24, 2) i
            WHERE (i + {n}) % 4 = 0 ON CONFLICT DO NOTHING;
        DELETE FROM groups WHERE id % 2 = 0 AND (id + {n}) % 3 = 0 AND "organizationId" = 1 AND id > 4;
        INSERT INTO groups (id, name, "organizationId", "universalAccess", "universalResourceAccess", "createdAt", "updatedAt")
            SELECT i, 'new ' || i, 1, 'own', 'own', now(), now() FROM generate_series(6, 20, 2) i
            WHERE (i + {n}) % 4 = 0 ON CONFLICT DO NOTHING;"#;
    let client = Client::serving(&database, &[]).await;
    let writer = database.client().await;
    let mut n = 0;
    for listing in interesting() {
        let whole = client.pages(&listing, 0).await.iter().map(|page| page.rows.len()).sum::<usize>();
        // With these page sizes, the listing changes in the middle of a run.
        let parts = [4, 12].map(|pages| u32::try_from(whole / pages + 1).unwrap().min(250));
        for size in parts.into_iter().chain([1, 2, 3, 250, 0]) {
            // Skip page sizes that need too many pages, because each page takes a change.
            if size > 0 && whole / size as usize > 30 {
                continue;
            }
            let before = set(rows(client.pages(&listing, 0).await));
            // Rows in every state of the listing, that is, rows that existed the whole time.
            let mut lasting = before.clone();
            let mut ever = before;
            let (mut met, mut token) = (Vec::new(), String::new());
            loop {
                let page = client.page(&listing, size, token).await.unwrap();
                met.extend(page.rows);
                token = page.next;
                if token.is_empty() {
                    break;
                }
                n += 1;
                writer.batch_execute(&churn.replace("{n}", &n.to_string())).await.unwrap();
                let now = set(rows(client.pages(&listing, 0).await));
                lasting = lasting.intersection(&now).cloned().collect();
                ever.extend(now);
            }
            assert_no_doubles(&met);
            let met = set(met);
            assert!(!lasting.is_empty(), "{listing:?}");
            assert!(lasting.is_subset(&met), "{listing:?}: lost {:?}", lasting.difference(&met));
            assert!(met.is_subset(&ever), "{listing:?}: invented {:?}", met.difference(&ever));
        }
    }
}

/// The same at every page size, with a writer that never waits for the reader.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_listed_exactly_once_at_every_page_size_during_concurrent_writes() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    // Users with an odd key stay; users with an even key are deleted and added all the time.
    let churn = r#"
        DELETE FROM users WHERE id % 2 = 0 AND (id + {n}) % 3 = 0;
        INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt")
            SELECT i, 'new' || i || '@acme.example', 1, now(), now() FROM generate_series(2, 80, 2) i
            WHERE (i + {n}) % 3 = 1 ON CONFLICT DO NOTHING;
        INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
            SELECT u.id, 1, now(), now() FROM users u WHERE u.id % 2 = 0 AND u."organizationId" = 1
            ON CONFLICT DO NOTHING;"#;
    let lasting = |rows: &[String]| -> Vec<String> {
        let odd = |row: &&String| row.trim_end().ends_with(['1', '3', '5', '7', '9']);
        rows.iter().filter(odd).cloned().collect()
    };
    let listings = || {
        [
            Listing::Resources("user", Some("o1")),
            Listing::Grants(named("org", "o1")),
            Listing::Grants(named("group", "g1")),
            Listing::Grants(named("resource", "r1")),
        ]
    };
    let mut still = Vec::new();
    for listing in listings() {
        still.push(lasting(&rows(client.pages(&listing, 0).await)));
    }
    let writer = database.client().await;
    let writing = tokio::spawn(async move {
        for n in 0_u64.. {
            writer.batch_execute(&churn.replace("{n}", &n.to_string())).await.unwrap();
        }
    });
    for size in [1, 2, 3, 250, 0] {
        for (listing, still) in listings().into_iter().zip(&still) {
            let met = rows(client.pages(&listing, size).await);
            assert_no_doubles(&met);
            assert_eq!(&lasting(&met), still, "{size}: {listing:?}");
        }
    }
    assert!(!writing.is_finished(), "the concurrent writer stopped");
    writing.abort();
}

fn set(rows: Vec<String>) -> BTreeSet<String> {
    rows.into_iter().collect()
}

#[tokio::test]
async fn a_listing_continues_after_a_restart_and_on_another_replica() {
    let database = Database::small().await;
    for listing in interesting() {
        let first = Server::start(&database, &[]);
        let replica = Server::start(&database, &[]);
        let whole = rows(Client::of(&replica).await.pages(&listing, 0).await);
        let page = Client::of(&first).await.page(&listing, 3, String::new()).await.unwrap();
        let mut met = page.rows;
        let page = Client::of(&replica).await.page(&listing, 2, page.next).await.unwrap();
        met.extend(page.rows);
        drop(first);
        let restarted = Server::start(&database, &[]);
        let client = Client::of(&restarted).await;
        let mut token = page.next;
        while !token.is_empty() {
            let page = client.page(&listing, 0, token).await.unwrap();
            met.extend(page.rows);
            token = page.next;
        }
        assert_eq!(met, whole, "{listing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_stays_below_two_mebibytes_with_the_longest_names() {
    let database = Database::seeded(Sizes { users: 5_000, groups: 40, pages: 2_500, resources: 2_500 }).await;
    database
        .execute(
            r#"UPDATE organizations SET name = repeat('😀', 255);
            UPDATE users SET "firstName" = repeat('😀', 255), "lastName" = repeat('😀', 255),
                "userName" = repeat('😀', 245) || id, email = repeat('😀', 230) || id || '@x.example',
                "userType" = repeat('😀', 255);
            UPDATE groups SET name = repeat('😀', 245) || id, "universalAccess" = 'own', "universalResourceAccess" = 'own';
            UPDATE pages SET name = repeat('😀', 245) || id;
            UPDATE resources SET "displayName" = repeat('😀', 255), type = repeat('😀', 255)"#,
        )
        .await;
    let client = Client::serving(&database, &[]).await;
    let mut listings: Vec<_> =
        ["user", "group", "page", "resource"].map(|type_id| Listing::Resources(type_id, Some("o1"))).into();
    for (type_id, id) in [("org", "o1"), ("group", "g1"), ("page", "p1"), ("resource", "r1")] {
        let resource = client.get(type_id, id).await.unwrap();
        assert!(resource.display_name.len() > 900, "{type_id}");
        listings.extend([Listing::Entitlements(resource.clone()), Listing::Grants(resource)]);
    }
    let mut several = 0;
    for listing in listings {
        for size in [0, 250] {
            let pages = client.pages(&listing, size).await;
            for page in &pages {
                assert!(page.bytes < LARGEST_ANSWER, "{} bytes: {listing:?}", page.bytes);
            }
            if size == 0 && pages.len() > 1 {
                several += 1;
            }
            assert_no_doubles(&rows(pages));
        }
    }
    assert!(several >= 4, "only {several} listings were too large for one answer");
}

//! Complete listings, compared with an independent evaluation of the tables, one row at a time.

use std::collections::BTreeSet;

use crate::support::client::{Client, assert_no_doubles, facts, parent_of, path_of};
use crate::support::oracle::Oracle;
use crate::support::organization::{random, with_rows};
use crate::support::postgres::{Database, Sizes};

/// The two settings that decide which users are listed.
#[derive(Clone, Copy)]
enum Users {
    All,
    Enabled,
}

/// Compares with both settings.
async fn agrees_with_its_tables(database: &Database, context: &str) {
    for users in [Users::All, Users::Enabled] {
        agrees(database, users, context).await;
    }
}

/// Compares in both directions, and verifies that every principal of a grant is listed.
async fn agrees(database: &Database, users: Users, context: &str) {
    let flags: &[&str] = match users {
        Users::All => &[],
        Users::Enabled => &["--skip-disabled-users"],
    };
    let oracle = Oracle::read(database.reader().await.as_ref(), matches!(users, Users::Enabled)).await;
    let listed = Client::serving(database, flags).await.everything().await;
    let mut resources: Vec<String> = listed
        .resources
        .iter()
        .map(|resource| format!("{} below {}", path_of(resource), parent_of(resource)))
        .collect();
    resources.sort();
    let context = format!("{context}, {flags:?}");
    same(&oracle.resources(), &resources, &context);
    same(&oracle.grants(), &facts(&listed.grants), &context);

    let ids: BTreeSet<String> = listed.resources.iter().map(path_of).collect();
    let entitlements: BTreeSet<&str> = listed.entitlements.iter().map(|one| one.id.as_str()).collect();
    for fact in facts(&listed.grants) {
        assert!(ids.contains(&fact.principal), "{context}: {} is not listed", fact.principal);
        assert!(entitlements.contains(fact.entitlement.as_str()), "{context}: {fact:?}");
        assert!(fact.expands.iter().all(|id| entitlements.contains(id.as_str())), "{context}: {fact:?}");
    }
    assert_no_doubles(&listed.grants.into_iter().map(|grant| grant.id).collect::<Vec<_>>());
}

fn same<T: Ord + std::fmt::Debug>(expected: &[T], listed: &[T], context: &str) {
    let (expected_set, listed_set): (BTreeSet<_>, BTreeSet<_>) =
        (expected.iter().collect(), listed.iter().collect());
    let missing: Vec<_> = expected_set.difference(&listed_set).take(10).collect();
    let unexpected: Vec<_> = listed_set.difference(&expected_set).take(10).collect();
    assert!(
        missing.is_empty() && unexpected.is_empty(),
        "{context}:\nmissing {missing:#?}\nunexpected {unexpected:#?}"
    );
    assert_eq!(expected.len(), listed.len(), "{context}: a row is listed twice");
}

#[tokio::test]
async fn the_small_organization_agrees_with_the_oracle() {
    agrees_with_its_tables(&Database::small().await, "seed").await;
}

#[tokio::test]
async fn a_larger_organization_agrees_with_the_oracle() {
    let sizes = Sizes { users: 300, groups: 25, pages: 60, resources: 30 };
    agrees_with_its_tables(&Database::seeded(sizes).await, "larger seed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_organizations_agree_with_the_oracle() {
    for seed in 0..24 {
        let users = if seed % 2 == 0 { Users::All } else { Users::Enabled };
        agrees(&random(seed).await, users, &format!("seed {seed}")).await;
    }
}

/// One group for each combination of universal access, a row of the item and a folder's default.
#[tokio::test]
async fn every_combination_of_page_access_agrees_with_the_oracle() {
    let database = with_rows(
        r#"
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 1);
        CREATE TEMP TABLE combination AS
            SELECT row_number() OVER ()::int AS id, u, e, f
            FROM unnest(ARRAY['none', 'read', 'write', 'own']) u,
                 unnest(ARRAY[NULL, 'banana', 'read', 'write', 'own']) e,
                 unnest(ARRAY[NULL, 'banana', 'read', 'write', 'own']) f;
        INSERT INTO groups (id, "organizationId", "universalAccess") SELECT id, 1, u FROM combination;
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel")
            SELECT id, 1, e FROM combination WHERE e IS NOT NULL;
        INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel")
            SELECT id, 1, f FROM combination WHERE f IS NOT NULL;"#,
    )
    .await;
    let oracle = Oracle::read(database.reader().await.as_ref(), false).await.grants();
    assert_eq!(oracle.iter().filter(|fact| fact.entitlement == "page:p1:group:read").count(), 93);
    agrees_with_its_tables(&database, "pages").await;
}

/// The same for resources. The item's own row may name it in one of two columns, or in both with two rows.
#[tokio::test]
async fn every_combination_of_resource_access_agrees_with_the_oracle() {
    let database = with_rows(
        r#"
        INSERT INTO resources (id, "organizationId", "resourceFolderId") VALUES (1, 1, 1);
        CREATE TEMP TABLE combination AS
            SELECT row_number() OVER ()::int AS id, u, e, v, f
            FROM unnest(ARRAY['none', 'read', 'write', 'own']) u,
                 unnest(ARRAY[NULL, 'banana', 'read', 'write', 'own']) e,
                 unnest(ARRAY[NULL, 'banana', 'read', 'own']) v,
                 unnest(ARRAY[NULL, 'banana', 'read', 'write', 'own']) f;
        INSERT INTO groups (id, "organizationId", "universalResourceAccess") SELECT id, 1, u FROM combination;
        INSERT INTO users (id, "organizationId") SELECT id, 1 FROM combination;
        INSERT INTO user_groups ("userId", "groupId") SELECT id, id FROM combination;
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel")
            SELECT id, 1, e FROM combination WHERE e IS NOT NULL;
        INSERT INTO group_resources ("groupId", "resourceIdForEnv", "accessLevel")
            SELECT id, 1, v FROM combination WHERE v IS NOT NULL;
        INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel")
            SELECT id, 1, f FROM combination WHERE f IS NOT NULL;"#,
    )
    .await;
    let oracle = Oracle::read(database.reader().await.as_ref(), false).await.grants();
    assert_eq!(oracle.iter().filter(|fact| fact.entitlement == "entitlement:r1:read").count(), 383);
    agrees_with_its_tables(&database, "resources").await;
}

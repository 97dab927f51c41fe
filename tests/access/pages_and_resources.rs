//! Pages and resources: the levels of users and groups, rule by rule.

use tonic::Code;

use crate::support::client::{Client, Fact};
use crate::support::organization::{UNCHECKED, served};
use crate::support::postgres::Database;

/// Entitlements of a group on a page, without the page's id. An asterisk marks an entitlement that no change
/// of the page can revoke.
fn on_page(facts: &[Fact], group: &str) -> Vec<String> {
    let principal = format!("group/{group}");
    facts
        .iter()
        .filter(|fact| fact.principal == principal)
        .map(|fact| {
            let level = fact.entitlement.splitn(3, ':').nth(2).unwrap();
            format!("{level}{}", if fact.immutable { "*" } else { "" })
        })
        .collect()
}

// === pages ===

#[tokio::test]
async fn a_page_level_includes_the_weaker_levels_for_users_and_groups() {
    let (_database, client) = served(
        r#"INSERT INTO groups (id, "organizationId") VALUES (1, 1), (2, 1), (3, 1), (4, 1);
        INSERT INTO pages (id, "organizationId") VALUES (1, 1);
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel")
            VALUES (1, 1, 'own'), (2, 1, 'write'), (3, 1, 'read');"#,
        &[],
    )
    .await;
    assert_eq!(
        client.grant_ids("page", "p1").await,
        [
            "page:p1:group:read:group:g1",
            "page:p1:group:write:group:g1",
            "page:p1:group:own:group:g1",
            "page:p1:user:read:group:g1",
            "page:p1:user:write:group:g1",
            "page:p1:user:own:group:g1",
            "page:p1:group:read:group:g2",
            "page:p1:group:write:group:g2",
            "page:p1:user:read:group:g2",
            "page:p1:user:write:group:g2",
            "page:p1:group:read:group:g3",
            "page:p1:user:read:group:g3",
        ]
    );
}

#[tokio::test]
async fn a_page_rule_overrides_its_folder_and_universal_access_only_raises() {
    let (_database, client) = served(
        r#"INSERT INTO groups (id, "organizationId", "universalAccess")
            VALUES (1, 1, 'none'), (2, 1, 'none'), (3, 1, 'read'), (4, 1, 'own'), (5, 1, 'none');
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 1);
        INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel")
            VALUES (1, 1, 'own'), (2, 1, 'read'), (3, 1, 'write'), (4, 1, 'read'), (5, 1, 'read');
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel")
            VALUES (1, 1, 'read'), (2, 1, 'write'), (4, 1, 'write');"#,
        &[],
    )
    .await;
    let facts = client.facts("page", "p1").await;
    assert_eq!(on_page(&facts, "g1"), ["group:read", "user:read"]);
    assert_eq!(on_page(&facts, "g2"), ["group:read", "group:write", "user:read", "user:write"]);
    // No row of the page gives the entitlements with an asterisk, so they cannot be revoked on the page.
    assert_eq!(on_page(&facts, "g3"), ["group:read*", "group:write*", "user:read*", "user:write*"]);
    let raised = ["group:own*", "group:read", "group:write", "user:own*", "user:read", "user:write"];
    assert_eq!(on_page(&facts, "g4"), raised);
    assert_eq!(on_page(&facts, "g5"), ["group:read*", "user:read*"]);
}

#[tokio::test]
async fn a_page_grant_that_universal_access_also_gives_can_be_revoked() {
    let (_database, client) = served(
        r#"INSERT INTO groups (id, "organizationId", "universalAccess") VALUES (1, 1, 'read');
        INSERT INTO pages (id, "organizationId") VALUES (1, 1);
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel") VALUES (1, 1, 'read');"#,
        &[],
    )
    .await;
    assert_eq!(on_page(&client.facts("page", "p1").await, "g1"), ["group:read", "user:read"]);
}

#[tokio::test]
async fn only_the_direct_folder_of_a_page_or_resource_counts() {
    let (_database, client) = served(
        r#"INSERT INTO folders (id, "organizationId", "parentFolderId") VALUES (2, 1, 1), (3, 1, 2);
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3);
        INSERT INTO resource_folders (id, "organizationId", "parentFolderId") VALUES (1, 1, NULL), (2, 1, 1);
        INSERT INTO resources (id, "organizationId", "resourceFolderId") VALUES (1, 1, 1), (2, 1, 2), (3, 1, NULL);
        INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId") VALUES (1, 1);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1);
        INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel") VALUES (1, 2, 'read');
        INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel")
            VALUES (1, 1, 'read'), (1, 0, 'own');"#,
        &[],
    )
    .await;
    assert_eq!(client.grant_ids("page", "p1").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("page", "p2").await.len(), 2);
    assert_eq!(client.grant_ids("page", "p3").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
    assert_eq!(client.grant_ids("resource", "r2").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("resource", "r3").await, Vec::<String>::new());
}

#[tokio::test]
async fn deleted_pages_and_pages_without_an_organization_are_not_listed() {
    let (_database, client) = served(
        r#"INSERT INTO groups (id, "organizationId", "universalAccess") VALUES (1, 1, 'own');
        INSERT INTO pages (id, "organizationId", "deletedAt") VALUES (1, 1, NULL), (2, 1, now()), (3, NULL, NULL);"#,
        &[],
    )
    .await;
    assert_eq!(client.listed("page", Some("o1")).await, ["p1"]);
    assert_eq!(client.listed("page", None).await, Vec::<String>::new());
    for gone in ["p2", "p3", "p4"] {
        assert_eq!(client.get("page", gone).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(client.grant_ids("page", gone).await, Vec::<String>::new(), "{gone}");
    }
}

// === resources ===

#[tokio::test]
async fn owning_a_resource_includes_editing_and_using_it() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, 1), (3, 1), (4, 1), (5, 1);
        INSERT INTO groups (id, "organizationId", "universalResourceAccess")
            VALUES (1, 1, 'own'), (2, 1, 'none'), (3, 1, 'none'), (4, 1, 'write'), (5, 1, 'read');
        INSERT INTO user_groups ("userId", "groupId") SELECT id, id FROM generate_series(1, 5) id;
        INSERT INTO resources (id, "organizationId", "resourceFolderId") VALUES (9, 1, 1);
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel") VALUES (2, 9, 'own');
        INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel")
            VALUES (3, 1, 'own');"#,
        &[],
    )
    .await;
    let mut expected = Vec::new();
    for (user, levels) in [
        ("u1", &["read", "write", "own"][..]),
        ("u2", &["read", "write", "own"]),
        ("u3", &["read", "write", "own"]),
        ("u4", &["read", "write"]),
        ("u5", &["read"]),
    ] {
        expected.extend(levels.iter().map(|level| format!("grant:entitlement:r9:{level}:{user}")));
    }
    assert_eq!(client.grant_ids("resource", "r9").await, expected);
}

#[tokio::test]
async fn resource_access_is_per_environment() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId") VALUES (1, 1);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1);
        INSERT INTO resources (id, "organizationId", name, environment)
            VALUES (1, 1, 'db', 'production'), (2, 1, 'db', 'staging'), (3, 1, 'db', 'test');
        INSERT INTO group_resources ("groupId", "resourceId", "resourceIdForEnv", "resourceName", "accessLevel")
            VALUES (1, 1, NULL, NULL, 'read'), (1, NULL, 2, 'db', 'write');"#,
        &[],
    )
    .await;
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
    assert_eq!(
        client.grant_ids("resource", "r2").await,
        ["grant:entitlement:r2:read:u1", "grant:entitlement:r2:write:u1"]
    );
    assert_eq!(client.grant_ids("resource", "r3").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_unknown_level_grants_nothing_and_still_overrides_the_folder() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId") VALUES (1, 1);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1);
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 1), (2, 1, 2);
        INSERT INTO resources (id, "organizationId", "resourceFolderId") VALUES (1, 1, 1), (2, 1, 2);
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel") VALUES (1, 1, 'Own');
        INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel")
            VALUES (1, 1, 'own'), (1, 2, 'manage');
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel") VALUES (1, 1, 'none');
        INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel")
            VALUES (1, 1, 'own'), (1, 2, '');"#,
        &[],
    )
    .await;
    for (type_id, id) in [("page", "p1"), ("page", "p2"), ("resource", "r1"), ("resource", "r2")] {
        assert_eq!(client.grant_ids(type_id, id).await, Vec::<String>::new(), "{id}");
    }
}

// === skipped types, and rows that Retool does not create ===

#[tokio::test]
async fn pages_and_resources_can_be_skipped_and_universal_access_remains() {
    const ROWS: &str = r#"
        INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
            VALUES (1, 1, 'own', 'own');
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1);
        INSERT INTO pages (id, "organizationId") VALUES (1, 1);
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);"#;
    for (flags, left) in [
        (&["--skip-pages"][..], &["org", "user", "group", "resource"][..]),
        (&["--skip-resources"], &["org", "user", "group", "page"]),
        (&["--skip-pages", "--skip-resources"], &["org", "user", "group"]),
    ] {
        let (_database, client) = served(ROWS, flags).await;
        let types: Vec<_> = client.resource_types().await.into_iter().map(|one| one.id).collect();
        assert_eq!(types, left);
        for gone in ["page", "resource"].into_iter().filter(|type_id| !left.contains(type_id)) {
            let refused = client.resources_page(gone, Some("o1"), 0, String::new()).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound);
        }
        assert_eq!(
            client.grant_ids("org", "o1").await,
            [
                "grant:entitlement:o1:member:u1",
                "grant:entitlement:o1:universal:own:u1",
                "grant:entitlement:o1:universalResource:own:u1",
            ]
        );
    }
}

/// Current versions of Retool have no such rows, but a release that drops a constraint must not stop a sync.
#[tokio::test]
async fn null_in_any_column_except_keys_does_not_break_a_listing() {
    let database = Database::small().await;
    database
        .execute(&format!(
            r#"{UNCHECKED}
            DO $$
            DECLARE c record;
            BEGIN
                FOR c IN
                    SELECT table_name, column_name, is_nullable FROM information_schema.columns
                    JOIN information_schema.tables USING (table_schema, table_name)
                    WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND column_name <> 'id'
                      AND column_name NOT IN ('organizationId', 'userId', 'groupId', 'pageId', 'resourceId')
                      AND table_name <> 'audit_trail_events'
                LOOP
                    IF c.is_nullable = 'NO' THEN
                        EXECUTE format('ALTER TABLE %I ALTER %I DROP NOT NULL', c.table_name, c.column_name);
                    END IF;
                    EXECUTE format('UPDATE %I SET %I = NULL', c.table_name, c.column_name);
                END LOOP;
            END $$"#
        ))
        .await;
    for flags in [&[][..], &["--skip-disabled-users"]] {
        let client = Client::serving(&database, flags).await;
        let everything = client.everything().await;
        let count = |type_id: &str| {
            everything
                .resources
                .iter()
                .filter(|one| one.id.as_ref().unwrap().resource_type == type_id)
                .count()
        };
        // Whether a user is enabled is unknown, which is not the same as enabled.
        assert_eq!(count("user"), if flags.is_empty() { 47 } else { 0 });
        assert_eq!(count("org"), 2);
        assert_eq!(count("page"), 25);
        assert_eq!(count("resource"), 13);
        let members =
            everything.grants.iter().filter(|grant| grant.id.starts_with("grant:entitlement:o1:member:"));
        assert_eq!(members.count(), if flags.is_empty() { 43 } else { 0 });
        assert!(!everything.grants.iter().any(|grant| grant.id.starts_with("page:")));
    }
}

// === objects whose key is 0, which Retool never uses ===

#[tokio::test]
async fn children_of_an_unlisted_organization_are_not_listed() {
    let (_database, client) = served(
        r#"INSERT INTO organizations (id, name) VALUES (0, 'zero');
        INSERT INTO users (id, "organizationId") VALUES (1, 0), (2, 1);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
            VALUES (1, 0, 'own', 'own'), (2, NULL, 'none', 'none');
        INSERT INTO pages (id, "organizationId") VALUES (1, 0);
        INSERT INTO resources (id, "organizationId") VALUES (1, 0);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1), (1, 2), (2, 2);"#,
        &[],
    )
    .await;
    for (type_id, id) in [("user", "u1"), ("group", "g1"), ("page", "p1"), ("resource", "r1")] {
        assert_eq!(client.get(type_id, id).await.unwrap_err().code(), Code::NotFound, "{id}");
    }
    assert!(client.grant_ids("page", "p1").await.is_empty());
    assert!(client.grant_ids("resource", "r1").await.is_empty());
    assert_eq!(client.grant_ids("group", "g2").await, ["group:g2:member:user:u2"]);
}

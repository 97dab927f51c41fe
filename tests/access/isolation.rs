//! Two organizations in one database are completely separate.

use crate::support::client::{Client, facts, id_of, parent_of};
use crate::support::organization::{UNCHECKED, with_rows};
use crate::support::postgres::Database;

/// Everything listed about an organization as texts, to search for names of the other.
async fn everything_of(client: &Client, organization: &'static str) -> Vec<String> {
    let mut said = Vec::new();
    for type_id in ["user", "group", "page", "resource"] {
        for resource in client.resources(type_id, Some(organization)).await {
            assert_eq!(parent_of(&resource), format!("org/{organization}"));
            said.extend(facts(&client.grants(&resource).await).iter().map(|fact| format!("{fact:?}")));
            said.push(format!("{resource:?}"));
        }
    }
    said.extend(client.facts("org", organization).await.iter().map(|fact| format!("{fact:?}")));
    said.sort();
    said
}

#[tokio::test]
async fn the_large_organization_and_the_tiny_one_share_no_row_of_any_listing() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let (acme, globex) = (everything_of(&client, "o1").await, everything_of(&client, "o2").await);
    // Globex has users 45 to 47, group 14, page 25 and resource 13, each listed once, and their grants.
    assert!(globex.len() > 6 && acme.len() > 1_000, "{} and {}", globex.len(), acme.len());
    for text in &globex {
        assert!(!text.contains("acme") && !text.contains("o1"), "{text}");
        assert!(acme.binary_search(text).is_err(), "{text} is in both");
    }
    for text in &acme {
        let foreign = ["lobex", "o2", "u45\"", "u46\"", "u47\"", "g14\"", "p25\"", "r13\""];
        assert!(!foreign.iter().any(|name| text.contains(name)), "{text}");
    }
}

#[tokio::test]
async fn a_change_in_one_organization_does_not_affect_the_other() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let before = everything_of(&client, "o2").await;
    database
        .execute(
            r#"UPDATE groups SET "universalAccess" = 'own', "universalResourceAccess" = 'own',
                "auditLogAccess" = true WHERE "organizationId" = 1;
            UPDATE pages SET "deletedAt" = now() WHERE "organizationId" = 1 AND id % 2 = 0;
            DELETE FROM user_groups WHERE "groupId" = 1;
            UPDATE users SET enabled = false WHERE "organizationId" = 1"#,
        )
        .await;
    assert_eq!(everything_of(&client, "o2").await, before);
}

/// Every table that connects two objects has rows that connect objects of two organizations. Retool's
/// triggers reject such rows, but an older or broken database may have them. A membership grants what its
/// group grants, and a group accesses nothing outside its organization.
#[tokio::test]
async fn only_memberships_connect_two_organizations() {
    let database = with_rows(
        r#"
        INSERT INTO folders (id, "organizationId") VALUES (2, 2);
        INSERT INTO resource_folders (id, "organizationId") VALUES (1, 1), (2, 2);
        INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, 2);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess",
                            "universalQueryLibraryAccess", "userListAccess", "auditLogAccess", "unpublishedReleaseAccess")
            VALUES (1, 1, 'own', 'own', 'write', true, true, true), (2, 2, 'none', 'none', 'none', false, false, false);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 2), (2, 1);
        INSERT INTO pages (id, "organizationId", "folderId") VALUES (1, 1, 2), (2, 2, 1);
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel") VALUES (1, 2, 'own'), (2, 1, 'own');
        INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel") VALUES (1, 1, 'own'), (2, 2, 'own');
        INSERT INTO resources (id, "organizationId", "resourceFolderId") VALUES (1, 1, 2), (2, 2, 1);
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel") VALUES (1, 2, 'own'), (2, 1, 'own');
        INSERT INTO group_resources ("groupId", "resourceIdForEnv", "accessLevel") VALUES (1, 2, 'own'), (2, 1, 'own');
        INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel")
            VALUES (1, 1, 'own'), (2, 2, 'own');"#,
    )
    .await;
    let client = Client::serving(&database, &[]).await;
    assert_eq!(
        client.grant_ids("org", "o1").await,
        [
            "grant:entitlement:o1:member:u1",
            "grant:entitlement:o1:universal:own:u2",
            "grant:entitlement:o1:universalResource:own:u2",
            "grant:entitlement:o1:universalQueryLibrary:write:u2",
            "grant:entitlement:o1:userList:u2",
            "grant:entitlement:o1:auditLog:u2",
            "grant:entitlement:o1:unpublishedRelease:u2",
        ]
    );
    assert_eq!(client.grant_ids("org", "o2").await, ["grant:entitlement:o2:member:u2"]);
    assert_eq!(client.grant_ids("group", "g1").await, ["group:g1:member:user:u2"]);
    assert_eq!(client.grant_ids("group", "g2").await, ["group:g2:member:user:u1"]);
    // Group 1 accesses its own organization's page and resource, although they are in the other's folders.
    for fact in client.facts("page", "p1").await {
        assert_eq!(fact.principal, "group/g1");
    }
    assert_eq!(client.facts("page", "p1").await.len(), 6);
    assert_eq!(client.grant_ids("page", "p2").await, Vec::<String>::new());
    assert_eq!(
        client.grant_ids("resource", "r1").await,
        ["grant:entitlement:r1:read:u2", "grant:entitlement:r1:write:u2", "grant:entitlement:r1:own:u2",]
    );
    assert_eq!(client.grant_ids("resource", "r2").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_user_moved_to_another_organization_keeps_the_memberships_that_stay() {
    let database = Database::small().await;
    let before = Client::serving(&database, &[]).await.grant_ids("group", "g1").await;
    assert!(before.contains(&"group:g1:member:user:u1".to_owned()), "{before:?}");
    database.execute(&format!(r#"{UNCHECKED} UPDATE users SET "organizationId" = 2 WHERE id = 1"#)).await;
    let client = Client::serving(&database, &[]).await;
    let listed = client.resources("user", Some("o2")).await;
    assert!(listed.iter().any(|user| id_of(user) == "u1"));
    assert_eq!(client.grant_ids("group", "g1").await, before);
    let held = client.grant_ids("org", "o1").await;
    assert!(!held.contains(&"grant:entitlement:o1:member:u1".to_owned()), "{held:?}");
    let theirs: Vec<_> =
        client.grant_ids("org", "o2").await.into_iter().filter(|id| id.ends_with(":u1")).collect();
    assert_eq!(theirs, ["grant:entitlement:o2:member:u1"]);
}

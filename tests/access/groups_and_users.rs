//! Organizations, groups and users: members, admins and the rights of groups, rule by rule.

use tonic::Code;

use crate::support::client::{Client, parent_of};
use crate::support::organization::{served, with_rows};
use crate::support::server::Server;

// === organizations ===

#[tokio::test]
async fn every_user_of_an_organization_is_its_member() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, NULL), (3, 2), (4, 1);
        INSERT INTO groups (id, "organizationId") VALUES (1, 1);
        INSERT INTO user_groups ("userId", "groupId") VALUES (2, 1), (4, 1);"#,
        &[],
    )
    .await;
    let members = ["grant:entitlement:o1:member:u1", "grant:entitlement:o1:member:u4"];
    assert_eq!(client.grant_ids("org", "o1").await, members);
    assert_eq!(client.grant_ids("org", "o2").await, ["grant:entitlement:o2:member:u3"]);
}

#[tokio::test]
async fn a_user_without_an_organization_has_group_access_but_no_membership_of_an_organization() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, NULL);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
            VALUES (1, 1, 'read', 'read');
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1);
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);"#,
        &[],
    )
    .await;
    assert_eq!(client.listed("user", None).await, ["u1"]);
    assert_eq!(client.listed("user", Some("o1")).await, Vec::<String>::new());
    assert_eq!(
        client.grant_ids("org", "o1").await,
        ["grant:entitlement:o1:universal:read:u1", "grant:entitlement:o1:universalResource:read:u1"]
    );
    assert_eq!(client.grant_ids("group", "g1").await, ["group:g1:member:user:u1"]);
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
}

#[tokio::test]
async fn universal_access_on_an_organization_grants_only_the_stored_level() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, 1), (3, 1);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess",
                            "universalQueryLibraryAccess", "userListAccess", "auditLogAccess",
                            "unpublishedReleaseAccess")
            VALUES (1, 1, 'own', 'write', 'read', false, false, false),
                   (2, 1, 'none', 'none', 'write', true, true, true);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1), (2, 2), (3, 1), (3, 2);"#,
        &[],
    )
    .await;
    assert_eq!(
        client.grant_ids("org", "o1").await,
        [
            "grant:entitlement:o1:member:u1",
            "grant:entitlement:o1:universal:own:u1",
            "grant:entitlement:o1:universalResource:write:u1",
            "grant:entitlement:o1:universalQueryLibrary:read:u1",
            "grant:entitlement:o1:member:u2",
            "grant:entitlement:o1:universalQueryLibrary:write:u2",
            "grant:entitlement:o1:userList:u2",
            "grant:entitlement:o1:auditLog:u2",
            "grant:entitlement:o1:unpublishedRelease:u2",
            "grant:entitlement:o1:member:u3",
            "grant:entitlement:o1:universal:own:u3",
            "grant:entitlement:o1:universalResource:write:u3",
            "grant:entitlement:o1:universalQueryLibrary:read:u3",
            "grant:entitlement:o1:universalQueryLibrary:write:u3",
            "grant:entitlement:o1:userList:u3",
            "grant:entitlement:o1:auditLog:u3",
            "grant:entitlement:o1:unpublishedRelease:u3",
        ]
    );
}

#[tokio::test]
async fn access_through_several_groups_is_granted_once() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
            SELECT id, 1, 'read', 'read' FROM generate_series(1, 5) id;
        INSERT INTO user_groups ("userId", "groupId") SELECT 1, id FROM generate_series(1, 5) id;
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);"#,
        &[],
    )
    .await;
    assert_eq!(
        client.grant_ids("org", "o1").await,
        [
            "grant:entitlement:o1:member:u1",
            "grant:entitlement:o1:universal:read:u1",
            "grant:entitlement:o1:universalResource:read:u1",
        ]
    );
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
}

#[tokio::test]
async fn a_disabled_organization_is_listed_like_any_other() {
    let (_database, client) =
        served("UPDATE organizations SET enabled = CASE id WHEN 1 THEN false END;", &[]).await;
    assert_eq!(client.listed("org", None).await, ["o1", "o2"]);
}

// === groups ===

#[tokio::test]
async fn a_membership_is_one_grant_and_an_admin_is_not_also_a_member() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, 1);
        INSERT INTO groups (id, "organizationId") VALUES (7, 1);
        INSERT INTO user_groups ("userId", "groupId", "isAdmin") VALUES (2, 7, true), (1, 7, false);"#,
        &[],
    )
    .await;
    let grants = ["group:g7:member:user:u1", "group:g7:admin:user:u2"];
    assert_eq!(client.grant_ids("group", "g7").await, grants);
}

#[tokio::test]
async fn a_membership_without_a_user_or_a_group_is_skipped() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
            VALUES (1, 1, 'own', 'own');
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);
        INSERT INTO user_groups ("userId", "groupId") VALUES (NULL, 1), (999, 1), (1, NULL), (1, 999);"#,
        &[],
    )
    .await;
    assert_eq!(client.grant_ids("group", "g1").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("org", "o1").await, ["grant:entitlement:o1:member:u1"]);
    assert_eq!(client.grant_ids("resource", "r1").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_group_without_an_organization_grants_only_membership() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId") VALUES (1, 1), (2, 2), (3, NULL);
        INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess",
                            "universalQueryLibraryAccess", "userListAccess") VALUES (5, NULL, 'own', 'own', 'write', true);
        INSERT INTO user_groups ("userId", "groupId") VALUES (1, 5), (2, 5), (3, 5);
        INSERT INTO pages (id, "organizationId") VALUES (1, 1), (2, NULL);
        INSERT INTO group_pages ("groupId", "pageId", "accessLevel") VALUES (5, 1, 'own'), (5, 2, 'own');
        INSERT INTO resources (id, "organizationId") VALUES (1, 1);
        INSERT INTO group_resources ("groupId", "resourceId", "accessLevel") VALUES (5, 1, 'own');"#,
        &[],
    )
    .await;
    assert_eq!(client.listed("group", None).await, ["g5"]);
    assert_eq!(client.listed("group", Some("o1")).await, Vec::<String>::new());
    assert_eq!(parent_of(&client.get("group", "g5").await.unwrap()), "");
    assert_eq!(
        client.grant_ids("group", "g5").await,
        ["group:g5:member:user:u1", "group:g5:member:user:u2", "group:g5:member:user:u3"]
    );
    assert_eq!(client.grant_ids("org", "o1").await, ["grant:entitlement:o1:member:u1"]);
    assert_eq!(client.grant_ids("page", "p1").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("resource", "r1").await, Vec::<String>::new());
}

/// Group 1 is archived and would grant everything; group 2 is not archived and grants nothing.
const ARCHIVED: &str = r#"
    INSERT INTO users (id, "organizationId") VALUES (1, 1);
    INSERT INTO groups (id, "organizationId", "archivedAt", "universalAccess", "universalResourceAccess")
        VALUES (1, 1, now(), 'read', 'read'), (2, 1, NULL, 'none', 'none'), (3, NULL, now(), 'none', 'none');
    INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1), (1, 2), (1, 3);
    INSERT INTO pages (id, "organizationId") VALUES (1, 1);
    INSERT INTO resources (id, "organizationId") VALUES (1, 1);
"#;

#[tokio::test]
async fn an_archived_group_is_not_listed_and_grants_nothing() {
    let database = with_rows(ARCHIVED).await;
    let role = database.documented_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let client = Client::of(&server).await;
    assert_eq!(client.listed("group", Some("o1")).await, ["g2"]);
    assert_eq!(client.listed("group", None).await, Vec::<String>::new());
    assert_eq!(client.get("group", "g1").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.grant_ids("group", "g1").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("org", "o1").await, ["grant:entitlement:o1:member:u1"]);
    assert_eq!(client.grant_ids("page", "p1").await, Vec::<String>::new());
    assert_eq!(client.grant_ids("resource", "r1").await, Vec::<String>::new());
    assert!(!server.logs().iter().any(|line| line.to_string().contains("archived")));
}

#[tokio::test]
async fn without_select_on_archived_at_archived_groups_count_and_one_warning_names_the_grant() {
    let database = with_rows(ARCHIVED).await;
    let role = database.documented_role(&[]).await;
    database.execute(&format!(r#"REVOKE SELECT ("archivedAt") ON groups FROM {}"#, role.name)).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let client = Client::of(&server).await;
    assert_eq!(client.listed("group", Some("o1")).await, ["g1", "g2"]);
    assert_eq!(client.listed("group", None).await, ["g3"]);
    assert_eq!(client.grant_ids("group", "g1").await, ["group:g1:member:user:u1"]);
    assert_eq!(
        client.grant_ids("page", "p1").await,
        ["page:p1:group:read:group:g1", "page:p1:user:read:group:g1"]
    );
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
    assert!(
        client.grant_ids("org", "o1").await.contains(&"grant:entitlement:o1:universal:read:u1".to_owned())
    );

    let missing = format!(r#"GRANT SELECT ("archivedAt") ON groups TO {};"#, role.name);
    let warnings: Vec<_> = server
        .logs()
        .into_iter()
        .filter(|line| line["msg"].as_str().is_some_and(|text| text.contains(&missing)))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(warnings[0]["level"].as_str().unwrap().to_lowercase(), "warn");

    drop(server);
    database.execute(&missing).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    assert_eq!(Client::of(&server).await.listed("group", Some("o1")).await, ["g2"]);
}

// === users ===

const DISABLED: &str = r#"
    INSERT INTO users (id, "organizationId", enabled) VALUES (1, 1, true), (2, 1, false), (3, NULL, false);
    INSERT INTO groups (id, "organizationId", "universalAccess", "universalResourceAccess")
        VALUES (1, 1, 'read', 'read');
    INSERT INTO user_groups ("userId", "groupId") VALUES (1, 1), (2, 1), (3, 1);
    INSERT INTO resources (id, "organizationId") VALUES (1, 1);
"#;

#[tokio::test]
async fn disabled_users_are_listed_with_their_grants() {
    let (_database, client) = served(DISABLED, &[]).await;
    assert_eq!(client.listed("user", Some("o1")).await, ["u1", "u2"]);
    assert_eq!(client.listed("user", None).await, ["u3"]);
    assert!(client.get("user", "u2").await.is_ok());
    assert_eq!(client.grant_ids("group", "g1").await.len(), 3);
    assert_eq!(client.grant_ids("org", "o1").await.len(), 3 + 3 + 2);
    assert_eq!(client.grant_ids("resource", "r1").await.len(), 3);
}

#[tokio::test]
async fn disabled_users_can_be_skipped_everywhere() {
    let (_database, client) = served(DISABLED, &["--skip-disabled-users"]).await;
    assert_eq!(client.listed("user", Some("o1")).await, ["u1"]);
    assert_eq!(client.listed("user", None).await, Vec::<String>::new());
    assert_eq!(client.get("user", "u2").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.grant_ids("group", "g1").await, ["group:g1:member:user:u1"]);
    assert_eq!(
        client.grant_ids("org", "o1").await,
        [
            "grant:entitlement:o1:member:u1",
            "grant:entitlement:o1:universal:read:u1",
            "grant:entitlement:o1:universalResource:read:u1",
        ]
    );
    assert_eq!(client.grant_ids("resource", "r1").await, ["grant:entitlement:r1:read:u1"]);
}

#[tokio::test]
async fn nothing_is_granted_on_users() {
    let (_database, client) = served(DISABLED, &[]).await;
    assert_eq!(client.grant_ids("user", "u1").await, Vec::<String>::new());
}

//! Grants and revokes of page access for groups.

use std::collections::BTreeMap;

use baton_retool::proto::connector::{Entitlement, EntitlementImmutable, GrantManagerServiceGrantRequest};
use tonic::Code;

use crate::support::changes::{Changes, Did, Tables, entitlement_of, principal_of, refused};
use crate::support::client::{annotations, facts, named};
use crate::support::postgres::Database;

/// A separate page (100, in folder 100), a deleted one (101), and groups without rights, except 103.
const WORLD: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "deletedAt", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, NULL, now(), now()), (101, 'gone', 1, 100, now(), now(), now());
INSERT INTO groups (id, name, "organizationId", "universalAccess", "archivedAt", "createdAt", "updatedAt") VALUES
    (100, 'plain', 1, 'none', NULL, now(), now()), (101, 'archived', 1, 'none', now(), now(), now()),
    (103, 'readers of all', 1, 'read', NULL, now(), now());
"#;

async fn world() -> Database {
    let database = Database::small().await;
    database.execute(WORLD).await;
    database
}

async fn give(database: &Database, group: i32, level: &str) {
    let sql = format!(
        r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
           VALUES ({group}, 100, '{level}', '2026-01-01', '2026-01-01')"#
    );
    database.execute(&sql).await;
}

async fn give_folder(database: &Database, group: i32, level: &str) {
    let sql = format!(
        r#"INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel", "createdAt")
           VALUES ({group}, 100, '{level}', now())"#
    );
    database.execute(&sql).await;
}

/// The rows of `group_pages`: from group and page to level.
async fn rows(database: &Database) -> BTreeMap<(i32, i32), String> {
    let sql = r#"SELECT "groupId", "pageId", "accessLevel" FROM group_pages"#;
    let rows = database.reader().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

async fn level(database: &Database, group: i32) -> Option<String> {
    rows(database).await.remove(&(group, 100))
}

#[tokio::test]
async fn only_the_row_of_this_page_and_group_is_changed() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    database
        .execute(
            r#"DELETE FROM group_pages WHERE ("groupId", "pageId") IN ((9, 8), (8, 9));
               INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
               VALUES (8, 9, 'read', now(), now())"#,
        )
        .await;
    let mut expected = rows(&database).await;
    assert_eq!(expected[&(8, 9)], "read", "the organization needs a second, similar row");
    changes.grant("page:p8:group:own", "group/g9").await.unwrap();
    expected.insert((9, 8), "own".to_owned());
    assert_eq!(rows(&database).await, expected);
    changes.revoke("page:p8:group:read", "group/g9").await.unwrap();
    expected.remove(&(9, 8));
    assert_eq!(rows(&database).await, expected);
}

#[tokio::test]
async fn a_response_shows_the_grant_as_the_next_listing_does() {
    let database = world().await;
    give_folder(&database, 100, "read").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let page = changes.client.get("page", "p100").await.unwrap();
    for entitlement in ["page:p100:group:read", "page:p100:group:write", "page:p100:user:own"] {
        let request = GrantManagerServiceGrantRequest {
            entitlement: Some(Entitlement { resource: Some(page.clone()), ..entitlement_of(entitlement) }),
            principal: Some(principal_of("group/g100")),
            ..Default::default()
        };
        let answer = changes.send_grant(request).await.unwrap();
        let [grant] = &answer.grants[..] else { panic!("{answer:?}") };
        assert_eq!(grant.id, format!("{entitlement}:group:g100"));
        assert!(changes.client.grants(&page).await.contains(grant), "not as the listing has it: {grant:?}");
    }
}

#[tokio::test]
async fn access_levels_can_be_granted_and_revoked_in_any_order() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (call, wished, left, did) in [
        ("grant", "write", Some("write"), Did::Changed),
        ("grant", "read", Some("write"), Did::Nothing),
        ("revoke", "own", Some("write"), Did::Nothing),
        ("grant", "own", Some("own"), Did::Changed),
        ("revoke", "own", Some("write"), Did::Changed),
        ("revoke", "write", Some("read"), Did::Changed),
        ("revoke", "write", Some("read"), Did::Nothing),
        ("grant", "own", Some("own"), Did::Changed),
        ("revoke", "read", None, Did::Changed),
        ("revoke", "read", None, Did::Nothing),
        ("grant", "read", Some("read"), Did::Changed),
    ] {
        // Both families are the same access.
        for family in ["group", "user"] {
            let entitlement = format!("page:p100:{family}:{wished}");
            let answer = match call {
                "grant" => changes.grant(&entitlement, "group/g100").await.unwrap(),
                _ => changes.revoke(&entitlement, "group/g100").await.unwrap(),
            };
            let expected = if family == "group" { did.clone() } else { Did::Nothing };
            assert_eq!(answer.did(), expected, "{call} {entitlement}");
            assert_eq!(level(&database, 100).await.as_deref(), left, "{call} {entitlement}");
        }
    }
}

#[tokio::test]
async fn a_revoke_that_cannot_remove_access_names_the_remaining_source() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    // Universal access only.
    let status = refused(&database, changes.revoke("page:p100:group:read", "group/g103")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let says = r#"group 103 "readers of all" has read by its universal access"#;
    assert!(status.message().contains(says), "{}", status.message());
    // Universal access below the level of the row.
    give(&database, 103, "own").await;
    let status = refused(&database, changes.revoke("page:p100:group:read", "group/g103")).await;
    assert!(status.message().contains(says), "{}", status.message());
    assert_eq!(changes.revoke("page:p100:group:write", "group/g103").await.unwrap().did(), Did::Changed);
    assert_eq!(level(&database, 103).await.as_deref(), Some("read"));
    // Revoking a level below the row's deletes the row.
    give(&database, 100, "write").await;
    assert_eq!(changes.revoke("page:p100:group:read", "group/g100").await.unwrap().did(), Did::Changed);
    assert_eq!(level(&database, 100).await, None);
    // The folder's default only.
    give_folder(&database, 100, "write").await;
    let status = refused(&database, changes.revoke("page:p100:group:write", "group/g100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("by the default of the page's folder"), "{}", status.message());
}

#[tokio::test]
async fn a_revoke_never_raises_access() {
    let database = world().await;
    give(&database, 100, "read").await;
    give_folder(&database, 100, "write").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let status = refused(&database, changes.revoke("page:p100:group:read", "group/g100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(
        status.message().contains("has write by the default of the page's folder"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn a_grant_never_lowers_access() {
    let database = world().await;
    give(&database, 100, "own").await;
    give_folder(&database, 103, "own").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let before = Tables::of(&database).await;
    for group in ["group/g100", "group/g103"] {
        for level in ["read", "write", "own"] {
            let answer = changes.grant(&format!("page:p100:group:{level}"), group).await.unwrap();
            assert_eq!(answer.did(), Did::Nothing, "{group} {level}");
            let listed = changes.listed("page:p100:group:read").await;
            assert!(listed.contains(&answer.grants[0]), "{:?}", answer.grants);
        }
    }
    before.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn refuses_deleted_pages_archived_groups_and_foreign_principals() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (entitlement, principal, code, says) in [
        ("page:p101:group:read", "group/g100", Code::NotFound, "page 101"),
        ("page:p9999:group:read", "group/g100", Code::NotFound, "page 9999"),
        ("page:p100:group:read", "group/g9999", Code::NotFound, "group 9999"),
        ("page:p100:group:read", "group/g101", Code::FailedPrecondition, "archived"),
        ("page:p100:group:read", "group/g14", Code::FailedPrecondition, "different organizations"),
        ("page:p100:group:read", "group/g15", Code::FailedPrecondition, "no organization"),
    ] {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), code, "{entitlement} {principal}: {status:?}");
        assert!(status.message().contains(says), "{}", status.message());
    }
    let before = Tables::of(&database).await;
    for (entitlement, principal) in [
        ("page:p101:group:read", "group/g100"),
        ("page:p9999:group:read", "group/g100"),
        ("page:p100:group:read", "group/g9999"),
        ("page:p100:group:read", "group/g101"),
    ] {
        assert_eq!(
            changes.revoke(entitlement, principal).await.unwrap().did(),
            Did::Nothing,
            "{entitlement}"
        );
    }
    before.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn grantable_page_entitlements_are_not_marked_immutable() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for entitlement in changes.client.entitlements(&named("page", "p100")).await {
        let marks = annotations::<EntitlementImmutable>(&entitlement.annotations);
        assert!(marks.is_empty(), "{entitlement:?}");
    }
    // An entitlement for groups cannot be granted to users.
    let status = refused(&database, changes.grant("page:p100:group:read", "user/u7")).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    for principal in ["org/o1", "resource/r1", "page/p1"] {
        for entitlement in ["page:p100:group:read", "page:p100:user:read"] {
            let status = refused(&database, changes.grant(entitlement, principal)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{entitlement} {principal}: {status:?}");
        }
    }
    for id in ["page:p100:group:none", "page:p100:banana:read", "page:p100:read", "page:p100:group:read:x"] {
        let request = GrantManagerServiceGrantRequest {
            entitlement: Some(Entitlement { id: id.to_owned(), ..entitlement_of("page:p100:group:read") }),
            principal: Some(principal_of("group/g100")),
            ..Default::default()
        };
        let status = refused(&database, changes.send_grant(request)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{id}: {status:?}");
    }
}

#[tokio::test]
async fn a_changed_row_gets_its_update_time_if_the_role_may_write_it() {
    let database = world().await;
    give(&database, 100, "read").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let client = database.client().await;
    let sql = r#"SELECT "updatedAt" > now() - interval '1 minute' FROM group_pages WHERE "groupId" = 100"#;
    changes.grant("page:p100:group:own", "group/g100").await.unwrap();
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0), "a grant");
    database.execute(r#"UPDATE group_pages SET "updatedAt" = '2026-01-01'"#).await;
    changes.revoke("page:p100:group:own", "group/g100").await.unwrap();
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0), "a revoke");

    // Roles that were set up for the Go connector may not set it.
    let role = database.documented_role(&[]).await;
    let grants = format!(
        r#"GRANT INSERT, DELETE ON group_pages TO {0}; GRANT UPDATE ("accessLevel") ON group_pages TO {0};
           GRANT USAGE ON SEQUENCE group_pages_id_seq TO {0}"#,
        role.name
    );
    database.execute(&grants).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    assert_eq!(changes.grant("page:p100:group:own", "group/g100").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.revoke("page:p100:group:write", "group/g100").await.unwrap().did(), Did::Changed);
    assert_eq!(level(&database, 100).await.as_deref(), Some("read"));
}

#[tokio::test]
async fn an_unknown_access_level_is_replaced() {
    let database = world().await;
    give(&database, 100, "read").await;
    database
        .execute(
            r#"ALTER TABLE group_pages DISABLE TRIGGER ALL;
               UPDATE group_pages SET "accessLevel" = 'banana' WHERE "groupId" = 100;
               ALTER TABLE group_pages ENABLE TRIGGER ALL"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    assert_eq!(changes.revoke("page:p100:group:read", "group/g100").await.unwrap().did(), Did::Nothing);
    assert_eq!(changes.grant("page:p100:group:read", "group/g100").await.unwrap().did(), Did::Changed);
    assert_eq!(level(&database, 100).await.as_deref(), Some("read"));
    assert!(
        facts(&changes.listed("page:p100:group:read").await)
            .iter()
            .any(|fact| fact.principal == "group/g100")
    );
}

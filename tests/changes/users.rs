//! Grants and revokes of page access for single users, through managed groups.

use tonic::Code;

use crate::support::changes::{Changes, Did, refused};
use crate::support::client::facts;
use crate::support::postgres::{Database, Provisioning};

/// A page (100) and users without any group: two enabled (100, 101), one disabled (102).
const WORLD: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, now(), now());
INSERT INTO users (id, email, "organizationId", enabled, "createdAt", "updatedAt") VALUES
    (100, 'a@acme.example', 1, true, now(), now()), (101, 'b@acme.example', 1, true, now(), now()),
    (102, 'c@acme.example', 1, false, now(), now());
"#;

async fn world() -> Database {
    let database = Database::small().await;
    database.execute(WORLD).await;
    database
}

/// Creates a group with user 100 as member and with this level on a page.
async fn group_with_user(database: &Database, id: i32, name: &str, page: i32, level: &str) {
    let sql = format!(
        r#"INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt")
           VALUES ({id}, '{name}', 1, now(), now());
           INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
           VALUES ({id}, {page}, '{level}', now(), now());
           INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (100, {id}, now(), now())"#
    );
    database.execute(&sql).await;
}

async fn count(database: &Database, sql: &str) -> i64 {
    database.reader().await.query_one(sql, &[]).await.unwrap().get(0)
}

const MANAGED: &str = "SELECT count(*) FROM groups WHERE name LIKE 'baton:page:%'";

#[tokio::test]
async fn a_page_can_be_granted_to_a_user_and_revoked() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let read = "page:p100:user:read";
    let granted = changes.grant(read, "user/u100").await.unwrap();
    assert_eq!(granted.did(), Did::Changed);
    let [grant] = &granted.grants[..] else { panic!("{granted:?}") };
    assert_eq!(grant.id, "page:p100:user:read:user:u100");
    assert!(changes.listed(read).await.contains(grant), "not as the listing has it: {grant:?}");
    let fact = facts(&granted.grants).remove(0);
    assert!(!fact.immutable && fact.expands.is_empty(), "it can be revoked: {fact:?}");

    let again = changes.grant(read, "user/u100").await.unwrap();
    assert_eq!((again.did(), &again.grants), (Did::Nothing, &granted.grants));

    assert_eq!(changes.revoke(read, "user/u100").await.unwrap().did(), Did::Changed);
    assert!(!changes.lists(read, "user/u100").await);
    assert_eq!(changes.revoke(read, "user/u100").await.unwrap().did(), Did::Nothing);
    assert_eq!(count(&database, MANAGED).await, 1, "the group stays for the next user");
}

#[tokio::test]
async fn users_with_one_page_and_level_share_one_managed_group() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for user in ["user/u100", "user/u101", "user/u100"] {
        changes.grant("page:p100:user:write", user).await.unwrap();
    }
    assert_eq!(count(&database, MANAGED).await, 1);
    let client = database.client().await;
    let rows = client.query(
        r#"SELECT g.name, m."userId" FROM groups g JOIN user_groups m ON m."groupId" = g.id WHERE g.name LIKE 'baton:%' ORDER BY 2"#,
        &[],
    );
    let rows: Vec<(String, i32)> = rows.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [100, 101].map(|user| ("baton:page:100:write".to_owned(), user)));
}

#[tokio::test]
async fn a_failed_grant_leaves_no_managed_group_behind() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (entitlement, principal, code) in [
        ("page:p100:user:read", "user/u9999", Code::NotFound),
        ("page:p9999:user:read", "user/u100", Code::NotFound),
        ("page:p17:user:read", "user/u100", Code::NotFound),
        ("page:p100:user:read", "user/u45", Code::FailedPrecondition),
        ("page:p25:user:read", "user/u100", Code::FailedPrecondition),
        ("page:p100:user:read", "user/u43", Code::FailedPrecondition),
        ("page:p100:user:admin", "user/u100", Code::InvalidArgument),
    ] {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), code, "{entitlement} {principal}: {status:?}");
    }
    // The last of four steps fails: the previous steps are rolled back.
    database
        .execute(
            "CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more members'; END $$;
             CREATE TRIGGER full_up BEFORE INSERT ON user_groups FOR EACH ROW EXECUTE FUNCTION full_up()",
        )
        .await;
    let status = refused(&database, changes.grant("page:p100:user:read", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("no more members"), "{}", status.message());
}

#[tokio::test]
async fn a_managed_group_has_every_right_off_including_unknown_ones() {
    let database = world().await;
    database
        .execute(
            r#"ALTER TABLE groups ADD "themeAccess" boolean NOT NULL DEFAULT true,
               ADD "universalAgentAccess" varchar(255) NOT NULL DEFAULT 'read'"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:own", "user/u100").await.unwrap();
    let client = database.client().await;
    let row =
        client.query_one(r#"SELECT to_jsonb(g)::text FROM groups g WHERE name = 'baton:page:100:own'"#, &[]);
    let row: serde_json::Value = serde_json::from_str(row.await.unwrap().get(0)).unwrap();
    let rights: Vec<_> =
        row.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("Access")).collect();
    assert_eq!(rights.len(), 11, "{rights:?}");
    for (name, value) in rights {
        assert!(value == false || value == "none" || value.is_null(), "{name} is {value}");
    }
    let organization = changes.client.facts("org", "o1").await;
    let of_user: Vec<_> = organization.iter().filter(|fact| fact.principal == "user/u100").collect();
    assert_eq!(of_user.len(), 1, "no more than its membership: {of_user:?}");
}

#[tokio::test]
async fn an_error_names_the_grant_for_a_right_that_the_role_cannot_turn_off() {
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    database.execute(r#"ALTER TABLE groups ADD "themeAccess" boolean NOT NULL DEFAULT true"#).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let status = refused(&database, changes.grant("page:p100:user:own", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let grant = format!(r#"GRANT INSERT ("themeAccess") ON groups TO {};"#, role.name);
    assert!(status.message().contains(&grant), "{}", status.message());
    database.execute(&grant).await;
    assert_eq!(changes.grant("page:p100:user:own", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn access_granted_by_the_go_connector_can_be_revoked() {
    let database = world().await;
    group_with_user(&database, 100, "477920462329681-group-app 1-read", 1, "read").await;
    database.execute("UPDATE groups SET \"unpublishedReleaseAccess\" = true WHERE id = 100").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    assert!(changes.lists("page:p1:user:read", "user/u100").await, "listed as a grant that can be revoked");
    assert_eq!(changes.revoke("page:p1:user:read", "user/u100").await.unwrap().did(), Did::Changed);
    assert!(!changes.lists("page:p1:user:read", "user/u100").await);
    assert_eq!(count(&database, "SELECT count(*) FROM groups WHERE id = 100").await, 1, "the group stays");
    assert_eq!(count(&database, r#"SELECT count(*) FROM group_pages WHERE "groupId" = 100"#).await, 1);
}

#[tokio::test]
async fn groups_with_other_rights_or_names_are_never_treated_as_managed() {
    for spoil in [
        r#"UPDATE groups SET "universalAccess" = 'read' WHERE id = 100"#,
        r#"UPDATE groups SET "universalResourceAccess" = 'own' WHERE id = 100"#,
        r#"UPDATE groups SET "universalQueryLibraryAccess" = 'read' WHERE id = 100"#,
        r#"UPDATE groups SET "auditLogAccess" = true WHERE id = 100"#,
        r#"UPDATE groups SET "userListAccess" = true WHERE id = 100"#,
        r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt") VALUES (100, 2, 'read', now(), now())"#,
        r#"INSERT INTO group_folder_defaults ("groupId", "folderId", "accessLevel", "createdAt") VALUES (100, 3, 'read', now())"#,
        r#"INSERT INTO group_resources ("groupId", "resourceId", "accessLevel", "createdAt", "updatedAt") VALUES (100, 1, 'read', now(), now())"#,
        r#"INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel", "createdAt", "updatedAt") VALUES (100, 1, 'read', now(), now())"#,
        r#"UPDATE group_pages SET "accessLevel" = 'write' WHERE "groupId" = 100"#,
        r#"UPDATE groups SET name = '477920462329682-group-app 1-read' WHERE id = 100"#,
    ] {
        for name in ["baton:page:1:read", "477920462329681-group-app 1-read"] {
            let database = world().await;
            group_with_user(&database, 100, name, 1, "read").await;
            database.execute(spoil).await;
            let (changes, _server) = Changes::serving(&database, &[]).await;
            assert!(!changes.lists("page:p1:user:read", "user/u100").await, "{spoil}");
            let status = refused(&database, changes.revoke("page:p1:user:read", "user/u100")).await;
            assert_eq!(status.code(), Code::FailedPrecondition, "{spoil}: {status:?}");
            assert!(status.message().contains("group 100"), "{}", status.message());
        }
    }
}

#[tokio::test]
async fn a_refused_revoke_names_the_groups_that_grant_access() {
    let database = world().await;
    group_with_user(&database, 100, "sales team", 100, "write").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let status = refused(&database, changes.revoke("page:p100:user:read", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let says = r#"user 100 would still have read access to page 100: group 100 "sales team" has write on the page itself"#;
    assert!(status.message().contains(says), "{}", status.message());
    // A managed group of another level is such a group too.
    assert_eq!(changes.grant("page:p100:user:own", "user/u100").await.unwrap().did(), Did::Changed);
    let status = refused(&database, changes.revoke("page:p100:user:write", "user/u100")).await;
    assert!(status.message().contains("baton:page:100:own"), "{}", status.message());
    assert_eq!(changes.revoke("page:p100:user:own", "user/u100").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.grant("page:p100:user:write", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_revoke_reports_access_that_remains_through_other_groups() {
    let database = world().await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:read", "user/u100").await.unwrap();
    group_with_user(&database, 100, "sales team", 100, "write").await;
    let answer = changes.revoke("page:p100:user:read", "user/u100").await.unwrap();
    assert_eq!(answer.did(), Did::Changed);
    let [said] = &answer.annotations[..] else { panic!("{answer:?}") };
    let said: prost_types::Struct = prost::Message::decode(said.value.as_slice()).unwrap();
    let left = said.fields["access_remains"].kind.clone();
    assert_eq!(left, Some(prost_types::value::Kind::StringValue("write".to_owned())));
    let record = server.wait_for_log(|line| line["msg"] == "change" && line["operation"] == "revoke");
    assert_eq!((&record["outcome"], &record["after"]), (&"changed".into(), &"write".into()), "{record}");
    assert!(!changes.lists("page:p100:user:read", "user/u100").await, "not as a grant of the user's own");
    let status = refused(&database, changes.revoke("page:p100:user:read", "user/u100")).await;
    assert!(status.message().contains("sales team"), "{}", status.message());
}

#[tokio::test]
async fn managed_groups_are_recognized_with_resources_skipped() {
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let revoke = format!(
        "REVOKE ALL ON group_resources, group_resource_folder_defaults, resources FROM {}",
        role.name
    );
    database.execute(&revoke).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &["--skip-resources"]).await;
    assert_eq!(changes.grant("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
    assert!(changes.lists("page:p100:user:read", "user/u100").await);
    assert_eq!(changes.revoke("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn access_through_another_group_does_not_replace_a_grant() {
    let database = world().await;
    group_with_user(&database, 100, "sales team", 100, "own").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let answer = changes.grant("page:p100:user:write", "user/u100").await.unwrap();
    assert_eq!(answer.did(), Did::Changed);
    assert!(changes.listed("page:p100:user:write").await.iter().any(|grant| grant.id == answer.grants[0].id));
}

#[tokio::test]
async fn the_page_name_does_not_affect_its_managed_groups() {
    let database = world().await;
    database.execute("UPDATE pages SET name = repeat('x', 255) WHERE id = 100").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    assert_eq!(changes.grant("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
    database.execute("UPDATE pages SET name = 'renamed' WHERE id = 100").await;
    assert!(changes.lists("page:p100:user:read", "user/u100").await);
    assert_eq!(changes.grant("page:p100:user:read", "user/u101").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.revoke("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
    assert_eq!(count(&database, MANAGED).await, 1);
}

#[tokio::test]
async fn an_altered_managed_group_accepts_no_members() {
    for (spoil, says) in [
        (r#"UPDATE groups SET "archivedAt" = now() WHERE name = 'baton:page:100:read'"#, "archived"),
        (
            r#"UPDATE groups SET "universalAccess" = 'own' WHERE name = 'baton:page:100:read'"#,
            "more than access",
        ),
        (
            r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
               SELECT id, 1, 'read', now(), now() FROM groups WHERE name = 'baton:page:100:read'"#,
            "more than access",
        ),
        (
            r#"INSERT INTO group_resources ("groupId", "resourceId", "accessLevel", "createdAt", "updatedAt")
               SELECT id, 1, 'read', now(), now() FROM groups WHERE name = 'baton:page:100:read'"#,
            "more than access",
        ),
        (r#"UPDATE group_pages SET "accessLevel" = 'own' WHERE "pageId" = 100"#, "a level on its page"),
        (r#"DELETE FROM group_pages WHERE "pageId" = 100"#, "a level on its page"),
    ] {
        let database = world().await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        changes.grant("page:p100:user:read", "user/u100").await.unwrap();
        database.execute(spoil).await;
        let status = refused(&database, changes.grant("page:p100:user:read", "user/u101")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{spoil}: {status:?}");
        assert!(status.message().contains(says), "{}", status.message());
        assert!(status.message().contains("baton:page:100:read"), "{}", status.message());
    }
}

#[tokio::test]
async fn an_empty_managed_group_is_repaired() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:write", "user/u100").await.unwrap();
    changes.revoke("page:p100:user:write", "user/u100").await.unwrap();
    database.execute(r#"DELETE FROM group_pages WHERE "pageId" = 100"#).await;
    assert_eq!(changes.grant("page:p100:user:write", "user/u101").await.unwrap().did(), Did::Changed);
    assert!(changes.lists("page:p100:user:write", "user/u101").await);
}

#[tokio::test]
async fn page_grants_to_users_can_be_switched_off() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:read", "user/u100").await.unwrap();
    let (changes, _server) = Changes::serving(&database, &["--managed-groups=false"]).await;
    let status = refused(&database, changes.grant("page:p100:user:read", "user/u101")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("--managed-groups"), "{}", status.message());
    assert_eq!(changes.revoke("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn disabled_users_can_be_granted_pages_only_if_they_are_listed() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &["--skip-disabled-users"]).await;
    let status = refused(&database, changes.grant("page:p100:user:read", "user/u102")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let (listing, _other) = Changes::serving(&database, &[]).await;
    assert_eq!(listing.grant("page:p100:user:read", "user/u102").await.unwrap().did(), Did::Changed);
    assert!(listing.lists("page:p100:user:read", "user/u102").await);
    assert!(!changes.lists("page:p100:user:read", "user/u102").await);
    assert_eq!(changes.revoke("page:p100:user:read", "user/u102").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_user_in_old_and_new_managed_groups_is_listed_once_and_removed_from_both() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:read", "user/u100").await.unwrap();
    group_with_user(&database, 100, "0xc000123456100-group-orders-read", 100, "read").await;
    let ids = changes.client.grant_ids("page", "p100").await;
    assert_eq!(ids.iter().filter(|id| *id == "page:p100:user:read:user:u100").count(), 1, "{ids:?}");
    assert_eq!(changes.revoke("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
    assert_eq!(count(&database, r#"SELECT count(*) FROM user_groups WHERE "userId" = 100"#).await, 0);
}

#[tokio::test]
async fn a_page_with_many_direct_users_is_listed_completely_at_every_page_size() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:read", "user/u100").await.unwrap();
    changes.grant("page:p100:user:own", "user/u100").await.unwrap();
    database
        .execute(
            r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
               SELECT u.id, g.id, now(), now() FROM users u, groups g
               WHERE u."organizationId" = 1 AND g.name = 'baton:page:100:own' ON CONFLICT DO NOTHING"#,
        )
        .await;
    let whole = changes.client.grant_ids("page", "p100").await;
    assert!(whole.iter().filter(|id| id.starts_with("page:p100:user:own:user:")).count() > 40, "{whole:?}");
    let listing = crate::support::client::Listing::Grants(crate::support::client::named("page", "p100"));
    for size in [1, 2, 7, 50, 250] {
        let pages = changes.client.pages(&listing, size).await;
        let rows: Vec<String> = pages.into_iter().flat_map(|page| page.rows).collect();
        assert_eq!(rows, whole, "page size {size}");
    }
}

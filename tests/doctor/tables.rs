//! Checks of tables with unexpected content.

use super::database::{assert_shown, healthy, visit};

#[tokio::test]
async fn an_access_level_column_that_is_not_text_is_reported() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    database
        .execute(
            r#"ALTER TABLE groups DROP CONSTRAINT "check_universalAccess", ALTER "universalAccess" DROP DEFAULT,
                   ALTER "universalAccess" TYPE integer USING 1"#,
        )
        .await;
    let seen = visit(&url, &[]);
    assert_eq!((seen.code, seen.status_of("types")), (2, vec!["failed"]), "{}", seen.text);
    insta::assert_snapshot!("doctor_level_is_a_number", seen.shown(Some(&database), Some(&role)));
}

#[tokio::test]
async fn columns_of_custom_types_are_read_as_text() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    database
        .execute(
            r#"CREATE TYPE kind AS ENUM ('default', 'embed');
               ALTER TABLE users ALTER "userType" DROP DEFAULT, ALTER "userType" TYPE kind USING NULL;
               CREATE DOMAIN shown AS varchar(255);
               ALTER TABLE organizations ALTER name TYPE shown;
               ALTER TABLE users ALTER email TYPE text"#,
        )
        .await;
    let seen = visit(&url, &["--strict"]);
    assert_eq!((seen.code, seen.status_of("types")), (0, vec!["ok"]), "{}", seen.text);
    // Statements combine the levels of several tables in one column.
    database
        .execute(
            r#"CREATE TYPE level AS ENUM ('none', 'read', 'write', 'own');
               ALTER TABLE group_pages ALTER "accessLevel" TYPE level USING "accessLevel"::level"#,
        )
        .await;
    let seen = visit(&url, &[]);
    assert_eq!((seen.code, seen.status_of("types")), (2, vec!["failed"]), "{}", seen.text);
    let found = r#"group_pages."accessLevel" is of type level and should be text"#;
    assert!(seen.text.contains(found), "{}", seen.text);
}

#[tokio::test]
async fn nested_folders_are_counted_and_folder_cycles_end() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    // Only folder 1 has a default. Folder 2 is in 1, 3 in 2, 4 in 3, and later 2 in 4. One app each is in 1
    // and 4.
    database
        .execute(
            r#"DELETE FROM group_folder_defaults WHERE "folderId" <> 1;
               UPDATE folders SET "parentFolderId" = id - 1 WHERE id IN (2, 3, 4);
               UPDATE pages SET "folderId" = 13;
               UPDATE pages SET "folderId" = 1 WHERE id = 1;
               UPDATE pages SET "folderId" = 4 WHERE id = 2;
               DELETE FROM group_resource_folder_defaults;
               INSERT INTO group_resource_folder_defaults ("groupId", "resourceFolderId", "accessLevel", "createdAt", "updatedAt")
               VALUES (5, 1, 'read', now(), now());
               UPDATE resource_folders SET "parentFolderId" = id - 1 WHERE id IN (2, 3);
               UPDATE resources SET "resourceFolderId" = 3 WHERE id IN (1, 2)"#,
        )
        .await;
    let found = "1 apps and 2 resources are in subfolders of folders that give groups access";
    let seen = visit(&url, &[]);
    assert!(seen.text.contains(found), "{}", seen.text);
    database.execute(r#"UPDATE folders SET "parentFolderId" = 4 WHERE id = 2"#).await;
    let circle = visit(&url, &[]);
    assert!(circle.text.contains("0 apps and 2 resources"), "{}", circle.text);
    database.execute(r#"UPDATE group_folder_defaults SET "folderId" = 3"#).await;
    let inside = visit(&url, &[]);
    assert!(inside.text.contains(found), "{}", inside.text);
}

#[tokio::test]
async fn text_from_the_database_cannot_add_lines_or_colors() {
    let (database, role) = healthy().await;
    database
        .execute(&format!(
            r#"CREATE TABLE "SequelizeMeta" (name varchar(255) PRIMARY KEY);
               INSERT INTO "SequelizeMeta" VALUES (E'zz\x1b[31m\nok  login  fine');
               GRANT SELECT ON "SequelizeMeta" TO {}"#,
            role.name
        ))
        .await;
    let seen = visit(&database.url_as(&role), &[]);
    assert_eq!(seen.status_of("login"), ["ok"], "{}", seen.text);
    assert!(seen.text.contains("zz\u{fffd}[31m\u{fffd}ok  login  fine"), "{}", seen.text);
}

#[tokio::test]
async fn compares_migrations_and_access_control_lists_if_readable() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    database
        .execute(
            r#"CREATE TABLE "SequelizeMeta" (name varchar(255) PRIMARY KEY);
               INSERT INTO "SequelizeMeta" VALUES ('20230101-a.js'), ('20231116-b.js');
               CREATE TABLE access_control_lists (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "entityType" text,
                   "entityId" text, "accessLevel" text, "organizationId" integer);
               CREATE TABLE access_control_list_members ("aclId" uuid, "memberType" text, "memberId" text);
               UPDATE folders SET "parentFolderId" = NULL;"#,
        )
        .await;
    assert_shown!("lists_not_granted", visit(&url, &[]), Some(&database), Some(&role));
    database
        .execute(&format!(
            r#"GRANT SELECT ON "SequelizeMeta", access_control_lists, access_control_list_members TO {}"#,
            role.name
        ))
        .await;
    assert_eq!(visit(&url, &[]).status_of("drift"), ["skipped"]);
    database
        .execute(
            r#"INSERT INTO access_control_lists ("entityType", "entityId", "accessLevel")
               SELECT 'page', id::text, level FROM pages, unnest(ARRAY['own', 'write', 'read']) level;
               INSERT INTO access_control_list_members
               SELECT a.id, 'group', gp."groupId"::text FROM group_pages gp
               JOIN access_control_lists a ON a."entityId" = gp."pageId"::text AND a."accessLevel" = gp."accessLevel""#,
        )
        .await;
    let agreeing = visit(&url, &[]);
    assert_eq!(agreeing.status_of("drift"), ["ok"], "{}", agreeing.text);
    assert!(agreeing.text.contains("2 so far, the last is 20231116-b.js"), "{}", agreeing.text);
    database
        .execute(
            r#"DELETE FROM access_control_list_members WHERE ctid IN (SELECT ctid FROM access_control_list_members LIMIT 1);
               INSERT INTO access_control_list_members
               SELECT id, 'group', '4711' FROM access_control_lists WHERE "entityId" = '1'"#,
        )
        .await;
    let drifting = visit(&url, &[]);
    assert_shown!("drift", drifting, Some(&database), Some(&role));
    assert_eq!(drifting.status_of("drift"), ["warning"]);
}

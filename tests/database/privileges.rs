//! Privileges of the database role: the documented privileges suffice, and each missing one is optional, or
//! an error names its GRANT.

use std::collections::BTreeMap;

use tonic::{Code, Status};

use crate::releases::WORLD;
use crate::support::changes::{Changes, refused};
use crate::support::observe::see;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::{Server, program};
use crate::support::stage::Stage;
use crate::support::wire::{Wire, assert_refused, id, resource};

/// The privileges of a tenant of the Go connector who fixed the script that came with it.
const EXISTING_TENANT: &[&str] = &[
    "SELECT (id, name) ON organizations",
    r#"SELECT (id, sid, email, "firstName", "lastName", "profilePhotoUrl", "userName", enabled, "lastLoggedIn", "organizationId") ON users"#,
    r#"SELECT (id, name, "organizationId", "universalAccess", "universalResourceAccess", "universalQueryLibraryAccess", "userListAccess", "auditLogAccess", "unpublishedReleaseAccess") ON groups"#,
    r#"SELECT (id, name, "organizationId", "folderId", "photoUrl", description, "deletedAt") ON pages"#,
    r#"SELECT (id, name, "organizationId", type, "displayName", "environmentId", "resourceFolderId") ON resources"#,
    "SELECT ON group_pages, group_folder_defaults, group_resources, group_resource_folder_defaults, user_groups",
];

/// Columns whose absence makes listings less complete, and columns whose absence makes them wrong.
const EXTRAS: &[&str] = &["users.createdAt", "users.userType", "users.lastActive"];
const WARNED_OF: &[&str] = &["groups.archivedAt", "group_resources.resourceIdForEnv"];

const FEW: Sizes = Sizes { users: 9, groups: 3, pages: 4, resources: 3 };

/// One of each kind of call that needs the database.
async fn answers(wire: &Wire) -> Vec<(String, Result<(), Status>)> {
    let mut answers = Vec::new();
    for kind in ["org", "user", "group", "page", "resource"] {
        let parent = (kind != "org").then(|| id("org", "o1"));
        let listed = wire.resources(kind, parent, 0, "").await.map(drop);
        answers.push((format!("ListResources {kind}"), listed));
        let granted = wire.grants(resource(kind, &format!("{}1", &kind[..1])), 0, "").await.map(drop);
        answers.push((format!("ListGrants {kind}"), granted));
    }
    answers
}

/// The statements to run that a message names.
fn grants_in(status: &Status) -> String {
    let start =
        status.message().find("GRANT ").unwrap_or_else(|| panic!("no GRANT in: {}", status.message()));
    status.message()[start..].to_owned()
}

fn warnings(server: &Server) -> Vec<String> {
    let warned = server.logs().into_iter().filter(|line| line["level"] == "warn");
    warned
        .filter_map(|line| line["msg"].as_str().map(str::to_owned))
        .filter(|text| text.contains("GRANT"))
        .collect()
}

/// The columns that the role may read, by table, without tables that only `doctor` reads.
async fn readable(database: &Database, role: &Role) -> BTreeMap<String, Vec<String>> {
    const READABLE: &str = "SELECT c.relname::text, a.attname::text
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
          AND has_column_privilege($1::text, c.oid, a.attnum, 'SELECT')
          AND c.relname NOT IN ('folders', 'resource_folders', 'audit_trail_events')
        ORDER BY 1, a.attnum";
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in database.reader().await.query(READABLE, &[&role.name]).await.unwrap() {
        tables.entry(row.get(0)).or_default().push(row.get(1));
    }
    tables
}

/// Reduces the role's privileges on the table to these columns.
async fn allow_only(database: &Database, role: &Role, table: &str, columns: &[&String]) {
    let columns: Vec<_> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    database
        .execute(&format!(
            "REVOKE ALL ON {table} FROM {role}; GRANT SELECT ({}) ON {table} TO {role}",
            columns.join(", "),
            role = role.name
        ))
        .await;
}

#[tokio::test]
async fn the_documented_privileges_show_everything_that_the_owner_sees() {
    let database = Database::seeded(FEW).await;
    let owner = Server::start(&database, &[]);
    let (all, _) = see(owner.channel().await).await.unwrap();
    assert!(all.grants.len() > 100);
    let role = database.documented_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let (seen, _) = see(server.channel().await).await.unwrap();
    assert!(seen == all, "the role sees other rows than the owner");
    assert_eq!(warnings(&server), Vec::<String>::new());
}

#[tokio::test]
async fn the_privileges_of_the_go_connector_suffice_with_one_warning() {
    let database = Database::seeded(FEW).await;
    let role = database.create_role(EXISTING_TENANT).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let (seen, _) = see(server.channel().await).await.unwrap();
    let wire = Wire::to(&server).await;
    for _ in 0..3 {
        wire.validate().await.unwrap();
    }
    let warned = warnings(&server);
    let [warning] = &warned[..] else { panic!("{warned:?}") };
    assert!(warning.contains("archived"), "{warning}");

    let before = wire.resources("group", Some(id("org", "o1")), 0, "").await.unwrap().list.len();
    database.execute(&warning[warning.find("GRANT").unwrap()..]).await;
    wire.validate().await.unwrap();
    let after = wire.resources("group", Some(id("org", "o1")), 0, "").await.unwrap().list.len();
    assert_eq!(after, before - 1, "the archived group is gone");
    let owner = Server::start(&database, &[]);
    let (all, _) = see(owner.channel().await).await.unwrap();
    assert!(seen.grants.is_superset(&all.grants), "less than with all privileges");
}

#[tokio::test]
async fn each_missing_column_is_optional_or_an_error_names_its_grant() {
    let database = Database::seeded(FEW).await;
    database.execute(r#"UPDATE users SET "lastActive" = '2026-02-03 04:05:06+00'"#).await;
    let role = database.documented_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    let (all, _) = see(server.channel().await).await.unwrap();
    let tables = readable(&database, &role).await;
    assert_eq!(tables.len(), 10, "{tables:?}");
    let (mut needed, mut not_needed) = (0, 0);
    for (table, columns) in &tables {
        for missing in columns {
            let named = format!("{table}.{missing}");
            let rest: Vec<_> = columns.iter().filter(|column| *column != missing).collect();
            allow_only(&database, &role, table, &rest).await;
            let answers = answers(&wire).await;
            let refusals: Vec<_> =
                answers.into_iter().filter_map(|(what, answer)| Some((what, answer.err()?))).collect();
            match wire.validate().await {
                Ok(()) => {
                    not_needed += 1;
                    let optional = EXTRAS.contains(&named.as_str()) || WARNED_OF.contains(&named.as_str());
                    if !optional {
                        assert!(refusals.is_empty(), "{named}: {refusals:?}");
                    }
                    let (seen, _) = see(server.channel().await).await.unwrap();
                    if EXTRAS.contains(&named.as_str()) {
                        assert_eq!(seen.resources.len(), all.resources.len(), "{named}");
                        assert!(seen.resources != all.resources, "no row depends on {named}");
                    } else if !optional {
                        assert!(seen == all, "{named}: the role sees other rows than the owner");
                    }
                }
                Err(status) => {
                    needed += 1;
                    assert_eq!(status.code(), Code::FailedPrecondition, "{named}: {status:?}");
                    let grant = grants_in(&status);
                    assert!(grant.contains(&format!(" ON {table} TO {}", role.name)), "{named}: {grant}");
                    assert!(!refusals.is_empty(), "{named}: no listing needs it");
                    for (what, refusal) in refusals {
                        assert_eq!(refusal.code(), Code::FailedPrecondition, "{named} {what}: {refusal:?}");
                        assert_eq!(grants_in(&refusal), grant, "{named} {what}");
                    }
                    database.execute(&grant).await;
                    wire.validate()
                        .await
                        .unwrap_or_else(|status| panic!("Validate still fails after {grant}: {status:?}"));
                    for (what, answer) in self::answers(&wire).await {
                        answer.unwrap_or_else(|status| panic!("{named} {what}: {status:?}"));
                    }
                }
            }
            allow_only(&database, &role, table, &columns.iter().collect::<Vec<_>>()).await;
        }
    }
    assert!(needed > 35 && not_needed > 10, "{needed} needed, {not_needed} not");
    wire.validate().await.unwrap();
    let (seen, _) = see(server.channel().await).await.unwrap();
    assert!(seen == all, "the role sees other rows than the owner");
}

#[tokio::test]
async fn warns_once_of_a_missing_column_that_changes_results_with_its_grant() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let tables = readable(&database, &role).await;
    for named in WARNED_OF {
        let (table, missing) = named.split_once('.').unwrap();
        let columns = &tables[table];
        let rest: Vec<_> = columns.iter().filter(|column| *column != missing).collect();
        allow_only(&database, &role, table, &rest).await;
        let server = Server::start_at(&database.url_as(&role), &[]);
        for _ in 0..2 {
            see(server.channel().await).await.unwrap();
        }
        let warned = warnings(&server);
        let [warning] = &warned[..] else { panic!("{named}: {warned:?}") };
        let grant = format!(r#"GRANT SELECT ("{missing}") ON {table} TO {};"#, role.name);
        assert!(warning.ends_with(&grant), "{warning}");
        database.execute(&grant).await;
        let restarted = Server::start_at(&database.url_as(&role), &[]);
        see(restarted.channel().await).await.unwrap();
        assert_eq!(warnings(&restarted), Vec::<String>::new(), "{grant}");
    }
}

#[tokio::test]
async fn an_error_names_the_grant_for_each_missing_table() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let tables = readable(&database, &role).await;
    for (table, columns) in &tables {
        database.execute(&format!("REVOKE ALL ON {table} FROM {}", role.name)).await;
        // A server that never had the privilege.
        let server = Server::start_at(&database.url_as(&role), &[]);
        let wire = Wire::to(&server).await;
        let refused = answers(&wire).await.into_iter().find_map(|(_, answer)| answer.err()).unwrap();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{table}: {refused:?}");
        let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &[table]);
        database.execute(&grants_in(&refused)).await;
        wire.validate().await.unwrap();
        see(server.channel().await).await.unwrap();
        allow_only(&database, &role, table, &columns.iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn an_error_names_all_missing_privileges() {
    let database = Database::seeded(FEW).await;
    let role = database.create_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &[]);
    database.execute(&grants_in(&refused)).await;
    wire.validate().await.unwrap();
    see(server.channel().await).await.unwrap();
}

#[tokio::test]
async fn skipped_resource_types_need_no_privilege() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    for table in [
        "pages",
        "group_pages",
        "group_folder_defaults",
        "resources",
        "group_resources",
        "group_resource_folder_defaults",
    ] {
        database.execute(&format!("REVOKE ALL ON {table} FROM {}", role.name)).await;
    }
    let server = Server::start_at(&database.url_as(&role), &["--skip-pages", "--skip-resources"]);
    see(server.channel().await).await.unwrap();
}

#[tokio::test]
async fn a_name_that_needs_quotes_is_quoted_in_the_grant() {
    let database = Database::seeded(FEW).await;
    let mut role = database.create_role(&[]).await;
    let odd = format!("Odd \"{}\"; -- 李", role.name);
    let quoted = odd.replace('"', "\"\"");
    database.execute(&format!("ALTER ROLE {} RENAME TO \"{quoted}\"", role.name)).await;
    // Some versions of Postgres hash the password with the name, so a new name invalidates it.
    database.execute(&format!("ALTER ROLE \"{quoted}\" PASSWORD '{}'", role.password)).await;
    let url = {
        let address = database.cluster().address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let user = odd.replace('\\', "\\\\").replace('\'', "\\'");
        format!("host={host} port={port} dbname={} user='{user}' password={}", database.name(), role.password)
    };
    let server = Server::start_at(&url, &[]);
    let wire = Wire::to(&server).await;
    let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &[]);
    database.execute(&grants_in(&refused)).await;
    wire.validate().await.unwrap();
    drop(server);
    database.execute(&format!("ALTER ROLE \"{quoted}\" RENAME TO {}", role.name)).await;
    role.password.clear();
    database.execute(&format!("DROP OWNED BY {}", role.name)).await;
}

#[tokio::test]
async fn a_wrong_database_is_distinguished_from_a_missing_privilege() {
    let database = Database::empty_schema().await;
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let words = ["not a Retool database", "organizations", "hammerhead_production", "search_path"];
    let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &words);
    assert!(!refused.message().contains("GRANT"), "{refused:?}");
    for (what, answer) in answers(&wire).await {
        if what != "ListGrants user" {
            let refused = assert_refused(answer, Code::FailedPrecondition, &["not a Retool database"]);
            assert!(!refused.message().contains("GRANT"), "{what}: {refused:?}");
        }
    }
}

/// A Retool of another version. The columns are removed one by one, while the server runs.
#[tokio::test]
async fn a_column_that_this_retool_lacks_is_named() {
    const UNSUPPORTED: &str = "does not support this version of Retool";
    let database = Database::small().await;
    database.execute(WORLD).await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    let wire = Wire::to(&server).await;
    wire.validate().await.unwrap();
    let groups = ("group:g100:member", "user/u100");
    let pages = ("page:p100:group:own", "group/g100");
    let users = ("page:p100:user:own", "user/u100");
    for (column, refused_calls, validates) in [
        ("groups.createdAt", &[users][..], true),
        ("groups.updatedAt", &[users], true),
        ("group_pages.createdAt", &[pages, users], true),
        ("group_pages.updatedAt", &[pages, users], true),
        ("user_groups.createdAt", &[groups, pages, users], false),
        ("user_groups.updatedAt", &[groups, pages, users], false),
    ] {
        let (table, name) = column.split_once('.').unwrap();
        database.execute(&format!("ALTER TABLE {table} DROP COLUMN \"{name}\"")).await;
        let named = format!("table {table} has no column \"{name}\"");
        for (entitlement, principal) in refused_calls {
            let status = refused(&database, changes.grant(entitlement, principal)).await;
            assert!(status.message().contains(UNSUPPORTED), "{column} {entitlement}: {status:?}");
        }
        let (entitlement, principal) = refused_calls[0];
        let last = changes.grant(entitlement, principal).await.unwrap_err();
        assert!(last.message().contains(&named), "{column}: {last:?}");
        match wire.validate().await {
            Ok(()) => assert!(validates, "{column}"),
            Err(status) => {
                assert!(!validates && status.message().contains(UNSUPPORTED), "{column}: {status:?}");
            }
        }
        server.wait_for_log(|line| {
            line["level"] == "warn" && line["msg"].as_str().is_some_and(|text| text.contains(&named))
        });
    }
    let doctor = program()
        .args(["doctor", "--provisioning", "--connection-string", &database.url()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains(UNSUPPORTED) && !text.contains("not a Retool database"), "{text}");

    database.execute(r#"ALTER TABLE groups DROP COLUMN "universalQueryLibraryAccess""#).await;
    let words = [UNSUPPORTED, "universalQueryLibraryAccess"];
    let mut answers = answers(&wire).await;
    answers.push(("Validate".to_owned(), wire.validate().await));
    let refusals: Vec<_> =
        answers.into_iter().filter_map(|(what, answer)| Some((what, answer.err()?))).collect();
    for (what, status) in &refusals {
        let status = assert_refused(Err::<(), _>(status.clone()), Code::FailedPrecondition, &words);
        assert!(!status.message().contains("not a Retool database"), "{what}: {status:?}");
    }
    let names: Vec<_> = refusals.iter().map(|(what, _)| what.as_str()).collect();
    assert!(names.len() > 1 && names.contains(&"Validate"), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_refuses_a_role_that_can_make_none_of_the_allowed_changes() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let url = database.url_as(&role);
    let server = Server::start_at(&url, &["--provisioning"]);
    let wire = Wire::to(&server).await;
    let words = ["GRANT INSERT", "user_groups", "group_pages"];
    let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &words);
    // Changes of accounts need none of these privileges.
    let stage = Stage::serve(database, &url, &["--provisioning"]).await;
    stage.wire.validate().await.unwrap();
    let one = format!("GRANT DELETE ON group_pages TO {}", role.name);
    stage.database.execute(&one).await;
    wire.validate().await.unwrap();
    stage.database.execute(&grants_in(&refused)).await;
    wire.validate().await.unwrap();
}

#[tokio::test]
async fn a_search_path_without_the_tables_is_explained() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    database.execute(&format!("ALTER ROLE {} SET search_path = elsewhere", role.name)).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    assert_refused(wire.validate().await, Code::FailedPrecondition, &["search_path"]);
    assert_refused(wire.organizations().await, Code::FailedPrecondition, &["search_path"]);
}

#[tokio::test]
async fn an_error_names_the_grant_for_missing_usage_or_connect() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let (name, user) = (database.name(), &role.name);
    for (withdrawn, object) in [
        ("SCHEMA public".to_owned(), "USAGE ON SCHEMA public"),
        (format!("DATABASE {name}"), "CONNECT ON DATABASE"),
    ] {
        database.execute(&format!("REVOKE ALL ON {withdrawn} FROM {user}, PUBLIC")).await;
        let server = Server::start_at(&database.url_as(&role), &[]);
        let wire = Wire::to(&server).await;
        assert_refused(wire.organizations().await, Code::FailedPrecondition, &["GRANT", object]);
        let refused = assert_refused(wire.validate().await, Code::FailedPrecondition, &["GRANT", object]);
        database.execute(&grants_in(&refused)).await;
        wire.validate().await.unwrap();
        assert_eq!(wire.organizations().await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_table_hidden_by_row_level_security_is_an_error() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    database.execute("ALTER TABLE user_groups ENABLE ROW LEVEL SECURITY").await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    let remedy = format!("ALTER ROLE {} BYPASSRLS;", role.name);
    assert_refused(wire.validate().await, Code::FailedPrecondition, &["user_groups", &remedy]);

    let policy = format!("CREATE POLICY a_few ON user_groups FOR SELECT TO {} USING (id > 3)", role.name);
    database.execute(&policy).await;
    wire.validate().await.unwrap();
    let filtered = |line: &serde_json::Value| {
        line["level"] == "warn" && line["msg"].as_str().is_some_and(|text| text.contains(&remedy))
    };
    server.wait_for_log(filtered);

    database.execute(&remedy).await;
    wire.validate().await.unwrap();
    let seen = see(server.channel().await).await.unwrap();
    let owner = Server::start(&database, &[]);
    assert_eq!(seen.0, see(owner.channel().await).await.unwrap().0);
}

#[tokio::test]
async fn an_optional_privilege_can_be_revoked_while_the_server_runs() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    wire.validate().await.unwrap();
    database.execute(&format!(r#"REVOKE SELECT ("archivedAt") ON groups FROM {}"#, role.name)).await;
    for (what, answer) in answers(&wire).await {
        answer.unwrap_or_else(|status| panic!("{what}: {status:?}"));
    }
    server.wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.contains("archivedAt")));
}

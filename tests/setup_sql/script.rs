//! The script as a whole: it suffices for every operation, each of its grants is needed, and it works with
//! any role name and any client.

use std::collections::BTreeSet;
use std::process::Output;

use baton_retool::proto::connector::{ConnectorServiceValidateRequest, ConnectorServiceValidateResponse};
use serde_json::Value;
use tonic::{Code, Status};

use crate::support::changes::{Changes, Did, Tables};
use crate::support::observe::see;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::{Server, program};
use crate::support::wire::{Wire, eventually};

pub(super) const FEW: Sizes = Sizes { users: 9, groups: 5, pages: 4, resources: 3 };

pub(super) const ALL: &[&str] = &["--provisioning=groups,pages", "--extras"];

/// Privileges that calls do not require: for `doctor`, for switching back to the Go connector, and one that
/// changes use only if granted.
const ONLY_DOCTOR_MISSES: &[&str] = &[
    "SELECT (\"createdAt\") ON users",
    "SELECT (\"lastActive\") ON users",
    "SELECT (\"userType\") ON users",
    "SELECT (\"profilePhotoUrl\") ON users",
    "SELECT (sid) ON users",
    "SELECT (id) ON user_groups",
    "SELECT (\"photoUrl\") ON pages",
    "SELECT (description) ON pages",
    "SELECT (id) ON group_pages",
    "SELECT (id) ON group_folder_defaults",
    "SELECT (\"environmentId\") ON resources",
    "SELECT (id) ON group_resources",
    "SELECT (id) ON group_resource_folder_defaults",
    "SELECT (id) ON folders",
    "SELECT (\"parentFolderId\") ON folders",
    "SELECT (id) ON resource_folders",
    "SELECT (\"parentFolderId\") ON resource_folders",
    "SELECT (\"actionType\") ON audit_trail_events",
    "SELECT (\"createdAt\") ON audit_trail_events",
    "SELECT (\"organizationId\") ON audit_trail_events",
    "SELECT (\"pageName\") ON audit_trail_events",
    "SELECT (\"resourceName\") ON audit_trail_events",
    "SELECT (\"userId\") ON audit_trail_events",
    "SELECT (id) ON audit_trail_events",
    "UPDATE (\"updatedAt\") ON group_pages",
];

pub(super) fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    program().args(arguments).current_dir(directory.path()).output().unwrap()
}

/// The output of the command.
pub(super) fn script(role: &str, arguments: &[&str]) -> String {
    let output = run(&[&["setup-sql", "--role", role][..], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(super) async fn set_up(database: &Database, arguments: &[&str]) -> Role {
    let role = database.create_role(&[]).await;
    database.execute(&script(&role.name, arguments)).await;
    role
}

/// Every privilege of the role by name, as the text between GRANT and TO.
pub(super) async fn granted(database: &Database, role: &Role) -> BTreeSet<String> {
    const GRANTED: &str = "
        SELECT format('%s (%I) ON %I', acl.privilege_type, a.attname, c.relname)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) acl
        WHERE acl.grantee = to_regrole($1)
        UNION ALL
        SELECT format('%s ON %s%I', acl.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' END, c.relname)
        FROM pg_class c, aclexplode(c.relacl) acl WHERE acl.grantee = to_regrole($1)";
    let rows = database.reader().await.query(GRANTED, &[&role.name]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub(super) async fn validate(wire: &Wire) -> Result<(), Status> {
    let request = ConnectorServiceValidateRequest::default();
    wire.call::<ConnectorServiceValidateResponse>("ConnectorService/Validate", &request).await.map(drop)
}

/// The statements to run that a text names.
pub(super) fn grants_in(text: &str) -> Vec<String> {
    let Some(start) = text.find("GRANT ") else { return Vec::new() };
    text[start..].split_inclusive(';').map(|grant| grant.trim().to_owned()).collect()
}

/// The GRANTs that `doctor` recommends.
pub(super) fn prescribed(url: &str) -> Vec<String> {
    let output = run(&["doctor", "--connection-string", url, "--provisioning", "--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lines = report["checks"].as_array().unwrap();
    let fixes = lines.iter().flat_map(|line| line["fix"].as_array().unwrap());
    fixes.filter_map(|fix| fix.as_str()).filter(|fix| fix.starts_with("GRANT ")).map(str::to_owned).collect()
}

/// A warning with GRANTs after the first `known` lines of the log. Waits for an expected warning, and until the
/// log is silent for an unexpected one.
async fn warning_with_grants(server: &Server, known: usize, expected: bool) -> Option<String> {
    let warning = |lines: Vec<Value>| {
        lines.into_iter().skip(known).find_map(|line| {
            let text = line["msg"].as_str().filter(|_| line["level"] == "warn")?;
            text.contains("GRANT ").then(|| text.to_owned())
        })
    };
    if expected {
        return Some(eventually("a warning with GRANTs", async || warning(server.logs_so_far())).await);
    }
    warning(server.logs())
}

/// Makes one change of each kind and reverts it.
pub(super) async fn change_everything(changes: &Changes, database: &Database) {
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 3;
                    DELETE FROM group_pages WHERE "groupId" = 5 AND "pageId" = 1"#,
        )
        .await;
    for (entitlement, principal) in [
        ("group:g5:member", "user/u3"),
        ("group:g5:admin", "user/u3"),
        ("page:p1:group:read", "group/g5"),
        ("page:p1:group:write", "group/g5"),
    ] {
        let answer = changes.grant(entitlement, principal).await;
        let answer = answer.unwrap_or_else(|status| panic!("{entitlement} {principal}: {status:?}"));
        assert_ne!(answer.did(), Did::Nothing, "{entitlement} {principal}");
    }
    for (entitlement, principal) in [
        ("page:p1:group:write", "group/g5"),
        ("page:p1:group:read", "group/g5"),
        ("group:g5:admin", "user/u3"),
        ("group:g5:member", "user/u3"),
    ] {
        let answer = changes.revoke(entitlement, principal).await;
        let answer = answer.unwrap_or_else(|status| panic!("{entitlement} {principal}: {status:?}"));
        assert_ne!(answer.did(), Did::Nothing, "{entitlement} {principal}");
    }
}

/// A user without access through any group.
pub(super) const NOBODY: &str = r#"
    DELETE FROM user_groups WHERE "userId" = 4;
    UPDATE users SET "organizationId" = 1, enabled = true WHERE id = 4;"#;

#[tokio::test]
async fn every_operation_works_with_the_role_and_shows_what_the_owner_sees() {
    let database = Database::seeded(FEW).await;
    database.execute(NOBODY).await;
    let role = set_up(&database, ALL).await;
    let (changes, server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let owner = Server::start(&database, &["--provisioning"]);
    change_everything(&changes, &database).await;
    let (direct, user) = ("page:p1:user:write", "user/u4");
    assert_eq!(changes.grant(direct, user).await.unwrap().did(), Did::Changed);
    assert!(changes.lists(direct, user).await);
    let (seen, _) = see(server.channel().await).await.unwrap();
    let (all, _) = see(owner.channel().await).await.unwrap();
    assert!(all.grants.len() > 100 && seen == all, "the role sees other rows than the owner");
    assert_eq!(changes.revoke(direct, user).await.unwrap().did(), Did::Changed);
    assert!(!changes.lists(direct, user).await);
    let warned = server.logs().into_iter().filter(|line| line["level"] == "warn").collect::<Vec<_>>();
    assert!(warned.is_empty(), "{warned:?}");
}

#[tokio::test]
async fn the_script_can_be_run_again_and_changes_no_row() {
    let database = Database::seeded(FEW).await;
    let before = Tables::of(&database).await;
    let role = set_up(&database, ALL).await;
    let first = granted(&database, &role).await;
    assert!(first.len() > 80, "{first:?}");
    database.execute(&script(&role.name, ALL)).await;
    assert_eq!(granted(&database, &role).await, first);
    database.execute(&script(&role.name, &[])).await;
    assert_eq!(granted(&database, &role).await, first, "fewer privileges are requested, and none is revoked");
    before.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn each_grant_of_the_script_is_needed() {
    let database = Database::seeded(FEW).await;
    let role = set_up(&database, ALL).await;
    let url = database.url_as(&role);
    let server = Server::start_at(&url, &["--provisioning"]);
    let wire = Wire::to(&server).await;
    validate(&wire).await.unwrap();
    let all = granted(&database, &role).await;
    let mut only_doctor = BTreeSet::new();
    for privilege in &all {
        let known = server.logs_so_far().len();
        database.execute(&format!("REVOKE {privilege} FROM {}", role.name)).await;
        let validated = validate(&wire).await;
        let expected = validated.is_ok() && !ONLY_DOCTOR_MISSES.contains(&privilege.as_str());
        let warned = warning_with_grants(&server, known, expected).await;
        let grants = match (&validated, warned) {
            (Err(status), _) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{privilege}: {status:?}");
                grants_in(status.message())
            }
            (Ok(()), Some(warning)) => grants_in(&warning),
            (Ok(()), None) => {
                only_doctor.insert(privilege.as_str());
                prescribed(&url)
            }
        };
        let grants: Vec<String> = grants.iter().map(|grant| grant.replace("public.", "")).collect();
        assert_eq!(grants, [format!("GRANT {privilege} TO {};", role.name)]);
        database.execute(&grants[0]).await;
        validate(&wire).await.unwrap();
    }
    assert_eq!(granted(&database, &role).await, all);
    assert_eq!(only_doctor, ONLY_DOCTOR_MISSES.iter().copied().collect());
    assert_eq!(prescribed(&url), Vec::<String>::new());
}

#[tokio::test]
async fn extras_are_granted_only_on_request() {
    let database = Database::seeded(FEW).await;
    let (plain, with_extras) = (set_up(&database, &[]).await, set_up(&database, &["--extras"]).await);
    let (plain, more) = (granted(&database, &plain).await, granted(&database, &with_extras).await);
    let extras: Vec<&str> = more.difference(&plain).map(String::as_str).collect();
    assert_eq!(extras.len(), 15, "{extras:?}");
    for extra in &extras {
        let archived = *extra == "SELECT (\"archivedAt\") ON groups";
        assert!(archived || ONLY_DOCTOR_MISSES.contains(extra), "{extra}");
    }
    let never = ["metadata", "ipAddress", "userAgent", "hashedPassword", "geoLocation"];
    assert!(!more.iter().any(|privilege| never.iter().any(|column| privilege.contains(column))), "{more:?}");
    assert!(plain.is_subset(&more));
}

#[tokio::test]
async fn a_role_for_groups_cannot_change_pages_and_the_error_names_the_grants() {
    let database = Database::seeded(FEW).await;
    database.execute(NOBODY).await;
    let role = set_up(&database, &["--provisioning=groups"]).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    assert_eq!(changes.grant("group:g5:member", "user/u4").await.unwrap().did(), Did::Changed);
    let before = Tables::of(&database).await;
    for (entitlement, principal) in [("page:p1:group:own", "group/g5"), ("page:p1:user:own", "user/u4")] {
        let refused = changes.grant(entitlement, principal).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        for grant in ["GRANT INSERT (", "GRANT UPDATE (", "GRANT DELETE ON group_pages TO "] {
            assert!(refused.message().contains(grant), "{grant}: {}", refused.message());
        }
    }
    before.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn hostile_role_names_are_quoted() {
    let database = Database::seeded(FEW).await;
    let unique = database.create_role(&[]).await;
    for name in [
        format!("{} \"; DROP TABLE users; --", unique.name),
        format!("{} $block$ ' \\ é", unique.name),
        format!("{}\n'; DROP TABLE users; --", unique.name),
        format!("UPPER {}", unique.name),
    ] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        for _ in 0..2 {
            database.execute(&script(&name, ALL)).await;
        }
        let role = Role { name: name.clone(), password: unique.password.clone() };
        assert!(granted(&database, &Role { name: quoted.clone(), ..role }).await.len() > 80, "{name:?}");
        database.execute(&format!("ALTER ROLE {quoted} PASSWORD '{}'", unique.password)).await;
        let (host, port) = database.cluster().address().rsplit_once(':').unwrap();
        let user = name.replace('\\', "\\\\").replace('\'', "\\'");
        let url = format!(
            "host={host} port={port} dbname={} user='{user}' password={}",
            database.name(),
            unique.password
        );
        let (changes, server) = Changes::serving_at(&url, &[]).await;
        change_everything(&changes, &database).await;
        see(server.channel().await).await.unwrap();
        drop((changes, server));
        eventually("the end of the role", async || {
            let drop = format!("DROP OWNED BY {quoted}; DROP ROLE {quoted}");
            database.client().await.batch_execute(&drop).await.ok()
        })
        .await;
    }
}

#[tokio::test]
async fn sql_keywords_as_role_names_are_quoted() {
    let database = Database::empty_schema().await;
    let words = "SELECT word FROM pg_get_keywords() WHERE catcode <> 'U'";
    let words = database.reader().await.query(words, &[]).await.unwrap();
    assert!(words.len() > 100);
    for word in words {
        let word: String = word.get(0);
        if word != "none" {
            let quoted = format!("TO \"{word}\";");
            assert!(script(&word, &[]).contains(&quoted), "{word} is not quoted");
        }
    }
}

#[tokio::test]
async fn a_new_role_can_log_in_without_a_password_set() {
    let database = Database::empty_schema().await;
    let name = format!("{}_new", database.name());
    database.execute(&script(&name, &[])).await;
    let made =
        "SELECT rolcanlogin, rolpassword IS NULL, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls
                FROM pg_authid WHERE rolname = $1";
    let made = database.reader().await.query_one(made, &[&name]).await.unwrap();
    let made: (bool, bool, bool) = (made.get(0), made.get(1), made.get(2));
    database.execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
    assert_eq!(made, (true, true, false));
}

#[tokio::test]
async fn other_databases_are_not_modified() {
    let database = Database::empty_schema().await;
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let name = format!("{}_new", database.name());
    let refused = database.client().await.batch_execute(&script(&name, ALL)).await.unwrap_err();
    assert!(refused.as_db_error().unwrap().message().contains("not a Retool database"), "{refused:?}");
    let made = database.reader().await.query("SELECT FROM pg_roles WHERE rolname = $1", &[&name]).await;
    assert!(made.unwrap().is_empty());
}

#[test]
fn the_script_matches_its_snapshot() {
    insta::assert_snapshot!("setup_sql", script("baton", ALL));
}

#[test]
fn an_invalid_role_or_feature_exits_with_2() {
    let long = "x".repeat(64);
    let cases: [(&[&str], &str); 13] = [
        (&[], "--role"),
        (&["--role", ""], "empty"),
        (&["--role", &long], "63 bytes"),
        (&["--role", "public"], "public"),
        (&["--role", "pg_monitor"], "pg_"),
        (&["--role", "baton", "--provisioning=groups,apps"], "\"apps\""),
        (&["--role", "baton", "--provisioning"], "--provisioning"),
        (&["--role", "baton", "--provisioning="], "--provisioning"),
        (&["--role", "baton", "--output", "json"], "--output"),
        (&["--role", "baton", "--listen", "127.0.0.1:0"], "--listen does not apply"),
        (&["--role", "baton", "--connection-string", "host=h dbname=d"], "does not apply to setup-sql"),
        (&["--role", "baton", "--skip-pages=maybe"], "neither true nor false"),
        (&["--role", "baton", "--skip-pages", "--provisioning=groups,pages"], "--skip-pages"),
    ];
    for (arguments, word) in cases {
        let output = run(&[&["setup-sql"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
}

//! Checks of the connection, the login, the privileges and TLS. The output of each is a snapshot.

use std::net::TcpListener;
use std::process::Output;

use regex::Regex;
use serde_json::Value;

use crate::support::changes::Tables;
use crate::support::closed_port::ClosedPort;
use crate::support::cluster::Cluster;
use crate::support::pooler::Pooler;
use crate::support::postgres::{Database, Provisioning, Role, Sizes};
use crate::support::retool_api::{Reply, RetoolApi, TOKEN};
use crate::support::server::program;
use crate::support::skipped::skipped;
use crate::support::tls::Certificates;

pub(super) const FEW: Sizes = Sizes { users: 9, groups: 5, pages: 4, resources: 3 };

/// The output and the exit code of `doctor`.
pub(super) struct Visit {
    pub(super) code: i32,
    pub(super) text: String,
}

pub(super) fn run(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    program()
        .arg("doctor")
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .output()
        .unwrap()
}

/// Runs `doctor` with a connection string and these arguments; stderr must be empty.
pub(super) fn visit(connection: &str, arguments: &[&str]) -> Visit {
    let output = run(&[], &[&["--connection-string", connection], arguments].concat());
    assert!(output.stderr.is_empty(), "{output:?}");
    Visit { code: output.status.code().unwrap(), text: String::from_utf8(output.stdout).unwrap() }
}

impl Visit {
    /// The output without the parts that differ between runs.
    pub(super) fn shown(&self, database: Option<&Database>, role: Option<&Role>) -> String {
        let mut text = self.text.clone();
        if let Some(role) = role {
            text = text.replace(&role.name, "[role]");
        }
        if let Some(database) = database {
            text = text.replace(database.name(), "[database]");
            text = text.replace(database.cluster().address(), "127.0.0.1:[port]");
        }
        for (pattern, instead) in [
            (r"PostgreSQL [0-9.]+( \([^)]*\))?", "PostgreSQL [version]"),
            (r"listings took [^(]* \([^)]*\)", "listings took [some] ms ([which])"),
            (r"(127\.0\.0\.1|localhost|db\.example):[0-9]+", "$1:[port]"),
            (r"failed to lookup address information: .*", "[the words of the resolver]"),
            (r"the last entry is [0-9,]+ days old", "the last entry is [some] days old"),
            (r"(\S)  +", "$1  "),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
        }
        format!("exit code {}\n\n{text}", self.code)
    }

    /// The status of each line about this check.
    pub(super) fn status_of(&self, check: &str) -> Vec<&str> {
        let lines = self.text.lines().filter(|line| !line.starts_with(' '));
        let words = lines.filter_map(|line| line.split_once(' '));
        let of_check = words.filter(|(_, rest)| rest.trim_start().starts_with(check));
        of_check.map(|(status, _)| status).collect()
    }
}

macro_rules! assert_shown {
    ($name:literal, $visit:expr, $database:expr, $role:expr) => {
        insta::assert_snapshot!(concat!("doctor_", $name), $visit.shown($database, $role))
    };
}

pub(super) use assert_shown;

pub(super) async fn healthy() -> (Database, Role) {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    (database, role)
}

#[tokio::test]
async fn a_healthy_setup_passes_every_check_and_is_not_modified() {
    let (database, role) = healthy().await;
    let before = Tables::of(&database).await;
    let seen = visit(&database.url_as(&role), &["--provisioning", "--strict"]);
    assert_shown!("healthy", seen, Some(&database), Some(&role));
    assert_eq!(seen.code, 0);
    before.assert_same(&Tables::of(&database).await);
    let sequences = "SELECT count(*) FROM pg_sequences WHERE last_value IS NOT NULL
                     AND sequencename IN ('user_groups_id_seq', 'group_pages_id_seq', 'groups_id_seq')";
    let client = database.client().await;
    let of_sequences = "SELECT string_agg(sequencename || last_value, ',' ORDER BY 1) FROM pg_sequences";
    assert!(client.query_one(sequences, &[]).await.unwrap().get::<_, i64>(0) > 0);
    let known: String = client.query_one(of_sequences, &[]).await.unwrap().get(0);
    visit(&database.url_as(&role), &["--provisioning"]);
    assert_eq!(client.query_one(of_sequences, &[]).await.unwrap().get::<_, String>(0), known);
}

#[test]
fn an_unknown_host_is_reported() {
    let seen = visit("host=retool-db.invalid user=baton dbname=retool", &[]);
    assert_shown!("unknown_host", seen, None, None);
}

#[test]
fn a_closed_port_is_reported() {
    let closed = ClosedPort::new();
    let seen = visit(&format!("host=127.0.0.1 port={} user=baton dbname=retool", closed.port()), &[]);
    assert_shown!("closed_port", seen, None, None);
}

#[test]
fn a_silent_host_is_reported_after_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let connection = format!("host=127.0.0.1 port={port} user=baton dbname=retool");
    let soon = ["--connect-timeout-seconds", "4"];
    assert_shown!("silent_host", visit(&connection, &soon), None, None);
    let plain = visit(&format!("{connection} sslmode=disable"), &soon);
    assert_shown!("silent_host_without_tls", plain, None, None);
}

#[test]
fn a_missing_unix_socket_is_reported() {
    let seen = visit("host=/nowhere port=5432 user=baton dbname=retool", &[]);
    assert_shown!("no_socket", seen, None, None);
}

#[tokio::test]
async fn each_refused_login_is_reported_with_its_fix() {
    let (database, role) = healthy().await;
    let wrong = Role { name: role.name.clone(), password: "hunter2".to_owned() };
    let seen = visit(&database.url_as(&wrong), &[]);
    assert!(!seen.text.contains("hunter2"), "{}", seen.text);
    assert_shown!("wrong_password", seen, Some(&database), Some(&role));

    let unknown = Role { name: "nobody_of_that_name".to_owned(), password: "hunter2".to_owned() };
    assert_shown!("unknown_role", visit(&database.url_as(&unknown), &[]), Some(&database), None);

    let address = database.cluster().address();
    let without = format!("postgres://{}@{address}/{}", role.name, database.name());
    assert_shown!("no_password", visit(&without, &[]), Some(&database), Some(&role));

    let elsewhere = format!("postgres://{}:{}@{address}/hammerhead_productoin", role.name, role.password);
    assert_shown!("unknown_database", visit(&elsewhere, &[]), Some(&database), Some(&role));

    let other_kind = format!("{}?target_session_attrs=standby", database.url_as(&role));
    assert_shown!("not_a_standby", visit(&other_kind, &[]), Some(&database), Some(&role));

    database.execute(&format!("ALTER ROLE {} CONNECTION LIMIT 0", role.name)).await;
    assert_shown!("no_connection_left", visit(&database.url_as(&role), &[]), Some(&database), Some(&role));

    database.execute(&format!("ALTER ROLE {} CONNECTION LIMIT -1 NOLOGIN", role.name)).await;
    assert_shown!("no_login", visit(&database.url_as(&role), &[]), Some(&database), Some(&role));

    let both = (database.name(), &role.name);
    database.execute(&format!("ALTER ROLE {} LOGIN", role.name)).await;
    database.execute(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC, {}", both.0, both.1)).await;
    assert_shown!("no_connect", visit(&database.url_as(&role), &[]), Some(&database), Some(&role));
}

#[tokio::test]
async fn each_unexpected_database_is_reported_with_its_fix() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    let postgres = url.replace(&format!("/{}", database.name()), "/postgres");
    assert_shown!("another_database", visit(&postgres, &[]), Some(&database), Some(&role));
    let changing = visit(&postgres, &["--provisioning"]);
    assert_eq!(changing.status_of("database"), ["failed"], "{}", changing.text);

    database.execute(&format!("REVOKE ALL ON SCHEMA public FROM PUBLIC, {}", role.name)).await;
    assert_shown!("closed_schema", visit(&url, &[]), Some(&database), Some(&role));
    let changing = visit(&url, &["--provisioning"]);
    assert_shown!("closed_schema_with_changes", changing, Some(&database), Some(&role));
    database.execute(&format!("GRANT USAGE ON SCHEMA public TO {}", role.name)).await;

    database.execute(r#"ALTER TABLE users ALTER COLUMN "lastLoggedIn" TYPE text"#).await;
    assert_shown!("odd_type", visit(&url, &[]), Some(&database), Some(&role));

    database
        .execute(r#"ALTER TABLE users DROP COLUMN "lastLoggedIn"; DROP TABLE group_folder_defaults"#)
        .await;
    assert_shown!("missing_column_and_table", visit(&url, &[]), Some(&database), Some(&role));
}

#[tokio::test]
async fn missing_read_privileges_are_reported_with_their_grants() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    database.execute(&format!(r#"REVOKE SELECT ("lastLoggedIn") ON users FROM {}"#, role.name)).await;
    assert_shown!("missing_column_grant", visit(&url, &[]), Some(&database), Some(&role));
    database.execute(&format!("REVOKE ALL ON group_pages, group_resources FROM {}", role.name)).await;
    let seen = visit(&url, &[]);
    assert_shown!("missing_table_grant", seen, Some(&database), Some(&role));
    let grants =
        seen.text.lines().filter_map(|line| line.trim().strip_prefix("> GRANT ")).collect::<Vec<_>>();
    for grant in grants {
        database.execute(&format!("GRANT {grant}")).await;
    }
    assert_eq!(visit(&url, &["--strict"]).code, 0);
}

#[tokio::test]
async fn row_level_security_that_hides_rows_is_reported() {
    let (database, role) = healthy().await;
    let url = database.url_as(&role);
    database.execute("ALTER TABLE user_groups ENABLE ROW LEVEL SECURITY").await;
    assert_shown!("rls_hides_a_table", visit(&url, &[]), Some(&database), Some(&role));
    let policy = format!("CREATE POLICY a_few ON user_groups FOR SELECT TO {} USING (id > 3)", role.name);
    database.execute(&policy).await;
    assert_eq!(visit(&url, &[]).code, 0);
    let strict = visit(&url, &["--strict"]);
    assert_eq!(strict.code, 1);
    assert_shown!("rls_filters_a_table", strict, Some(&database), Some(&role));
}

#[tokio::test]
async fn a_statement_timeout_is_reported() {
    let (database, role) = healthy().await;
    database.execute(&format!("ALTER ROLE {} SET statement_timeout = '5s'", role.name)).await;
    let mut client = database.client().await;
    let locked = client.transaction().await.unwrap();
    locked.batch_execute("LOCK TABLE pages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let seen = visit(&database.url_as(&role), &[]);
    locked.rollback().await.unwrap();
    assert_shown!("slow_statement", seen, Some(&database), Some(&role));
}

#[tokio::test]
async fn required_tls_that_the_server_lacks_is_reported() {
    let (database, role) = healthy().await;
    for mode in ["require", "verify-full"] {
        let seen = visit(&format!("{}?sslmode={mode}", database.url_as(&role)), &[]);
        assert_eq!((seen.code, seen.status_of("tls")), (2, vec!["failed"]), "{}", seen.text);
    }
    let seen = visit(&format!("{}?sslmode=require", database.url_as(&role)), &[]);
    assert_shown!("tls_not_offered", seen, Some(&database), Some(&role));
}

#[tokio::test]
async fn invalid_certificates_and_a_standby_are_reported() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), FEW).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let Some(certificates) = Certificates::install(&cluster, &database).await else {
        skipped("the files of the Postgres server are out of reach");
        return;
    };
    let port = database.cluster().address().rsplit_once(':').unwrap().1.to_owned();
    let connection = |host: &str, authority: &std::path::Path| {
        format!(
            "host={host} hostaddr=127.0.0.1 port={port} dbname={} user={} password={} sslmode=verify-full sslrootcert={}",
            database.name(),
            role.name,
            role.password,
            authority.display()
        )
    };
    let shown = |seen: Visit| {
        let text = seen.shown(Some(&database), Some(&role));
        text.replace(&cluster.socket().unwrap().display().to_string(), "[directory]")
    };
    let good = visit(&connection("localhost", &certificates.authority()), &[]);
    assert_eq!((good.code, good.status_of("tls")), (0, vec!["ok"]), "{}", good.text);
    assert!(good.text.contains("TLS 1.3, and the server's identity is verified"), "{}", good.text);
    let seen = visit(&connection("localhost", &certificates.other_authority()), &[]);
    insta::assert_snapshot!("doctor_tls_unknown_authority", shown(seen));
    let seen = visit(&connection("db.example", &certificates.authority()), &[]);
    insta::assert_snapshot!("doctor_tls_wrong_name", shown(seen));
    let seen = visit(&connection("localhost", std::path::Path::new("/nowhere.pem")), &[]);
    insta::assert_snapshot!("doctor_tls_no_file", shown(seen));
    certificates.expire(&database).await;
    let seen = visit(&connection("localhost", &certificates.authority()), &[]);
    insta::assert_snapshot!("doctor_tls_expired", shown(seen));

    certificates.make_standby(&cluster, &database).await;
    let seen = visit(&format!("{}?sslmode=disable", database.url_as(&role)), &["--provisioning"]);
    insta::assert_snapshot!("doctor_standby", shown(seen));
    let reading = visit(&format!("{}?sslmode=disable", database.url_as(&role)), &["--strict"]);
    assert_eq!(reading.code, 0, "{}", reading.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_rest_api_are_reported() {
    let (database, role) = healthy().await;
    let api = RetoolApi::start(&database);
    let flags = api.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let url = database.url_as(&role);
    let changing = [&["--provisioning"], &flags[..]].concat();
    let good = visit(&url, &changing);
    assert_eq!((good.code, good.status_of("rest")), (0, vec!["ok"]), "{}", good.text);

    api.always("GET", Reply::refusal(401, &format!("no such token: Bearer {TOKEN}")));
    let refused = visit(&url, &changing);
    assert!(!refused.text.contains(TOKEN), "{}", refused.text);
    assert_shown!("rest_token_refused", refused, Some(&database), Some(&role));
    let reading = visit(&url, &flags);
    assert_eq!((reading.code, reading.status_of("rest")), (0, vec!["warning"]), "{}", reading.text);

    database.execute(&format!("REVOKE SELECT (sid) ON users FROM {}", role.name)).await;
    api.always("GET", Reply::Usual);
    let blind = visit(&url, &changing);
    assert_eq!(blind.status_of("optional: users.sid"), ["warning"], "{}", blind.text);
}

#[tokio::test]
async fn a_pooler_is_detected() {
    let (database, role) = healthy().await;
    let Some(pooler) = Pooler::start(&database, &role, "") else { return };
    let seen = visit(&pooler.url(&database, &role), &["--provisioning", "--strict"]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    assert!(seen.text.contains(", behind a pooler"), "{}", seen.text);
}

#[tokio::test]
async fn one_reachable_host_is_enough_and_the_others_are_warned_about() {
    let (database, role) = healthy().await;
    let port = database.cluster().address().rsplit_once(':').unwrap().1;
    let closed = ClosedPort::new();
    let connection = format!(
        "host=127.0.0.1,127.0.0.1 port={},{port} dbname={} user={} password={}",
        closed.port(),
        database.name(),
        role.name,
        role.password
    );
    let seen = visit(&connection, &[]);
    assert_eq!((seen.code, seen.status_of("tcp")), (0, vec!["warning", "ok"]), "{}", seen.text);
}

#[tokio::test]
async fn skipped_resource_types_are_not_checked() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    for table in ["pages", "group_pages", "group_folder_defaults", "resources", "group_resources"] {
        database.execute(&format!("REVOKE ALL ON {table} FROM {}", role.name)).await;
    }
    let seen = visit(&database.url_as(&role), &["--skip-pages", "--skip-resources", "--strict"]);
    assert_eq!((seen.code, seen.status_of("read")), (0, vec!["ok"]), "{}", seen.text);
}

#[tokio::test]
async fn output_is_json_on_request_and_colored_on_a_terminal() {
    let (database, role) = healthy().await;
    database.execute(&format!(r#"REVOKE SELECT ("archivedAt") ON groups FROM {}"#, role.name)).await;
    let url = database.url_as(&role);
    let output = run(&[], &["--connection-string", &url, "--output", "json", "--strict"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&report), ["version", "result", "ok", "warning", "failed", "skipped", "checks"]);
    assert_eq!((report["result"].as_str(), report["warning"].as_u64()), (Some("warning"), Some(1)));
    let checks = report["checks"].as_array().unwrap();
    let warning = checks.iter().find(|check| check["status"] == "warning").unwrap();
    assert_eq!(names(warning), ["check", "about", "status", "found", "meaning", "fix"]);
    assert_eq!(
        (warning["check"].as_str(), warning["about"].as_str()),
        (Some("optional"), Some("groups.archivedAt"))
    );
    let grant = format!(r#"GRANT SELECT ("archivedAt") ON groups TO {};"#, role.name);
    assert_eq!(warning["fix"], serde_json::json!([grant]));

    let arguments = ["--connection-string", &url];
    assert!(!run(&[], &arguments).stdout.contains(&0x1b));
    assert!(run(&[("CLICOLOR_FORCE", "1")], &arguments).stdout.contains(&0x1b));
    assert!(!run(&[("NO_COLOR", "1")], &arguments).stdout.contains(&0x1b));
}

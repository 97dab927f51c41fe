//! Tests of the support itself.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::cluster::{Cluster, connect, project_file};
use super::postgres::{Database, Provisioning, Sizes};

async fn count(database: &Database, table: &str) -> i64 {
    database.reader().await.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn each_test_gets_its_own_database() {
    let (one, other) = (Database::small().await, Database::small().await);
    one.execute("DELETE FROM users").await;
    assert_eq!(count(&one, "users").await, 0);
    assert_eq!(count(&other, "users").await, 47);
}

#[tokio::test]
async fn the_seed_uses_the_given_sizes() {
    let sizes = Sizes { users: 7, groups: 3, pages: 5, resources: 2 };
    let database = Database::seeded(sizes).await;
    assert_eq!(count(&database, "users").await, 14);
    assert_eq!(count(&database, "pages").await, 6);
    assert_eq!(count(&database, "resources").await, 3);
    assert_eq!(count(&Database::empty_schema().await, "organizations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_created_concurrently_share_one_template() {
    let sizes = Sizes { users: 9, ..Sizes::default() };
    let cluster = Cluster::private();
    let making: Vec<_> = (0..8).map(|_| tokio::spawn(Database::seeded_on(cluster.clone(), sizes))).collect();
    let mut databases = Vec::new();
    for made in making {
        databases.push(made.await.unwrap());
    }
    let names: HashSet<_> = databases.iter().map(|database| database.name().to_owned()).collect();
    assert_eq!(names.len(), 8);
    // Postgres's own three databases, the template and the eight copies.
    assert_eq!(count(&databases[0], "pg_database").await, 12);
}

#[tokio::test]
async fn a_dropped_database_removes_its_roles() {
    let witness = Database::empty_schema().await;
    let database = Database::small().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let held_open = database.client_as(&role).await;
    let name = database.name().to_owned();
    drop(database);
    assert_eq!(count(&witness, &format!("pg_database WHERE datname = '{name}'")).await, 0);
    assert_eq!(count(&witness, &format!("pg_roles WHERE rolname = '{}'", role.name)).await, 0);
    assert!(held_open.simple_query("SELECT 1").await.is_err());
}

#[tokio::test]
async fn a_role_has_only_its_grants_and_needs_its_password() {
    let database = Database::small().await;
    let mut role = database.create_role(&["SELECT (id, name) ON organizations"]).await;
    let client = database.client_as(&role).await;
    assert_eq!(client.query("SELECT id, name FROM organizations", &[]).await.unwrap().len(), 2);
    let refused = client.query("SELECT domain FROM organizations", &[]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

    role.password = "wrong".to_owned();
    let refused = connect(&database.url_as(&role)).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn each_part_of_the_setup_script_is_granted_separately() {
    const MEMBERSHIP: &str = r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
        VALUES (1, 8, now(), now()) ON CONFLICT ("userId", "groupId") DO UPDATE SET "isAdmin" = true"#;
    const PAGE: &str = r#"INSERT INTO group_pages ("groupId", "pageId", "accessLevel", "createdAt", "updatedAt")
        VALUES (1, 1, 'read', now(), now()) ON CONFLICT ("groupId", "pageId") DO UPDATE SET "accessLevel" = 'read'"#;
    const GROUP: &str = r#"INSERT INTO groups (name, "organizationId", "createdAt", "updatedAt",
        "unpublishedReleaseAccess", "accountDetailsAccess") VALUES ('new', 1, now(), now(), false, false)"#;
    let cases: [(&[Provisioning], &[&str], &[&str]); 4] = [
        (&[], &[], &[MEMBERSHIP, PAGE, GROUP]),
        (&[Provisioning::Groups], &[MEMBERSHIP], &[PAGE, GROUP]),
        (&[Provisioning::Pages], &[PAGE], &[MEMBERSHIP, GROUP]),
        (&[Provisioning::Groups, Provisioning::Pages], &[MEMBERSHIP, PAGE, GROUP], &[]),
    ];
    for (provisioning, allowed, refused) in cases {
        let database = Database::small().await;
        let role = database.documented_role(provisioning).await;
        let client = database.client_as(&role).await;
        client
            .batch_execute(r#"SELECT "archivedAt" FROM groups; SELECT id, "userId" FROM user_groups"#)
            .await
            .unwrap();
        for sql in allowed {
            client
                .batch_execute(sql)
                .await
                .unwrap_or_else(|error| panic!("{provisioning:?} {sql}: {error:?}"));
        }
        for sql in refused {
            let error = client.batch_execute(sql).await.expect_err(sql);
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{provisioning:?} {sql}");
        }
    }
}

#[tokio::test]
async fn statements_are_counted_by_database_and_role() {
    let (database, other) = (Database::small().await, Database::small().await);
    let role = database.create_role(&["SELECT ON users"]).await;
    let client = database.client_as(&role).await;
    for id in [1, 2, 3] {
        client
            .query_typed("SELECT id FROM users WHERE id = $1", &[(&id, tokio_postgres::types::Type::INT4)])
            .await
            .unwrap();
    }
    other.execute("SELECT id FROM users WHERE id = 1").await;
    let counted = database.statements_of(&role).await;
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert_eq!((counted[0].calls, counted[0].rows), (3, 3));
    let by_anyone = database.statements().await;
    assert!(by_anyone.contains(&counted[0]) && by_anyone.len() > 1, "{by_anyone:?}");
    database.forget_statements().await;
    assert_eq!(database.statements_of(&role).await, []);
    assert_eq!(other.statements().await.len(), 1);
}

#[tokio::test]
async fn a_private_server_can_be_stopped_and_started() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let client = database.client().await;

    cluster.pause();
    let answer = tokio::time::timeout(Duration::from_millis(200), client.simple_query("SELECT 1")).await;
    assert!(answer.is_err(), "a paused server answered");
    cluster.resume();
    client.simple_query("SELECT 1").await.unwrap();

    cluster.stop();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert!(connect(&database.url()).await.is_err());
    cluster.start();
    assert_eq!(count(&database, "users").await, 47);

    let client = database.client().await;
    cluster.restart();
    assert!(client.simple_query("SELECT 1").await.is_err());
    assert_eq!(count(&database, "users").await, 47);
}

#[tokio::test]
async fn a_dropped_server_leaves_nothing_behind() {
    let cluster = Cluster::private();
    cluster.pause();
    let Some(directory) = cluster.socket().map(Path::to_owned) else { return };
    assert!(directory.exists());
    drop(cluster);
    assert!(!directory.exists());
}

#[test]
fn a_killed_keeper_leaves_nothing_behind() {
    let mut keeper = Command::new(project_file("scripts/with-postgres"))
        .arg("--hold")
        .env_remove("RETOOL_POSTGRES")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let announced: Vec<_> = BufReader::new(keeper.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| line != "ready")
        .collect();
    let socket = announced.iter().find_map(|line| line.strip_prefix("RETOOL_POSTGRES_SOCKET=")).unwrap();
    keeper.kill().unwrap();
    if !socket.is_empty() {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Path::new(socket).exists() {
            assert!(Instant::now() < deadline, "{socket} is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    keeper.wait().unwrap();
}

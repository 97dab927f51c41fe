//! A database that is down, slow or full: callers get Unavailable, and a retry works.

use std::net::SocketAddr;

use baton_retool::proto::connector::{ConnectorServiceValidateRequest, ConnectorServiceValidateResponse};
use tonic::Code;

use crate::support::cluster::Cluster;
use crate::support::postgres::{Database, Role, Sizes};
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, eventually, id, resource};

/// Verifies that neither the responses nor the log at its most verbose level contain the password.
#[track_caller]
fn assert_kept_secret(password: &str, server: &Server, answers: &[tonic::Status]) {
    assert!(password.len() > 8);
    for status in answers {
        assert!(!format!("{status:?}").contains(password), "in an answer: {status:?}");
    }
    for line in server.logs() {
        assert!(!line.to_string().contains(password), "in the log: {line}");
    }
}

async fn member(database: &Database) -> Role {
    database.documented_role(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_unavailable_while_the_database_is_down_and_recover() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let role = member(&database).await;
    // The server writes lazily and is killed, so write everything first.
    database.execute("CHECKPOINT").await;
    cluster.stop();

    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    let words = ["cannot connect to the Retool database", cluster.address(), database.name()];
    let at_start = assert_refused(wire.organizations().await, Code::Unavailable, &words);
    cluster.start();
    assert_eq!(wire.organizations().await.unwrap().len(), 2);

    cluster.stop();
    let during_outage = assert_refused(wire.organizations().await, Code::Unavailable, &[]);
    let grants = wire.grants(resource("group", "g1"), 0, "").await.map(drop);
    let grants = assert_refused(grants, Code::Unavailable, &[]);
    cluster.start();
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
    assert_kept_secret(&role.password, &server, &[at_start, during_outage, grants]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_lost_in_a_database_restart_fail_no_call() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    // Several calls concurrently, so that the pool holds several connections that may be dead.
    let at_once = || futures_util::future::join_all((0..8).map(|_| wire.organizations()));
    for answer in at_once().await {
        assert_eq!(answer.unwrap().len(), 2);
    }
    for _ in 0..2 {
        cluster.restart();
        for answer in at_once().await {
            assert_eq!(answer.unwrap().len(), 2);
        }
    }
}

#[tokio::test]
async fn connections_ended_by_the_server_fail_no_call() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for _ in 0..5 {
        assert_eq!(wire.organizations().await.unwrap().len(), 2);
        database
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
}

#[tokio::test]
async fn a_slow_statement_is_cancelled_and_the_error_names_the_limit() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--statement-timeout-seconds", "3"]);
    let wire = Wire::to(&server).await;
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations, user_groups").await.unwrap();
    let words = ["statement timeout", "--statement-timeout-seconds"];
    assert_refused(wire.organizations().await, Code::DeadlineExceeded, &words);
    let grants = wire.grants(resource("group", "g1"), 0, "").await;
    assert_refused(grants, Code::DeadlineExceeded, &words);
    transaction.rollback().await.unwrap();
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_frozen_database_time_out() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let limits =
        ["--statement-timeout-seconds", "4", "--connect-timeout-seconds", "4", "--pool-wait-seconds", "60"];
    let server = Server::start_at(&format!("{}?pool_max_conns=1", database.url()), &limits);
    let wire = Wire::to(&server).await;
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
    cluster.pause();
    // The first call uses an open connection, the second one fails to open one.
    assert_refused(wire.organizations().await, Code::DeadlineExceeded, &["statement"]);
    assert_refused(wire.organizations().await, Code::Unavailable, &["no answer within 4 s"]);
    cluster.resume();
    let found = eventually("an answer", async || wire.organizations().await.ok()).await;
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_refused_login_is_unavailable_and_never_shows_the_password() {
    let database = Database::small().await;
    let role = member(&database).await;
    let address: SocketAddr = database.cluster().address().parse().unwrap();
    let (name, port) = (database.name(), address.port());
    let Role { name: user, password } = &role;
    let with_options = |options: &str| {
        format!(
            "host=127.0.0.1 port={port} dbname={name} user={user} password={password} options='{options}'"
        )
    };
    for (url, word, secret) in [
        (with_options("postgres://me:misplaced@db/retool"), "rejects options", "misplaced"),
        (with_options("-c postgres://me:misplaced@db/retool?a=b"), "rejects options", "misplaced"),
        (with_options("-c misplaced=b"), "rejects options", "misplaced"),
        (with_options("' misplaced='b"), "rejects options", "misplaced"),
        (format!("postgres://{user}:guessed-it-wrong@{address}/{name}"), "28P01", "guessed-it-wrong"),
        (
            format!("postgres://{user}:{password}@{address}/no_such_database"),
            "no_such_database",
            password.as_str(),
        ),
        (
            format!("host=127.0.0.1 port={port} dbname={name} user=nobody_of_that_name password={password}"),
            "nobody_of_that_name",
            password.as_str(),
        ),
    ] {
        let server = Server::start_at(&url, &[]);
        let wire = Wire::to(&server).await;
        let words = ["cannot connect", word];
        let refused = assert_refused(wire.organizations().await, Code::Unavailable, &words);
        assert_kept_secret(secret, &server, &[refused]);
    }
}

#[tokio::test]
async fn a_full_postgres_is_unavailable_until_a_connection_is_free() {
    let database = Database::small().await;
    let role = member(&database).await;
    database.execute(&format!("ALTER ROLE {} CONNECTION LIMIT 1", role.name)).await;
    let other = database.client_as(&role).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    let refused = assert_refused(wire.organizations().await, Code::Unavailable, &["too many connections"]);
    assert_kept_secret(&role.password, &server, &[refused]);
    drop(other);
    let found = eventually("room for a connection", async || wire.organizations().await.ok()).await;
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn a_busy_pool_is_reported() {
    let database = Database::small().await;
    let url = format!("{}?pool_max_conns=1", database.url());
    let server = Server::start_at(&url, &["--connect-timeout-seconds", "4"]);
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    let wire = Wire::to(&server).await;
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let holding = tokio::spawn({
        let wire = wire.clone();
        async move { wire.organizations().await }
    });
    database.wait_until_blocked(1).await;
    let answer = wire.resources("user", Some(id("org", "o1")), 0, "").await;
    assert_refused(answer, Code::Unavailable, &["pool_max_conns", "busy"]);
    transaction.rollback().await.unwrap();
    assert_eq!(holding.await.unwrap().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_waits_for_a_database_that_is_restarting() {
    let cluster = Cluster::private();
    let database = Database::seeded_on(cluster.clone(), Sizes::default()).await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    cluster.stop();
    let waiting = tokio::spawn(async move {
        let request = ConnectorServiceValidateRequest::default();
        wire.call::<ConnectorServiceValidateResponse>("ConnectorService/Validate", &request).await
    });
    server
        .wait_for_log(|line| line["msg"].as_str().is_some_and(|text| text.contains("not answer; retrying")));
    cluster.start();
    assert_eq!(waiting.await.unwrap().unwrap().sdk_version, "v0.25.0");
}

#[tokio::test]
async fn a_lock_timeout_can_be_retried() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    database.execute(&format!("ALTER ROLE {} SET lock_timeout = '100ms'", role.name)).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let wire = Wire::to(&server).await;
    wire.resources("org", None, 0, "").await.unwrap();
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let answer = wire.resources("org", None, 0, "").await;
    assert_refused(answer, Code::DeadlineExceeded, &["lock timeout", "lock_timeout"]);
}

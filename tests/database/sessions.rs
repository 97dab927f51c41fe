//! Sessions and statements: settings of a session, number of statements, cancellation.

use baton_retool::proto::connector::{ConnectorServiceValidateRequest, ConnectorServiceValidateResponse};

use crate::support::changes::Changes;
use crate::support::observe::see;
use crate::support::postgres::{Database, Provisioning, Role};
use crate::support::server::Server;
use crate::support::wire::{Wire, eventually, id, resource};

const SETTINGS: &str = "current_setting('transaction_read_only') || ' ' ||
    current_setting('statement_timeout') || ' ' || current_setting('application_name')";

async fn revealed_to(url: &str, extra_args: &[&str]) -> String {
    let server = Server::start_at(url, extra_args);
    Wire::to(&server).await.revealed().await.unwrap()
}

#[tokio::test]
async fn sessions_are_read_only_limited_in_time_and_named() {
    let database = Database::small().await;
    database.reveal(SETTINGS).await;
    assert_eq!(revealed_to(&database.url(), &[]).await, "on 1min baton-retool");
    let shorter = revealed_to(&database.url(), &["--statement-timeout-seconds", "7"]).await;
    assert_eq!(shorter, "on 7s baton-retool");
    let named = revealed_to(&format!("{}?application_name=audit", database.url()), &[]).await;
    assert_eq!(named, "on 1min audit");
}

#[tokio::test]
async fn keeps_a_lower_limit_of_the_role_but_not_a_higher_one() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    database.reveal(SETTINGS).await;
    for (own, seen) in
        [("20s", "on 20s baton-retool"), ("2h", "on 1min baton-retool"), ("0", "on 1min baton-retool")]
    {
        database.execute(&format!("ALTER ROLE {} SET statement_timeout = '{own}'", role.name)).await;
        assert_eq!(revealed_to(&database.url_as(&role), &[]).await, seen, "{own}");
    }
}

/// The number of statements that the role has run, without statements that only frame another one, and
/// without those that start a session, because the pool may open one at any time.
async fn statements(database: &Database, role: &Role) -> i64 {
    let all = database.statements_of(role).await;
    let answers =
        all.iter().filter(|one| !one.query.contains("baton_retool.direct") && !one.frames_another());
    answers.map(|statement| statement.calls).sum()
}

#[tokio::test]
async fn every_answer_needs_one_statement() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    // A second connection would run its first statement at an unpredictable time.
    let connection_string = format!("{}?pool_max_conns=1", database.url_as(&role));
    let server = Server::start_at(&connection_string, &[]);
    let wire = Wire::to(&server).await;
    let request = ConnectorServiceValidateRequest::default();
    wire.call::<ConnectorServiceValidateResponse>("ConnectorService/Validate", &request).await.unwrap();
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    database.wait_for_the_count_of_crossing_memberships().await;

    for size in [0, 3] {
        for kind in ["org", "user", "group", "page", "resource"] {
            database.forget_statements().await;
            let parent = (kind != "org").then(|| id("org", "o1"));
            wire.resources(kind, parent, size, "").await.unwrap();
            assert_eq!(statements(&database, &role).await, 1, "ListResources of {kind}, size {size}");
            if kind == "user" {
                continue;
            }
            database.forget_statements().await;
            let first = wire.grants(resource(kind, &format!("{}1", &kind[..1])), size, "").await.unwrap();
            assert_eq!(statements(&database, &role).await, 1, "ListGrants on {kind}, size {size}");
            if !first.next_page_token.is_empty() {
                database.forget_statements().await;
                let on = resource(kind, &format!("{}1", &kind[..1]));
                wire.grants(on, size, &first.next_page_token).await.unwrap();
                assert_eq!(statements(&database, &role).await, 1, "more of ListGrants on {kind}");
            }
        }
    }
    database.forget_statements().await;
    wire.grants(resource("user", "u1"), 0, "").await.unwrap();
    assert_eq!(statements(&database, &role).await, 0, "listing the grants of a user needs no statement");
}

#[tokio::test]
async fn a_sync_needs_no_more_statements_than_calls() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let server = Server::start_at(&database.url_as(&role), &[]);
    let channel = server.channel().await;
    see(channel.clone()).await.unwrap();
    server.wait_for_log(|line| line["msg"] == "the database can be read");
    database.wait_for_the_count_of_crossing_memberships().await;
    database.forget_statements().await;
    let (_, walked) = see(channel).await.unwrap();
    let statements = statements(&database, &role).await;
    assert!(statements > 0 && u64::try_from(statements).unwrap() <= walked.calls, "{statements}, {walked:?}");
}

#[tokio::test]
async fn a_cancelled_call_cancels_its_statement() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE user_groups, users").await.unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let wire = wire.clone();
            tokio::spawn(async move { wire.grants(resource("group", "g1"), 0, "").await.map(drop) })
        })
        .collect();
    database.wait_until_blocked(3).await;
    for call in calls {
        call.abort();
    }
    eventually("the end of the statements", async || {
        (database.statements_in_progress().await == 0).then_some(())
    })
    .await;
    // The table is locked all the time, so only a cancel request can have ended them.
    transaction.rollback().await.unwrap();
    wire.grants(resource("group", "g1"), 0, "").await.unwrap();
}

#[tokio::test]
async fn a_call_past_its_deadline_cancels_its_statement() {
    use baton_retool::proto::connector::ResourcesServiceListResourcesRequest;
    use baton_retool::proto::connector::resources_service_client::ResourcesServiceClient;

    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let mut client = database.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE organizations").await.unwrap();
    let message =
        ResourcesServiceListResourcesRequest { resource_type_id: "org".to_owned(), ..Default::default() };
    // The deadline passes while the statement waits for the lock. A busy machine may take seconds until then.
    let mut request = tonic::Request::new(message);
    request.set_timeout(std::time::Duration::from_secs(15));
    let mut client = ResourcesServiceClient::new(server.channel().await);
    let call = tokio::spawn(async move { client.list_resources(request).await });
    database.wait_until_blocked(1).await;
    assert!(call.await.unwrap().is_err());
    eventually("the end of the statement", async || {
        (database.statements_in_progress().await == 0).then_some(())
    })
    .await;
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn a_pool_with_a_minimal_connection_lifetime_still_serves() {
    let database = Database::small().await;
    let role = database.documented_role(&[Provisioning::Groups]).await;
    let url = format!("{}?pool_max_conn_lifetime=1ns", database.url_as(&role));
    let (changes, server) = Changes::serving_at(&url, &["--dry-run"]).await;
    let wire = Wire::to(&server).await;
    for _ in 0..3 {
        wire.resources("org", None, 0, "").await.unwrap();
        // Both end with a rollback, for which the session is not too old.
        wire.validate().await.unwrap();
        changes.grant("group:g5:member", "user/u1").await.unwrap();
    }
    let retries = server
        .logs()
        .into_iter()
        .filter(|line| line["msg"].as_str().is_some_and(|text| text.contains("retrying")));
    assert_eq!(retries.count(), 0);
}

/// Inserts into `user_groups` fail once for each state, at the statement or at the commit.
async fn fail_once(database: &Database, at_commit: bool) {
    let when = match at_commit {
        false => "TRIGGER a_fail BEFORE INSERT ON user_groups",
        true => "CONSTRAINT TRIGGER a_fail AFTER INSERT ON user_groups DEFERRABLE INITIALLY DEFERRED",
    };
    database
        .execute(&format!(
            r#"CREATE SEQUENCE attempts; CREATE TABLE failing (state text);
               CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   IF nextval('attempts') = 1 THEN
                       RAISE EXCEPTION 'again' USING ERRCODE = (SELECT state FROM failing), CONSTRAINT = 'a_rule';
                   END IF;
                   RETURN NEW;
               END $$;
               CREATE {when} FOR EACH ROW EXECUTE PROCEDURE fail();
               DELETE FROM user_groups WHERE "groupId" = 5"#
        ))
        .await;
}

#[tokio::test]
async fn a_session_is_used_again_after_the_server_rolled_its_transaction_back() {
    for at_commit in [false, true] {
        let database = Database::small().await;
        fail_once(&database, at_commit).await;
        let url = format!("{}?pool_max_conns=1", database.url());
        let (changes, _server) = Changes::serving_at(&url, &[]).await;
        changes.client.everything().await;
        let before = database.sessions().await;
        assert_eq!(before.len(), 1);
        // The connector retries a change only if that can help.
        for (state, is_retried) in [
            ("23505", true),
            ("40001", true),
            ("40P01", true),
            ("53100", true),
            ("23503", true),
            ("23514", false),
            ("P0001", false),
            ("XX000", false),
        ] {
            database
                .execute(&format!("ALTER SEQUENCE attempts RESTART; DELETE FROM failing; INSERT INTO failing VALUES ('{state}')"))
                .await;
            let granted = changes.grant("group:g5:member", "user/u7").await;
            assert_eq!(granted.is_ok(), is_retried, "{state} at commit: {at_commit}: {granted:?}");
            assert_eq!(database.sessions().await, before, "{state} at commit: {at_commit}");
            database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5"#).await;
        }
    }
}

/// As on a standby, which cancels statements that conflict with what it replays.
#[tokio::test]
async fn a_read_that_the_server_rolled_back_is_repeated_on_the_same_session() {
    let database = Database::small().await;
    // Advisory locks of a session outlive a rollback, so the function fails once for each session.
    database
        .execute(
            "CREATE FUNCTION fail_once() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) THEN
                     PERFORM pg_advisory_lock(1);
                     RAISE EXCEPTION 'canceling statement due to conflict with recovery' USING ERRCODE = '40001';
                 END IF;
                 PERFORM pg_advisory_unlock(1);
                 RETURN pg_backend_pid()::text;
             END $$",
        )
        .await;
    let server = Server::start_at(&format!("{}?pool_max_conns=1", database.url()), &[]);
    let wire = Wire::to(&server).await;
    wire.resources("org", None, 0, "").await.unwrap();
    let before = database.sessions().await;
    database.reveal("CASE WHEN id = 1 THEN public.fail_once() ELSE '' END").await;
    assert_eq!(wire.revealed().await.unwrap(), before.first().unwrap().to_string());
    assert_eq!(database.sessions().await, before);
}

//! Changes during faults of the database: each takes effect completely or not at all, and is retried if a
//! retry can help.

use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::support::changes::{Answered, Changes, Did, Tables, refused};
use crate::support::cluster::connect;
use crate::support::faulty_proxy::FaultyProxy;
use crate::support::pooler::Pooler;
use crate::support::postgres::{Database, Provisioning, Role};
use crate::support::server::Server;
use crate::support::wire::eventually;

/// User 100 without any group, page 100, and group 100 without any right.
const WORLD: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, now(), now());
INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt") VALUES
    (100, 'a@acme.example', 1, now(), now());
INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt") VALUES (100, 'plain', 1, now(), now());
"#;

/// Grants that write, each with the last table that it writes.
pub(crate) const CALLS: [(&str, &str, &str); 3] = [
    ("group:g100:member", "user/u100", "user_groups"),
    ("page:p100:group:write", "group/g100", "group_pages"),
    ("page:p100:user:read", "user/u100", "user_groups"),
];

pub(crate) async fn world() -> Database {
    let database = Database::small().await;
    database.execute(WORLD).await;
    database
}

pub(crate) async fn documented(database: &Database) -> Role {
    database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await
}

/// Runs `action` before each insert into the table for the first `times` attempts. Failed attempts count too,
/// because a rollback does not reset a sequence.
async fn disturb(database: &Database, table: &str, times: u32, action: &str) {
    database
        .execute(&format!(
            "CREATE SEQUENCE attempts; GRANT USAGE ON SEQUENCE attempts TO PUBLIC;
             CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN IF nextval('attempts') <= {times} THEN {action}; END IF; RETURN NEW; END $$;
             CREATE TRIGGER a_disturb BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION disturb()"
        ))
        .await;
}

/// A deadline that limits the retries of a change to a few seconds.
const SHORT: [&str; 2] = ["--request-timeout-seconds", "10"];
const ALWAYS: u32 = 1_000_000;
const KILL: &str = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1)";

/// Starts a grant without waiting for its result.
pub(crate) fn on_its_way(
    changes: &Changes,
    entitlement: &'static str,
    principal: &'static str,
) -> JoinHandle<Result<Answered, Status>> {
    let changes = changes.clone();
    tokio::spawn(async move { changes.grant(entitlement, principal).await })
}

/// Waits until a statement in the database waits for a lock.
pub(crate) async fn until_blocked(database: &Database) {
    let client = database.client().await;
    eventually("a statement that waits for a lock", async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_is_retried_when_its_connection_is_killed() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        disturb(&database, table, 1, KILL).await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let answer = changes.grant(entitlement, principal).await.unwrap();
        assert_eq!(answer.did(), Did::Changed, "{entitlement}");
        assert!(changes.lists(entitlement, principal).await);
    }
}

#[tokio::test]
async fn a_change_whose_every_retry_is_killed_leaves_the_tables_unchanged() {
    let database = world().await;
    disturb(&database, "user_groups", ALWAYS, KILL).await;
    let (changes, _server) = Changes::serving(&database, &SHORT).await;
    let status = refused(&database, changes.grant("page:p100:user:read", "user/u100")).await;
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn a_change_is_retried_when_a_deferred_trigger_kills_its_connection() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        database
            .execute(&format!(
                "CREATE SEQUENCE attempts;
                 CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
                 BEGIN IF nextval('attempts') <= 1 THEN {KILL}; END IF; RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER a_disturb AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION disturb()"
            ))
            .await;
        let (changes, server) = Changes::serving(&database, &[]).await;
        let answer = changes.grant(entitlement, principal).await.unwrap();
        assert_eq!(answer.did(), Did::Changed, "{entitlement}");
        let warned = server.wait_for_log(|line| line["msg"] == "a change was not made; retrying");
        assert!(warned["error"].as_str().unwrap().contains("interrupted the statement"), "{warned}");
        let record = server.wait_for_log(|line| line["msg"] == "change");
        assert_eq!(record["outcome"], "changed", "{record}");
    }
}

#[tokio::test]
async fn a_commit_that_the_server_rejects_is_known_to_be_rolled_back() {
    let database = world().await;
    database
        .execute(
            "CREATE SEQUENCE attempts;
             CREATE FUNCTION disturb() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             DECLARE codes text[] := ARRAY['40001', '40P01', '53100']; attempt bigint := nextval('attempts');
             BEGIN IF attempt <= 3 THEN RAISE EXCEPTION 'again' USING ERRCODE = codes[attempt]; END IF;
             RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER a_disturb AFTER INSERT ON user_groups DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION disturb()",
        )
        .await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    let answer = changes.grant("group:g100:member", "user/u100").await.unwrap();
    assert_eq!(answer.did(), Did::Changed);
    let record = server.wait_for_log(|line| line["msg"] == "change");
    assert_eq!((&record["outcome"], &record["before"]), (&"changed".into(), &"none".into()), "{record}");
    let retries: Vec<_> =
        server.logs().into_iter().filter(|line| line["msg"] == "a change was not made; retrying").collect();
    let says =
        |line: &serde_json::Value, text| line["error"].as_str().is_some_and(|error| error.contains(text));
    assert_eq!(retries.len(), 3, "{retries:?}");
    assert!(retries.iter().all(|line| says(line, "interrupted the statement")), "{retries:?}");
}

#[tokio::test]
async fn a_serialization_failure_or_deadlock_is_retried() {
    for state in ["40001", "40P01"] {
        for (entitlement, principal, table) in CALLS {
            let database = world().await;
            disturb(&database, table, 2, &format!("RAISE EXCEPTION 'again' USING ERRCODE = '{state}'")).await;
            let (changes, _server) = Changes::serving(&database, &[]).await;
            let answer = changes.grant(entitlement, principal).await.unwrap();
            assert_eq!(answer.did(), Did::Changed, "{state} {entitlement}");
        }
    }
}

#[tokio::test]
async fn a_statement_timeout_rolls_the_change_back() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        disturb(&database, table, ALWAYS, "PERFORM pg_sleep(20)").await;
        let (changes, _server) = Changes::serving(&database, &["--statement-timeout-seconds", "1"]).await;
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(status.message().contains("--statement-timeout-seconds"), "{}", status.message());
    }
}

#[tokio::test]
async fn database_errors_reach_the_caller_with_the_right_code() {
    for (state, code) in [
        ("P0001", Code::FailedPrecondition),
        ("23503", Code::NotFound),
        ("23514", Code::FailedPrecondition),
        ("23502", Code::FailedPrecondition),
        ("22001", Code::InvalidArgument),
        ("22P02", Code::InvalidArgument),
        ("42501", Code::FailedPrecondition),
        ("57014", Code::DeadlineExceeded),
        ("XX000", Code::Internal),
    ] {
        let database = world().await;
        let raise = format!("RAISE EXCEPTION 'said by Retool' USING ERRCODE = '{state}'");
        disturb(&database, "user_groups", ALWAYS, &raise).await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant("group:g100:member", "user/u100")).await;
        assert_eq!(status.code(), code, "{state}: {status:?}");
        assert!(status.message().contains(state), "{}", status.message());
    }
}

#[tokio::test]
async fn a_user_deleted_during_the_change_is_not_found() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let mut retool = database.client().await;
    let deleting = retool.transaction().await.unwrap();
    deleting.batch_execute("DELETE FROM users WHERE id = 100").await.unwrap();
    let call = on_its_way(&changes, "group:g100:member", "user/u100");
    until_blocked(&database).await;
    deleting.commit().await.unwrap();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
}

#[tokio::test]
async fn a_change_is_unavailable_while_the_database_is_down() {
    let (changes, _server) =
        Changes::serving_at("host=127.0.0.1 port=1 user=baton dbname=retool sslmode=disable", &SHORT).await;
    let status = changes.grant("group:g5:member", "user/u7").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("127.0.0.1:1"), "{}", status.message());
}

#[tokio::test]
async fn an_error_names_the_missing_grants() {
    let database = world().await;
    let role = database.documented_role(&[]).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    for (entitlement, principal, table) in CALLS {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        // Access for a single user needs all privileges of the previous calls and privileges on groups.
        let table = if entitlement == "page:p100:user:read" { "groups" } else { table };
        let message = status.message();
        assert!(message.contains(&format!("ON {table} TO {}", role.name)), "{message}");
        if table != "groups" {
            let status = refused(&database, changes.revoke(entitlement, principal)).await;
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        }
        // Running the GRANTs of the message is sufficient; no restart is needed.
        database.execute(&message[message.find("GRANT").unwrap()..]).await;
        assert_eq!(changes.grant(entitlement, principal).await.unwrap().did(), Did::Changed);
        assert_eq!(changes.revoke(entitlement, principal).await.unwrap().did(), Did::Changed);
    }
}

#[tokio::test]
async fn an_error_names_the_grants_revoked_while_serving() {
    let database = world().await;
    let role = documented(&database).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    database.execute(&format!("REVOKE DELETE ON user_groups FROM {}", role.name)).await;
    let status = refused(&database, changes.revoke("group:g100:member", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let grant = format!("GRANT DELETE ON user_groups TO {};", role.name);
    assert!(status.message().contains(&grant), "{}", status.message());
    database.execute(&grant).await;
    assert_eq!(changes.revoke("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn an_error_names_a_sequence_behind_its_rows_and_the_fix() {
    let database = world().await;
    database.execute("SELECT setval('user_groups_id_seq', 1, false)").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let before = Tables::of(&database).await;
    let status = changes.grant("group:g100:member", "user/u100").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    let setval =
        "SELECT setval(pg_get_serial_sequence('user_groups', 'id'), (SELECT max(id) FROM user_groups));";
    assert!(status.message().contains(setval), "{}", status.message());
    before.assert_same(&Tables::of(&database).await);
    database.execute(setval).await;
    assert_eq!(changes.grant("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn idle_connections_that_died_are_replaced_without_an_error() {
    let database = world().await;
    let role = documented(&database).await;
    let (changes, server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    // A terminated session may still serve one more statement before it ends.
    let kill = async || {
        let client = database.client().await;
        let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
        eventually("the end of all sessions", async || {
            client.query(all, &[&role.name]).await.unwrap().is_empty().then_some(())
        })
        .await;
    };
    for _ in 0..3 {
        assert_eq!(changes.grant("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);
        kill().await;
        assert_eq!(changes.revoke("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);
        kill().await;
    }
    let retried = server
        .logs()
        .into_iter()
        .filter(|line| line["msg"].as_str().is_some_and(|msg| msg.contains("not made; retrying")));
    assert_eq!(retried.count(), 0, "no change has to wait");
}

/// As after a failover: the sessions of these processes accept no writes any more, which a statement reports and
/// not BEGIN.
const FORMER: &str = r#"
CREATE TABLE former (pid int); CREATE SEQUENCE attempts; GRANT SELECT ON former TO PUBLIC; GRANT USAGE ON SEQUENCE attempts TO PUBLIC;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('attempts');
    IF pg_backend_pid() IN (SELECT pid FROM former) THEN
        RAISE EXCEPTION 'cannot execute INSERT during recovery' USING ERRCODE = '25006';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_refuse BEFORE INSERT ON {table} FOR EACH ROW EXECUTE PROCEDURE refuse()"#;

#[tokio::test]
async fn a_change_is_tried_on_a_fresh_connection_when_a_statement_finds_a_standby() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        database.execute(&FORMER.replace("{table}", table)).await;
        let role = documented(&database).await;
        let (changes, server) = Changes::serving_at(&database.url_as(&role), &[]).await;
        changes.client.everything().await;
        let all = format!(
            "INSERT INTO former SELECT pid FROM pg_stat_activity WHERE usename = '{}' AND pid NOT IN (SELECT pid FROM former)",
            role.name
        );
        database.execute(&all).await;
        let granted = changes.grant(entitlement, principal).await.unwrap();
        assert_eq!(granted.did(), Did::Changed, "{entitlement}");
        let line = server.wait_for_log(|line| {
            line["msg"]
                .as_str()
                .is_some_and(|text| text.contains("accepts no changes; retrying once on a new one"))
        });
        assert!(line["error"].as_str().unwrap().contains("25006"), "{line}");
        let records: Vec<_> = server.logs().into_iter().filter(|line| line["msg"] == "change").collect();
        assert_eq!(records.len(), 1, "{records:?}");
        assert_eq!((&records[0]["outcome"], &records[0]["before"]), (&"changed".into(), &"none".into()));
        changes.revoke(entitlement, principal).await.unwrap();
    }
}

/// A fresh connection to a server that accepts no writes is not followed by another one.
#[tokio::test]
async fn a_change_is_tried_on_one_fresh_connection_only() {
    let database = world().await;
    let always = FORMER.replace("IN (SELECT pid FROM former)", "> 0");
    database.execute(&always.replace("{table}", "user_groups")).await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.client.everything().await;
    for (attempts, changed) in [(2, "group:g100:member"), (4, "group:g100:admin")] {
        let status = refused(&database, changes.grant(changed, "user/u100")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains("accepts no changes"), "{}", status.message());
        let client = database.client().await;
        let made = client.query_one("SELECT last_value FROM attempts", &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(made, attempts);
    }
}

#[tokio::test]
async fn changes_go_through_a_transaction_pooler_and_leave_nothing_behind() {
    let database = world().await;
    let role = documented(&database).await;
    for ignored in ["extra_float_digits", "extra_float_digits, options"] {
        let Some(pooler) = Pooler::start(&database, &role, ignored) else { return };
        let (changes, _server) = Changes::serving_at(&pooler.url(&database, &role), &[]).await;
        for (entitlement, principal, _) in CALLS {
            let granted = changes.grant(entitlement, principal).await.unwrap();
            assert_eq!(granted.did(), Did::Changed, "{entitlement}");
            let revoked = changes.revoke(entitlement, principal).await.unwrap();
            assert_eq!(revoked.did(), Did::Changed, "{entitlement}");
        }
        let other = connect(&pooler.url(&database, &role)).await.unwrap();
        let sql = "SELECT current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('statement_timeout')";
        let messages = other.simple_query(sql).await.unwrap();
        let seen = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(seen, Some("0 0"), "ignored: {ignored}");
    }
}

#[tokio::test]
async fn a_role_with_read_only_or_serializable_default_can_change() {
    let database = world().await;
    let role = documented(&database).await;
    for setting in ["default_transaction_read_only = on", "default_transaction_isolation = 'serializable'"] {
        database.execute(&format!("ALTER ROLE {} SET {setting}", role.name)).await;
        let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
        assert_eq!(
            changes.grant("group:g100:member", "user/u100").await.unwrap().did(),
            Did::Changed,
            "{setting}"
        );
        assert_eq!(
            changes.revoke("group:g100:member", "user/u100").await.unwrap().did(),
            Did::Changed,
            "{setting}"
        );
    }
}

/// Fields of the last change record.
fn last_record(server: &Server) -> [String; 3] {
    let mut records = server.logs().into_iter().filter(|line| line["msg"] == "change");
    let record = records.next_back().unwrap();
    ["outcome", "before", "reason"].map(|name| record[name].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_a_lost_commit_answer_is_never_reported_as_no_change() {
    let database = world().await;
    let proxy = FaultyProxy::to(&database).await;
    let (changes, server) = Changes::serving_at(&proxy.url(&database), &SHORT).await;
    let (entitlement, user) = ("group:g100:member", "user/u100");

    proxy.breaks_at_commit(false);
    assert_eq!(changes.grant(entitlement, user).await.unwrap().did(), Did::Changed);
    assert_eq!(last_record(&server), ["changed", "unknown", ""]);
    proxy.breaks_at_commit(false);
    assert_eq!(changes.revoke(entitlement, user).await.unwrap().did(), Did::Changed);
    assert_eq!(last_record(&server), ["changed", "unknown", ""]);

    // The next attempt finds another source of access, which would be a refusal on a first attempt.
    let page = "page:p100:user:read";
    assert_eq!(changes.grant(page, user).await.unwrap().did(), Did::Changed);
    assert_eq!(changes.grant(entitlement, user).await.unwrap().did(), Did::Changed);
    assert_eq!(changes.grant("page:p100:group:read", "group/g100").await.unwrap().did(), Did::Changed);
    proxy.breaks_at_commit(false);
    let status = changes.revoke(page, user).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("retrying is safe"), "{}", status.message());
    assert_eq!(last_record(&server), ["unknown", "", "commit_uncertain"]);
    let status = changes.revoke(page, user).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");

    assert_eq!(changes.revoke(entitlement, user).await.unwrap().did(), Did::Changed);
    proxy.breaks_at_commit(true);
    let status = changes.grant(entitlement, user).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("retrying is safe"), "{}", status.message());
    assert_eq!(last_record(&server), ["unknown", "", "commit_uncertain"]);
    let client = database.client().await;
    let row = client.query(r#"SELECT FROM user_groups WHERE "userId" = 100 AND "groupId" = 100"#, &[]).await;
    assert_eq!(row.unwrap().len(), 1, "it was made");
}

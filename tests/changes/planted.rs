//! Plants names and email addresses in every text of the database and in its error messages. Callers and sync
//! files may contain them; logs and telemetry must not.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::changes::faults::world;
use crate::support::changes::{Changes, refused};
use crate::support::collector::Collector;
use crate::support::postgres::Database;
use crate::support::server::program;

const PLANTED: &str = "Ann Planted <ann@planted.example>";
/// The name and the address, in lower case.
const PARTS: [&str; 2] = ["ann planted", "ann@planted.example"];
/// Columns that accept only access levels.
const LEVELS: [&str; 6] = [
    "group_pages.accessLevel",
    "group_resources.accessLevel",
    "groups.universalAccess",
    "groups.universalQueryLibraryAccess",
    "groups.universalResourceAccess",
    "groups.universalWorkflowAccess",
];
const VERBOSE: [&str; 2] = ["--log-level", "debug"];

/// Tables and types of some versions of Retool that the schema of the tests lacks.
const MORE: &str = r#"
CREATE TABLE "SequelizeMeta" (name varchar(255) PRIMARY KEY);
INSERT INTO "SequelizeMeta" VALUES ('20231116-a.js');
CREATE TABLE access_control_lists (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), "entityType" text, "entityId" text,
    "accessLevel" text, "organizationId" integer);
CREATE TABLE access_control_list_members ("aclId" uuid, "memberType" text, "memberId" text);
INSERT INTO access_control_lists ("entityType", "entityId", "accessLevel") VALUES ('page', '1', 'own');
INSERT INTO access_control_list_members VALUES (gen_random_uuid(), 'group', '1');
ALTER TABLE users ADD nicknames text[], ADD aliases varchar(255)[], ADD settings json, ADD history jsonb[];
ALTER TABLE user_groups ADD note text NOT NULL DEFAULT 'by Ann Planted <ann@planted.example>'"#;

/// Every column of Retool's tables that holds text in any form.
const COLUMNS: &str = "
SELECT c.relname::text, a.attname::text, a.atttypid::regtype::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND a.atttypid::regtype::text IN ('text', 'character varying', 'character', 'json', 'jsonb',
      'text[]', 'character varying[]', 'character[]', 'json[]', 'jsonb[]')
ORDER BY 1, 2";

/// Writes the name and the address into every text of every row that accepts them. Returns the columns that
/// do not.
async fn plant(database: &Database) -> BTreeSet<String> {
    let client = database.client().await;
    let mut refused = BTreeSet::new();
    for row in client.query(COLUMNS, &[]).await.unwrap() {
        let (table, column, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // Each row has a different text, because some columns are unique.
        let text = format!("('{PLANTED} in {table}.{column} ' || ctid)");
        let value = match kind.trim_end_matches("[]") {
            json @ ("json" | "jsonb") => format!("json_build_object('by', {text})::{json}"),
            _ => text,
        };
        let value = if kind.ends_with("[]") { format!("ARRAY[{value}]::{kind}") } else { value };
        // Some groups are recognized by these names.
        let rows = if table == "groups" { "name NOT IN ('admin', 'All Users')" } else { "true" };
        let update = format!(r#"UPDATE "{table}" SET "{column}" = {value} WHERE {rows}"#);
        if client.batch_execute(&update).await.is_err() {
            refused.insert(format!("{table}.{column}"));
        }
    }
    refused
}

/// Creates a trigger that runs this body for each row of `user_groups` until [`drop_trigger`].
async fn create_trigger(database: &Database, body: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION altering() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE TRIGGER z_altering BEFORE INSERT OR UPDATE OR DELETE ON user_groups
             FOR EACH ROW EXECUTE PROCEDURE altering()"
        ))
        .await;
}

async fn drop_trigger(database: &Database) {
    database.execute("DROP FUNCTION altering CASCADE").await;
}

/// Runs the program with these arguments and returns its output.
async fn output(database: &Database, telemetry: &[&str], arguments: &[&str]) -> Output {
    output_in(&tempfile::tempdir().unwrap(), database, telemetry, arguments).await
}

/// Like [`output`], in this folder.
async fn output_in(folder: &TempDir, database: &Database, telemetry: &[&str], arguments: &[&str]) -> Output {
    let mut command: Command = program();
    command
        .current_dir(folder.path())
        .env("BATON_CONNECTION_STRING", database.url())
        .args(arguments)
        .args(VERBOSE)
        .args(telemetry);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[track_caller]
fn assert_unsaid(place: &str, text: &str) {
    let lower = text.to_lowercase();
    for part in PARTS {
        assert!(!lower.contains(part), "{part} is in {place}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_tables_and_triggers_reach_the_caller_but_no_log() {
    let (database, collector) = (world().await, Collector::start().await);
    database.execute(MORE).await;
    assert_eq!(plant(&database).await, LEVELS.map(str::to_owned).into());
    let address = collector.address();
    let telemetry = ["--otel-collector-endpoint", &address, "--otel-collector-endpoint-tls-insecure"];

    // The deadline limits the retries of changes to a few seconds.
    let flags = [&VERBOSE[..], &telemetry, &["--request-timeout-seconds", "20"]].concat();
    let (changes, server) = Changes::serving(&database, &flags).await;
    for sync in ["", "0ujtsYcgvSTl8PAuAdqWYSMnLOv"] {
        let seen = changes.client.in_sync(sync).everything().await;
        let named = seen.resources.iter().filter(|resource| resource.display_name.contains(PLANTED));
        assert!(named.count() > 50, "the caller does not read the names");
    }
    changes.grant("page:p100:group:own", "group/g100").await.unwrap();
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    let status = refused(&database, changes.revoke("page:p100:user:read", "user/u100")).await;
    assert!(status.message().contains(PLANTED), "the caller does not read it: {}", status.message());

    for state in ["P0001", "40001", "42501", "23505", "23514", "XX000"] {
        let planted = ["DETAIL", "HINT", "CONSTRAINT", "TABLE", "COLUMN", "DATATYPE", "SCHEMA"];
        // A name that ends like that of a primary key is no exception.
        let planted = planted.map(|field| format!("{field} = '{PLANTED}_pkey'")).join(", ");
        let body = format!("RAISE EXCEPTION '{PLANTED} is on leave' USING ERRCODE = '{state}', {planted};");
        create_trigger(&database, &body).await;
        let status = refused(&database, changes.revoke("group:g100:member", "user/u100")).await;
        if state == "P0001" {
            assert!(status.message().contains("is on leave"), "the caller does not read it: {status:?}");
        }
        if state == "42501" {
            let doctor = output(&database, &telemetry, &["doctor", "--provisioning"]).await;
            assert_unsaid("the log of doctor", &String::from_utf8_lossy(&doctor.stderr));
        }
        drop_trigger(&database).await;
    }
    // The database's error about a violated constraint contains the row.
    database.execute(r#"ALTER TABLE user_groups ADD CHECK ("userId" <> 101)"#).await;
    database
        .execute(&format!(
            r#"INSERT INTO users (id, email, "firstName", "organizationId", "createdAt", "updatedAt")
               VALUES (101, '{PLANTED} the last', '{PLANTED}', 1, now(), now())"#
        ))
        .await;
    refused(&database, changes.grant("group:g100:member", "user/u101")).await;
    create_trigger(&database, &format!("RAISE WARNING '{PLANTED} looks on'; RETURN OLD;")).await;
    changes.revoke("group:g100:member", "user/u100").await.unwrap();
    drop_trigger(&database).await;

    let sync = output(&database, &telemetry, &["sync", "--file", "planted.c1z"]).await;
    let doctor = output(&database, &telemetry, &["doctor", "--provisioning"]).await;
    for (place, output) in [("a sync", &sync), ("doctor", &doctor)] {
        let log = String::from_utf8_lossy(&output.stderr);
        assert_unsaid(&format!("the log of {place}"), &log);
    }
    assert!(sync.status.success(), "{}", String::from_utf8_lossy(&sync.stderr));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("login"), "{doctor:?}");

    // The test thread must not block, so that the client can see the server stop.
    let (_, logs) = tokio::task::spawn_blocking(|| server.stop()).await.unwrap();
    let records = logs.iter().filter(|line| line["msg"] == "change").count();
    assert!(logs.len() > 300 && records >= 11, "{records} records in {} lines", logs.len());
    for line in logs {
        assert_unsaid("the log of the server", &line.to_string());
    }
    let received = collector.received();
    assert_eq!(received.signals(), [true; 3], "traces, metrics and logs");
    assert!(received.records().len() > 300, "{} records", received.records().len());
    assert_unsaid("what the collector received", &format!("{received:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_errors_of_one_shot_commands_reach_stderr_but_no_log() {
    let (database, collector) = (world().await, Collector::start().await);
    plant(&database).await;
    let address = collector.address();
    let telemetry = ["--otel-collector-endpoint", &address, "--otel-collector-endpoint-tls-insecure"];
    let (changes, server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:group:own", "group/g100").await.unwrap();
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    drop(server);
    create_trigger(&database, &format!("RAISE EXCEPTION '{PLANTED} is on leave';")).await;
    let folder = tempfile::tempdir().unwrap();
    // The first is refused by the trigger, the second because of what remains.
    for grant in ["group:g100:member:user:u100", "page:p100:user:read:user:u100"] {
        for format in ["json", "console"] {
            let arguments = ["-p", "--revoke-grant", grant, "--log-path=a.log", "--log-format", format];
            let output = output_in(&folder, &database, &telemetry, &arguments).await;
            let answer = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{answer}");
            assert!(answer.contains(PLANTED), "the caller does not read it: {answer}");
        }
    }
    drop_trigger(&database).await;

    // A view runs a function of the database for each row that a sync reads.
    database
        .execute(&format!(
            "CREATE FUNCTION planted() RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION '{PLANTED} is hidden'; END $$;
             CREATE VIEW planted_users AS SELECT * FROM users WHERE planted();
             ALTER TABLE users RENAME TO real_users;
             ALTER VIEW planted_users RENAME TO users"
        ))
        .await;
    let sync =
        output_in(&folder, &database, &telemetry, &["sync", "--log-path=a.log", "--log-format=json"]).await;
    let answer = String::from_utf8_lossy(&sync.stderr);
    assert!(!sync.status.success() && answer.contains("is hidden"), "{answer}");

    let written = std::fs::read_to_string(folder.path().join("a.log")).unwrap();
    assert!(written.matches("command failed").count() >= 4, "{written}");
    assert_unsaid("the log of one-shot commands", &written);
    assert_unsaid("what the collector received", &format!("{:?}", collector.received()));
}

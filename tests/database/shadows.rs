//! Functions, operators and types in `public` with the names of Postgres's own: our statements never use
//! them.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use regex::Regex;
use serde_json::json;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, NoTls};
use tonic::Code;

use crate::releases::{A_SYNC, STEPS, WORLD, looks_up_accounts, makes_every_change, reads_each_type};
use crate::support::changes::{Changes, refused};
use crate::support::client::facts;
use crate::support::cluster::project_file;
use crate::support::postgres::{Database, Provisioning, Role};
use crate::support::retool_api::Reply;
use crate::support::server::{Server, program};
use crate::support::stage::Stage;
use crate::support::wire::Wire;

/// Creates objects in `public` that fail when used: the binary operators and functions of `pg_catalog` with
/// these names, for other argument types than Postgres has; prefix operators; and types.
const SHADOWS: &str = r#"
SET search_path = pg_catalog;
DO $$
DECLARE
    shadow record;
    number int := 0;
    body constant text := 'BEGIN RAISE EXCEPTION ''a shadow ran''; END';
    numbers constant text[] := ARRAY['int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'oid'];
    texts constant text[] := ARRAY['text', 'varchar', 'bpchar', 'name', '"char"'];
    others constant text[] := ARRAY['bool', 'timestamptz', 'interval', 'uuid', 'regclass', 'regtype'];
    types constant text[] := numbers || texts || others;
    arrays constant text[] := ARRAY['text[]', 'int4[]', 'name[]', 'oid[]'];
BEGIN
    FOR shadow IN
        SELECT name, l, r
        FROM unnest(ARRAY[/*operators*/]) AS name, unnest(types) AS l, unnest(types) AS r
        WHERE name IN ('||', '+', '-', '*', '/') OR l = r OR l = ANY (numbers) AND r = ANY (numbers)
           OR l = ANY (texts) AND r = ANY (texts) OR 'oid' IN (l, r) AND l || r ~ 'reg'
        UNION ALL
        SELECT name, array_type, array_type FROM unnest(ARRAY[/*operators*/]) AS name, unnest(arrays) AS array_type
    LOOP
        number := number + 1;
        EXECUTE format('CREATE FUNCTION public.shadow_%s (%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', number, shadow.l, shadow.r, body);
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, PROCEDURE = public.shadow_%s)', shadow.name, shadow.l, shadow.r, number);
    END LOOP;
    FOR shadow IN
        SELECT name, r FROM (SELECT DISTINCT oprname AS name FROM pg_operator WHERE oprleft = 0) prefix, unnest(types) AS r
    LOOP
        number := number + 1;
        EXECUTE format('CREATE FUNCTION public.shadow_%s (%s) RETURNS bool LANGUAGE plpgsql AS %L', number, shadow.r, body);
        EXECUTE format('CREATE OPERATOR public.%s (RIGHTARG = %s, PROCEDURE = public.shadow_%s)', shadow.name, shadow.r, number);
    END LOOP;
    FOR shadow IN
        WITH own AS (
            SELECT p.proname, coalesce(string_agg(format_type(taken.type, NULL), ', ' ORDER BY taken.place), '') AS arguments,
                   p.pronargs = 1 AND p.oid IN (SELECT aggfnoid FROM pg_aggregate) AS aggregates
            FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY AS taken (type, place) ON true
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY (ARRAY[/*functions*/]) AND p.provariadic = 0
              AND NOT EXISTS (SELECT FROM pg_type t
                              WHERE t.oid = ANY (p.proargtypes) AND t.typtype = 'p' AND t.typname !~ '^any')
            GROUP BY p.oid, p.proname, p.pronargs
        )
        SELECT DISTINCT proname, replace(arguments, 'text', other) AS arguments
        FROM own, unnest(ARRAY['text', 'varchar', 'name']) AS other
        WHERE arguments !~ 'any'
        UNION
        SELECT DISTINCT proname, argument
        FROM own, unnest(types || arrays) AS argument
        WHERE arguments ~ '^"?any[a-z]*"?$' OR aggregates
        UNION ALL
        VALUES ('format', 'text, text'), ('format', 'text, name'), ('format', 'text, name, text'), ('array_position', 'text[], text')
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION public.%I (%s) RETURNS bool LANGUAGE plpgsql AS %L', shadow.proname, shadow.arguments, body);
    END LOOP;
    FOR shadow IN SELECT name FROM unnest(ARRAY['int4', 'int8', 'text', 'bool', 'timestamptz', 'float8', 'regclass', 'regtype']) AS name LOOP
        EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.text CHECK (false)', shadow.name);
    END LOOP;
END $$;
"#;

/// The source of the modules that contain statements.
fn sources() -> String {
    let mut folders = vec![project_file("src/retool"), project_file("src/postgres")];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

/// [`SHADOWS`] for every operator and function that the sources mention, so that a new statement needs no
/// change here. Rust identifiers with the name of a function are harmless.
async fn shadows(database: &Database) -> String {
    let sources = sources();
    let client = database.client().await;
    let names = async |sql: &str| -> Vec<String> {
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let listed =
        |names: Vec<String>| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let calls: BTreeSet<&str> = Regex::new(r"\b([a-z][a-z0-9_]*) ?\(")
        .unwrap()
        .captures_iter(&sources)
        .map(|found| found.extract::<1>().1[0])
        .collect();
    let operators =
        "SELECT DISTINCT oprname::text FROM pg_operator WHERE oprleft <> 0 AND oprright <> 0 ORDER BY 1";
    let mut operators = names(operators).await;
    operators.retain(|name| {
        sources.contains(&format!(" {name} ")) || sources.contains(&format!("pg_catalog.{name})"))
    });
    let functions = "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace ORDER BY 1";
    let mut functions = names(functions).await;
    functions.retain(|name| calls.contains(name.as_str()));
    assert!(operators.len() > 10 && functions.len() > 30, "{operators:?} {functions:?}");
    SHADOWS.replace("/*operators*/", &listed(operators)).replace("/*functions*/", &listed(functions))
}

/// Retool's own trigger compares a `varchar` with literals, for which `pg_catalog` has no exactly matching
/// operator. The trigger belongs to Retool, so this test replaces it with one that casts explicitly.
const TRIGGER: &str = r#"
CREATE OR REPLACE FUNCTION validate_group_pages_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW."accessLevel"::text IN ('own', 'write', 'read') THEN
        RAISE EXCEPTION 'group_pages: % is no access level', NEW."accessLevel";
    END IF;
    RETURN NEW;
END $$;
"#;

/// A database in which resolving a name in `public` fails. The role's search_path even has `public` first.
async fn shadowed() -> (Database, Role) {
    let database = Database::small().await;
    database.execute(WORLD).await;
    database.execute(TRIGGER).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    database.execute(&shadows(&database).await).await;
    database.execute(&format!("ALTER ROLE {} SET search_path = public, pg_catalog", role.name)).await;
    (database, role)
}

/// Verifies that unprotected statements fail, so that the tests below are meaningful.
async fn is_dangerous(database: &Database, role: &Role) {
    let client = database.client_as(role).await;
    for statement in [
        "SELECT FROM users WHERE lower(email) = 'a'",
        "SELECT FROM groups g WHERE g.name = 'a'::pg_catalog.varchar",
        r#"SELECT count(*) FROM user_groups WHERE "userId" = 1"#,
        "SELECT now()",
        "SELECT - id FROM users",
        "SELECT 'a'::text FROM users",
    ] {
        assert!(client.batch_execute(statement).await.is_err(), "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_resolves_a_name_in_public() {
    let plain = Database::small().await;
    plain.execute(WORLD).await;
    let (expected, _server) = Changes::serving(&plain, &[]).await;
    let expected = facts(&expected.client.everything().await.grants);

    let (database, role) = shadowed().await;
    is_dangerous(&database, &role).await;
    let url = database.url_as(&role);
    let stage = Stage::serve(database, &url, &["--provisioning"]).await;
    let changes = Changes::of(&stage.server).await;
    for sync in ["", A_SYNC] {
        let seen = changes.client.in_sync(sync).everything().await;
        assert_eq!(facts(&seen.grants), expected, "sync {sync:?}");
    }
    reads_each_type(&changes).await;
    makes_every_change(&changes).await;
    // The double's own statements would use the shadows.
    stage.api.always("GET", Reply::json(200, json!({"success": true, "data": [], "has_more": false})));
    stage.wire.validate().await.unwrap();

    looks_up_accounts(&stage).await;

    let doctor = program().args(["doctor", "--provisioning", "--connection-string", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!text.lines().any(|line| line.starts_with("failed")) && !text.contains("a shadow ran"), "{text}");
    let script = program()
        .args(["setup-sql", "--role", &role.name, "--extras", "--provisioning", "groups,pages"])
        .output()
        .unwrap();
    // The superuser would execute any object that the script finds in `public`.
    let script = String::from_utf8(script.stdout).unwrap();
    stage.database.execute(&script).await;
    stage.database.execute("CREATE TYPE public.record AS ENUM ('a type of a stranger')").await;
    stage.database.execute(&format!("SET search_path = public, pg_catalog; {script}")).await;
}

/// A role without any right over Retool that has created these objects in `public`.
async fn stranger(database: &Database, objects: &str) -> Role {
    let stranger = database.create_role(&["CREATE ON SCHEMA public"]).await;
    database.client_as(&stranger).await.batch_execute(objects).await.unwrap();
    stranger
}

/// Runs the statements as the superuser and returns the server's warnings.
async fn warnings_of(database: &Database, sql: &str) -> Vec<String> {
    let (client, mut connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    let messages = stream::poll_fn(move |context| connection.poll_message(context));
    let run = async move {
        client.batch_execute(sql).await.unwrap();
        drop(client);
    };
    let warned = messages.filter_map(async |message| match message.unwrap() {
        AsyncMessage::Notice(notice) => Some(notice.message().to_owned()),
        _ => None,
    });
    tokio::join!(run, warned.collect()).1
}

/// Retool's own trigger of `group_pages` compares a `varchar` with literals.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_is_made_while_a_trigger_could_run_code_of_an_untrusted_role() {
    let database = Database::small().await;
    database.execute(WORLD).await;
    let owner = database.create_role(&[]).await;
    let member = database.create_role(&[&owner.name]).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    // Objects of extensions, of the owner of the tables, and of a member of the owner's role are harmless, and so
    // is a table that comes after Retool's.
    database
        .execute(&format!(
            "CREATE SCHEMA more; CREATE TABLE more.users (id int); GRANT USAGE ON SCHEMA more TO PUBLIC;
             CREATE EXTENSION citext;
             ALTER ROLE {} SET search_path = public, more;
             DO $$ DECLARE owned text; BEGIN
                 FOR owned IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                 LOOP EXECUTE format('ALTER TABLE %I OWNER TO {}', owned); END LOOP;
             END $$;
             CREATE FUNCTION lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
             ALTER FUNCTION lower(varchar) OWNER TO {};
             CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
             ALTER FUNCTION upper(varchar) OWNER TO {}",
            role.name, owner.name, owner.name, member.name
        ))
        .await;
    let stranger = stranger(
        &database,
        r#"CREATE FUNCTION theirs(varchar, varchar) RETURNS bool LANGUAGE plpgsql AS $$
           BEGIN INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (100, 1, now(), now()); RETURN true; END $$;
           CREATE FUNCTION raises() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a shadow ran'; END $$;
           CREATE VIEW "SequelizeMeta" AS SELECT raises() AS name; GRANT SELECT ON "SequelizeMeta" TO PUBLIC"#,
    )
    .await;
    database.execute(&format!("ALTER TABLE more.users OWNER TO {}", stranger.name)).await;
    let url = database.url_as(&role);
    let (changes, server) = Changes::serving_at(&url, &[]).await;
    // A function with a new name shadows no other function.
    changes.grant("page:p100:group:write", "group/g100").await.unwrap();
    changes.grant("page:p100:user:read", "user/u100").await.unwrap();

    let strangers = database.client_as(&stranger).await;
    let create = "CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar, PROCEDURE = theirs)";
    strangers.batch_execute(create).await.unwrap();
    for (entitlement, principal) in [
        ("page:p100:group:own", "group/g100"),
        ("group:g100:member", "user/u100"),
        ("page:p100:user:own", "user/u100"),
    ] {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
        let named = format!("operator public.= of role {}", stranger.name);
        assert!(status.message().contains(&named), "{entitlement}: {}", status.message());
    }
    let record = server.wait_for_log(|line| line["msg"] == "change" && line["reason"] == "shadowing_objects");
    assert_eq!(record["outcome"], "failed", "{record}");
    for (entitlement, principal) in
        [("page:p100:group:write", "group/g100"), ("page:p100:user:read", "user/u100")]
    {
        let status = refused(&database, changes.revoke(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
    }

    database.execute("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
    let doctor = program().args(["doctor", "--provisioning", "--connection-string", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    for words in [
        format!("operator public.= of role {}", stranger.name),
        format!("everyone in schema public, {} in schema public", stranger.name),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;".to_owned(),
        format!("REVOKE CREATE ON SCHEMA public FROM {};", stranger.name),
        "this Retool has no list of migrations".to_owned(),
        "nothing was changed, because triggers".to_owned(),
    ] {
        assert!(text.contains(&words), "no {words:?} in {text}");
    }
    assert!(!text.contains("a shadow ran"), "{text}");
    let script = program().args(["setup-sql", "--role", &role.name]).output().unwrap();
    let warned = warnings_of(&database, &String::from_utf8(script.stdout).unwrap()).await;
    let creators = format!("everyone, {}", stranger.name);
    let creators = [creators, format!("{}, everyone", stranger.name)];
    assert!(warned.iter().any(|text| creators.iter().any(|who| text.contains(who))), "{warned:?}");

    strangers.batch_execute("DROP OPERATOR public.= (varchar, varchar)").await.unwrap();
    strangers
        .batch_execute(
            "CREATE FUNCTION negated(varchar) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
             CREATE OPERATOR public.- (RIGHTARG = varchar, PROCEDURE = negated)",
        )
        .await
        .unwrap();
    let status = refused(&database, changes.grant("page:p100:group:own", "group/g100")).await;
    let named = format!("operator public.- of role {}", stranger.name);
    assert!(status.message().contains(&named), "{}", status.message());
    strangers.batch_execute("DROP OPERATOR public.- (NONE, varchar)").await.unwrap();
    changes.grant("page:p100:group:own", "group/g100").await.unwrap();
    // A table counts if its schema comes before Retool's.
    database
        .execute(&format!(
            "CREATE SCHEMA first; GRANT USAGE, CREATE ON SCHEMA first TO {}; GRANT USAGE ON SCHEMA first TO PUBLIC;
             ALTER ROLE {} SET search_path = first, public, more",
            stranger.name, role.name
        ))
        .await;
    strangers.batch_execute("CREATE VIEW first.groups AS SELECT 1 AS id").await.unwrap();
    let (changes, _server) = Changes::serving_at(&url, &[]).await;
    let status = refused(&database, changes.revoke("page:p100:group:own", "group/g100")).await;
    let named = format!("table first.groups of role {}", stranger.name);
    assert!(status.message().contains(&named), "{}", status.message());
    strangers.batch_execute("DROP VIEW first.groups").await.unwrap();
    changes.revoke("page:p100:group:own", "group/g100").await.unwrap();
}

/// A statement could also resolve these, so [`SHADOWS`] would have to plant them.
#[tokio::test]
async fn only_a_superuser_creates_a_cast_or_operator_class_for_a_type_of_postgres() {
    let database = Database::small().await;
    let stranger =
        stranger(&database, "CREATE FUNCTION number(text) RETURNS int4 LANGUAGE sql AS 'SELECT 1'").await;
    let client = database.client_as(&stranger).await;
    for statement in [
        "CREATE CAST (text AS int4) WITH FUNCTION number(text) AS IMPLICIT",
        "CREATE OPERATOR CLASS theirs DEFAULT FOR TYPE text USING btree AS STORAGE text",
        "CREATE OPERATOR FAMILY theirs USING btree",
    ] {
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {error:?}");
    }
}

/// Code inside a statement can change the session's defaults, but not the mode of a later statement.
#[tokio::test]
async fn every_read_runs_in_a_read_only_transaction_with_any_session_default() {
    let database = Database::small().await;
    database
        .reveal(
            "set_config('default_transaction_read_only', 'off', false) || ' ' || current_setting('transaction_read_only')
             || ' ' || set_config('search_path', 'public', false) || ' ' || coalesce(nullif(current_setting('application_name'), ''), '-')",
        )
        .await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for _ in 0..3 {
        assert_eq!(wire.revealed().await.unwrap(), "off on public baton-retool");
    }
    database
        .reveal("current_setting('search_path') || ' ' || current_setting('transaction_read_only')")
        .await;
    assert_eq!(wire.revealed().await.unwrap(), "pg_catalog, pg_temp on");
}

/// A policy that fails in a transaction that can write. `doctor` tries changes on no row, so it never evaluates
/// the policy in such a transaction.
#[tokio::test(flavor = "multi_thread")]
async fn syncs_dry_runs_and_doctor_read_in_read_only_transactions() {
    let database = Database::small().await;
    database.execute(WORLD).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    database
        .execute(
            "CREATE FUNCTION only_reads() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                 IF current_setting('transaction_read_only') <> 'on' THEN RAISE EXCEPTION 'can write'; END IF;
                 RETURN true;
             END $$;
             ALTER TABLE groups ENABLE ROW LEVEL SECURITY; CREATE POLICY reads ON groups USING (only_reads())",
        )
        .await;
    let url = database.url_as(&role);
    let (changes, _server) = Changes::serving_at(&url, &[]).await;
    let whole = changes.client.everything().await;
    let in_sync = changes.client.in_sync(A_SYNC).everything().await;
    assert_eq!(facts(&in_sync.grants), facts(&whole.grants));
    let status = refused(&database, changes.grant("group:g100:member", "user/u100")).await;
    assert!(status.message().contains("can write"), "{status:?}");
    let (dry, _dry_server) = Changes::serving_at(&url, &["--dry-run"]).await;
    for (entitlement, principal) in STEPS {
        assert!(dry.grant(entitlement, principal).await.unwrap().says("dry_run"), "{entitlement}");
    }
    let doctor = program().args(["doctor", "--connection-string", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!text.contains("can write") && text.contains("listings took"), "{text}");
}

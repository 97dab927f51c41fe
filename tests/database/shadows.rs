//! Functions, operators and types in `public` with the names of Postgres's own: our statements never use
//! them.

use crate::releases::{WORLD, makes_every_change};
use crate::support::changes::Changes;
use crate::support::client::facts;
use crate::support::postgres::{Database, Provisioning, Role};
use crate::support::server::{Server, program};
use crate::support::wire::Wire;

/// Creates objects in `public` that fail when used: every binary operator of `pg_catalog` that our statements
/// use, for every pair of these types; every function with the names below, for its own argument types and
/// for alternative types of Retool's columns; and types.
const SHADOWS: &str = r#"
SET search_path = pg_catalog;
DO $$
DECLARE
    shadow record;
    number int := 0;
    body constant text := 'BEGIN RAISE EXCEPTION ''a shadow ran''; END';
    types constant text[] := ARRAY['int2', 'int4', 'int8', 'text', 'varchar', 'bpchar', 'bool', 'timestamptz', 'name', 'oid', 'float8', 'numeric', 'interval', '"char"', 'uuid', 'regclass', 'regtype'];
BEGIN
    FOR shadow IN
        SELECT name, l, r
        FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=', '||', '~', '~~', '!~~', '+', '-', '*', '/', '|', '&', '<<']) AS name,
             unnest(types) AS l, unnest(types) AS r
    LOOP
        number := number + 1;
        EXECUTE format('CREATE FUNCTION public.shadow_%s (%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', number, shadow.l, shadow.r, body);
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, PROCEDURE = public.shadow_%s)', shadow.name, shadow.l, shadow.r, number);
    END LOOP;
    FOR shadow IN
        SELECT DISTINCT proname, replace(arguments, 'text', other) AS arguments
        FROM (SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments
              FROM pg_proc p
              WHERE p.pronamespace = 'pg_catalog'::regnamespace
                AND p.proname IN ('lower', 'now', 'count', 'max', 'bool_or', 'bit_or', 'array_position', 'set_config',
                    'current_setting', 'current_schemas', 'to_regclass', 'quote_ident', 'pg_get_expr', 'replace',
                    'string_to_array', 'has_column_privilege', 'has_table_privilege', 'has_sequence_privilege',
                    'has_schema_privilege', 'pg_has_role', 'row_security_active', 'pg_is_in_recovery',
                    'pg_advisory_xact_lock', 'current_database', 'date_part', 'format')
                AND NOT 'internal'::regtype = ANY (p.proargtypes) AND p.provariadic = 0) AS own,
             unnest(ARRAY['text', 'varchar', 'name']) AS other
        WHERE arguments !~ 'VARIADIC|ORDER BY|any'
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION public.%I (%s) RETURNS bool LANGUAGE plpgsql AS %L', shadow.proname, shadow.arguments, body);
    END LOOP;
    FOR shadow IN
        SELECT proname, arguments
        FROM unnest(ARRAY['max', 'count', 'bool_or', 'bit_or']) AS proname, unnest(types) AS arguments
        UNION ALL VALUES ('format', 'text, text'), ('format', 'text, name'), ('format', 'text, name, text'), ('array_position', 'text[], text'), ('unnest', 'text[]')
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION public.%I (%s) RETURNS bool LANGUAGE plpgsql AS %L', shadow.proname, shadow.arguments, body);
    END LOOP;
    FOR shadow IN SELECT name FROM unnest(ARRAY['int4', 'int8', 'text', 'bool', 'timestamptz', 'float8', 'regclass', 'regtype']) AS name LOOP
        EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.text CHECK (false)', shadow.name);
    END LOOP;
END $$;
"#;

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
    database.execute(SHADOWS).await;
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
        "SELECT 'a'::text FROM users",
    ] {
        assert!(client.batch_execute(statement).await.is_err(), "{statement}");
    }
}

#[tokio::test]
async fn no_statement_of_a_sync_or_a_change_resolves_a_name_in_public() {
    let plain = Database::small().await;
    plain.execute(WORLD).await;
    let (expected, _server) = Changes::serving(&plain, &[]).await;
    let expected = facts(&expected.client.everything().await.grants);

    let (database, role) = shadowed().await;
    is_dangerous(&database, &role).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    assert_eq!(facts(&changes.client.everything().await.grants), expected);
    makes_every_change(&changes).await;
}

#[tokio::test]
async fn no_statement_of_doctor_resolves_a_name_in_public() {
    let (database, role) = shadowed().await;
    let doctor = program()
        .args(["doctor", "--provisioning", "--connection-string", &database.url_as(&role)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!text.lines().any(|line| line.starts_with("failed")) && !text.contains("a shadow ran"), "{text}");
}

#[tokio::test]
async fn the_script_of_setup_sql_resolves_no_name_in_public() {
    let (database, role) = shadowed().await;
    let script = program()
        .args(["setup-sql", "--role", &role.name, "--extras", "--provisioning", "groups,pages"])
        .output()
        .unwrap();
    let script = String::from_utf8(script.stdout).unwrap();
    // Run as the superuser, who has the default search_path and would execute any object found there.
    database.execute(&script).await;
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

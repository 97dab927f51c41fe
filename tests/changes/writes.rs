//! A write is verified by reading the rows again, and errors name the cause that prevented it.

use tonic::Code;

use crate::changes::faults::{CALLS, on_its_way, until_blocked, world};
use crate::support::changes::{Changes, Did, Tables, entitlement_of, principal_of, refused};
use crate::support::postgres::{Database, Provisioning};
use crate::support::server::program;
use crate::support::wire::Wire;
use baton_retool::proto::connector::Grant;

/// Creates a trigger on the table that runs this body for each row.
async fn on_row(database: &Database, when: &str, table: &str, body: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE TRIGGER z_meddle {when} ON {table} FOR EACH ROW EXECUTE PROCEDURE meddle()"
        ))
        .await;
}

#[tokio::test]
async fn a_write_that_a_trigger_suppresses_is_not_reported_as_done() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        on_row(&database, "BEFORE INSERT", table, "RETURN NULL;").await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
        assert!(status.message().contains(&format!("a trigger of {table}")), "{}", status.message());
    }
}

#[tokio::test]
async fn a_group_that_a_trigger_suppresses_or_alters_is_not_reported_as_created() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (when, body) in [
        ("BEFORE INSERT", "RETURN NULL;"),
        ("BEFORE INSERT", "NEW.name = 'another'; RETURN NEW;"),
        ("BEFORE INSERT", "NEW.\"organizationId\" = 2; RETURN NEW;"),
        ("AFTER INSERT", "UPDATE groups SET name = 'another' WHERE id = NEW.id; RETURN NULL;"),
        ("AFTER INSERT", "DELETE FROM groups WHERE id = NEW.id; RETURN NULL;"),
    ] {
        on_row(&database, when, "groups", body).await;
        let status = refused(&database, changes.grant("page:p100:user:read", "user/u100")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{body}: {status:?}");
        assert!(status.message().contains("a trigger of groups"), "{body}: {}", status.message());
        database.execute("DROP FUNCTION meddle CASCADE").await;
    }
}

#[tokio::test]
async fn a_write_that_a_trigger_reverts_or_modifies_is_not_reported_as_done() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        let body = format!("DELETE FROM {table} WHERE id = NEW.id; RETURN NULL;");
        on_row(&database, "AFTER INSERT", table, &body).await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
    }
    let database = world().await;
    on_row(&database, "BEFORE INSERT", "group_pages", "NEW.\"accessLevel\" = 'read'; RETURN NEW;").await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let status = refused(&database, changes.grant("page:p100:group:own", "group/g100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
}

/// Creates a trigger like [`on_row`] that is deferred to the commit.
async fn at_commit(database: &Database, when: &str, table: &str, body: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER z_meddle {when} ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE PROCEDURE meddle()"
        ))
        .await;
}

#[tokio::test]
async fn a_write_that_a_deferred_trigger_reverts_is_not_reported_as_done() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        at_commit(&database, "AFTER INSERT", table, &format!("DELETE FROM {table} WHERE id = NEW.id;")).await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
        assert!(status.message().contains(&format!("a trigger of {table}")), "{}", status.message());

        database.execute("DROP FUNCTION meddle CASCADE").await;
        changes.grant(entitlement, principal).await.unwrap();
        let again = format!("INSERT INTO {table} SELECT OLD.*;");
        at_commit(&database, "AFTER DELETE", table, &again).await;
        // Lowering a level updates the row, so the lowest level is revoked last.
        let lowest = entitlement.replace(":write", ":read");
        let status = refused(&database, changes.revoke(&lowest, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{lowest}: {status:?}");
        assert!(status.message().contains(&format!("a trigger of {table}")), "{}", status.message());
    }
    for body in [
        "DELETE FROM groups WHERE id = NEW.id;",
        "UPDATE groups SET name = 'another' WHERE id = NEW.id;",
        r#"UPDATE groups SET "userListAccess" = true WHERE id = NEW.id;"#,
        r#"UPDATE group_pages SET "accessLevel" = 'own' WHERE "groupId" = NEW.id;"#,
    ] {
        let database = world().await;
        at_commit(&database, "AFTER INSERT", "groups", body).await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant("page:p100:user:read", "user/u100")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{body}: {status:?}");
        assert!(status.message().contains("a trigger of"), "{body}: {}", status.message());
    }
}

/// A trigger can depend on rows that a later statement of the change writes.
#[tokio::test]
async fn a_deferred_trigger_runs_after_the_last_write() {
    let database = world().await;
    let body = r#"IF NOT EXISTS (SELECT FROM user_groups WHERE "groupId" = NEW.id) THEN
                      RAISE EXCEPTION 'a group without members'; END IF;"#;
    at_commit(&database, "AFTER INSERT", "groups", body).await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    assert_eq!(changes.grant("page:p100:user:read", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_right_that_a_trigger_gives_to_a_new_group_is_not_overlooked() {
    let grant = "page:p100:user:read";
    for (when, column, value) in [
        ("BEFORE INSERT", "usageAnalyticsAccess", "true"),
        ("BEFORE INSERT", "universalWorkflowAccess", "'read'"),
        ("AFTER INSERT", "accountDetailsAccess", "true"),
        ("at commit", "usageAnalyticsAccess", "true"),
    ] {
        let database = world().await;
        let update = format!(r#"UPDATE groups SET "{column}" = {value} WHERE id = NEW.id;"#);
        match when {
            "BEFORE INSERT" => {
                let body = format!(r#"NEW."{column}" = {value}; RETURN NEW;"#);
                on_row(&database, when, "groups", &body).await;
            }
            "at commit" => at_commit(&database, "AFTER INSERT", "groups", &update).await,
            _ => on_row(&database, when, "groups", &format!("{update} RETURN NULL;")).await,
        }
        let (changes, _server) = Changes::serving(&database, &[]).await;
        let status = refused(&database, changes.grant(grant, "user/u100")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{when} {column}: {status:?}");
        assert!(status.message().contains("a trigger of groups"), "{when} {column}: {}", status.message());
    }
    // A role with the documented privileges notices the rights that it can read.
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    database.execute(&format!(r#"GRANT SELECT ("usageAnalyticsAccess") ON groups TO {}"#, role.name)).await;
    on_row(&database, "BEFORE INSERT", "groups", r#"NEW."usageAnalyticsAccess" = true; RETURN NEW;"#).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let status = refused(&database, changes.grant(grant, "user/u100")).await;
    assert!(status.message().contains("a trigger of groups"), "{}", status.message());
    database.execute("DROP FUNCTION meddle CASCADE").await;
    assert_eq!(changes.grant(grant, "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_revoke_that_a_trigger_suppresses_is_not_reported_as_done() {
    for (entitlement, principal, table) in CALLS {
        let database = world().await;
        let (changes, _server) = Changes::serving(&database, &[]).await;
        changes.grant(entitlement, principal).await.unwrap();
        on_row(&database, "BEFORE UPDATE OR DELETE", table, "RETURN NULL;").await;
        let status = refused(&database, changes.revoke(entitlement, principal)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
        assert!(status.message().contains(&format!("a trigger of {table}")), "{}", status.message());
    }
}

/// The role can see the row but may not delete it.
#[tokio::test]
async fn an_error_names_the_policy_that_prevents_a_change() {
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    changes.grant("group:g100:member", "user/u100").await.unwrap();
    database
        .execute(
            r#"ALTER TABLE user_groups ENABLE ROW LEVEL SECURITY;
               CREATE POLICY reads ON user_groups FOR SELECT USING (true);
               CREATE POLICY deletes ON user_groups FOR DELETE USING ("userId" <> 100)"#,
        )
        .await;
    let (changes, _other) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let status = refused(&database, changes.revoke("group:g100:member", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("row-level security"), "{}", status.message());
    assert!(status.message().contains("BYPASSRLS"), "{}", status.message());
}

/// Restrictive policies hide a new row, or prevent an update or a deletion.
#[tokio::test]
async fn an_error_names_row_level_security_whatever_it_prevents() {
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    for table in ["user_groups", "group_pages", "groups"] {
        let enable = format!(
            "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON {table} USING (true)"
        );
        database.execute(&enable).await;
    }
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let hinder = async |table: &str, policy: &str| {
        database.execute(&format!("CREATE POLICY hinders ON {table} AS RESTRICTIVE {policy}")).await;
    };
    let assert_named = |status: tonic::Status, what: &str| {
        assert_eq!(status.code(), Code::FailedPrecondition, "{what}: {status:?}");
        assert!(status.message().contains("row-level security"), "{what}: {}", status.message());
    };
    for (entitlement, principal, table, policy) in [
        ("group:g100:member", "user/u100", "user_groups", r#"FOR SELECT USING ("userId" <> 100)"#),
        ("page:p100:group:write", "group/g100", "group_pages", r#"FOR SELECT USING ("groupId" <> 100)"#),
        ("page:p100:user:read", "user/u100", "user_groups", r#"FOR SELECT USING ("userId" <> 100)"#),
        ("page:p100:user:read", "user/u100", "groups", "FOR SELECT USING (name NOT LIKE 'baton:%')"),
    ] {
        hinder(table, policy).await;
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_named(status, &format!("grant {entitlement}, {table}"));
        database.execute(&format!("DROP POLICY hinders ON {table}")).await;
    }
    for (entitlement, principal, table, policy) in [
        ("group:g100:admin", "user/u100", "user_groups", "FOR UPDATE USING (false)"),
        ("page:p100:group:write", "group/g100", "group_pages", "FOR UPDATE USING (false)"),
        ("page:p100:group:read", "group/g100", "group_pages", "FOR DELETE USING (false)"),
        ("page:p100:user:read", "user/u100", "user_groups", "FOR DELETE USING (false)"),
    ] {
        changes.grant(entitlement, principal).await.unwrap();
        hinder(table, policy).await;
        let status = refused(&database, changes.revoke(entitlement, principal)).await;
        assert_named(status, &format!("revoke {entitlement}"));
        database.execute(&format!("DROP POLICY hinders ON {table}")).await;
        changes.revoke(entitlement, principal).await.unwrap();
    }
}

#[tokio::test]
async fn an_error_names_a_new_column_without_a_default() {
    let database = world().await;
    database.execute(r#"ALTER TABLE user_groups ADD COLUMN "grantedBy" int; UPDATE user_groups SET "grantedBy" = 1; ALTER TABLE user_groups ALTER "grantedBy" SET NOT NULL"#).await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let status = refused(&database, changes.grant("group:g100:member", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    for word in ["user_groups", "\"grantedBy\"", "23502"] {
        assert!(status.message().contains(word), "{word}: {}", status.message());
    }
}

#[tokio::test]
async fn a_managed_group_deleted_concurrently_is_created_again() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:user:read", "user/u1").await.unwrap();
    let mut retool = database.client().await;
    let deleting = retool.transaction().await.unwrap();
    deleting.batch_execute("DELETE FROM groups WHERE name = 'baton:page:100:read'").await.unwrap();
    let call = on_its_way(&changes, "page:p100:user:read", "user/u100");
    until_blocked(&database).await;
    deleting.commit().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().did(), Did::Changed);
    assert!(changes.lists("page:p100:user:read", "user/u100").await);
}

/// Advisory locks of another program with small numbers do not conflict with ours. If a row is locked for
/// longer than one attempt waits, the next attempt waits again.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_other_clients_do_not_fail_a_change() {
    let database = world().await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    let other = database.client().await;
    other
        .batch_execute(
            "SELECT pg_advisory_lock(class, 100) FROM unnest(ARRAY[1651667047, 1651667056, 0, 1]) AS class;
             SELECT pg_advisory_lock(number) FROM generate_series(0, 200) AS number",
        )
        .await
        .unwrap();
    assert_eq!(changes.grant("group:g100:member", "user/u100").await.unwrap().did(), Did::Changed);

    let mut retool = database.client().await;
    let holding = retool.transaction().await.unwrap();
    holding.batch_execute("LOCK TABLE user_groups IN EXCLUSIVE MODE").await.unwrap();
    let changing = changes.clone();
    let call = tokio::spawn(async move { changing.revoke("group:g100:member", "user/u100").await });
    server.wait_for_log(|line| line["msg"] == "a change was not made; retrying");
    holding.rollback().await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn an_error_names_only_the_missing_privilege_on_the_schema() {
    let database = world().await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    database.execute(&format!("REVOKE USAGE ON SCHEMA public FROM PUBLIC, {}", role.name)).await;
    let (changes, _server) = Changes::serving_at(&database.url_as(&role), &[]).await;
    let status = refused(&database, changes.grant("group:g100:member", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let grant = format!("GRANT USAGE ON SCHEMA public TO {};", role.name);
    assert!(
        status.message().contains(&grant) && !status.message().contains("DELETE"),
        "{}",
        status.message()
    );
}

#[tokio::test]
async fn a_page_is_granted_to_a_user_who_has_the_level_through_a_group() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    changes.grant("page:p100:group:own", "group/g100").await.unwrap();
    changes.grant("group:g100:member", "user/u100").await.unwrap();

    let granted = changes.grant("page:p100:user:write", "user/u100").await.unwrap();
    assert_eq!(granted.did(), Did::Changed);
    assert_eq!(granted.grants.len(), 1);
    assert!(
        changes.listed("page:p100:user:write").await.iter().any(|grant| grant.id == granted.grants[0].id)
    );
    let again = changes.grant("page:p100:user:write", "user/u100").await.unwrap();
    assert_eq!((again.did(), again.grants.len()), (Did::Nothing, 1));

    let revoked = changes.revoke("page:p100:user:write", "user/u100").await.unwrap();
    assert_eq!(revoked.did(), Did::Changed);
    assert!(revoked.says("access_remains"));
    assert!(!changes.lists("page:p100:user:write", "user/u100").await);
    let status = refused(&database, changes.revoke("page:p100:user:write", "user/u100")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
}

#[tokio::test]
async fn a_user_without_an_organization_joins_only_groups_without_one() {
    let database = world().await;
    database
        .execute(
            r#"INSERT INTO users (id, email, "createdAt", "updatedAt") VALUES (101, 'none', now(), now());
               INSERT INTO groups (id, name, "createdAt", "updatedAt") VALUES (101, 'built in', now(), now());"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for entitlement in ["group:g100:member", "group:g100:admin", "page:p100:user:read"] {
        let status = refused(&database, changes.grant(entitlement, "user/u101")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{entitlement}: {status:?}");
        assert!(status.message().contains("belongs to no organization"), "{}", status.message());
    }
    assert_eq!(changes.grant("group:g101:member", "user/u101").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.grant("group:g101:member", "user/u100").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_membership_across_organizations_can_be_revoked_but_not_granted() {
    let database = world().await;
    database
        .execute(
            r#"SET session_replication_role = replica;
               INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (45, 100, now(), now())"#,
        )
        .await;
    let (changes, server) = Changes::serving(&database, &[]).await;
    Wire::to(&server).await.validate().await.unwrap();
    let counted = |line: &serde_json::Value| line["level"] == "warn" && line["memberships"] == 1;
    let line = server.wait_for_log(counted);
    assert!(line["msg"].as_str().unwrap().contains("users of one organization"), "{line}");
    let doctor = program().args(["doctor", "--connection-string", &database.url()]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains("1 memberships put a user of one organization into a group of another"), "{text}");
    assert!(changes.lists("group:g100:member", "user/u45").await);
    assert_eq!(changes.grant("group:g100:member", "user/u45").await.unwrap().did(), Did::Nothing);
    assert_eq!(changes.revoke("group:g100:member", "user/u45").await.unwrap().did(), Did::Changed);
    let status = refused(&database, changes.grant("group:g100:member", "user/u45")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("different organizations"), "{}", status.message());
}

#[tokio::test]
async fn refuses_a_revoke_whose_grant_id_names_another_grant() {
    let database = world().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (entitlement, principal, _) in CALLS {
        changes.grant(entitlement, principal).await.unwrap();
        let tables = Tables::of(&database).await;
        let own = format!("{entitlement}:{}", principal.replace('/', ":"));
        for id in ["group:g100:member:user:u7", "banana", &format!("{own} "), &own[1..]] {
            let grant = Grant {
                id: id.to_owned(),
                entitlement: Some(entitlement_of(entitlement)),
                principal: Some(principal_of(principal)),
                ..Default::default()
            };
            let status = changes.send_revoke(grant).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{id}: {status:?}");
        }
        tables.assert_same(&Tables::of(&database).await);
        assert_eq!(
            changes.revoke(entitlement, principal).await.unwrap().did(),
            Did::Changed,
            "{entitlement}"
        );
    }
}

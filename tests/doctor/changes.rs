//! Checks of the privileges for changes.

use super::database::{FEW, assert_shown, healthy, visit};
use crate::support::postgres::{Database, Provisioning};

#[tokio::test]
async fn missing_write_privileges_are_reported_with_their_grants() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[]).await;
    let url = database.url_as(&role);
    assert_eq!(visit(&url, &[]).code, 0, "nothing is to be changed");
    let seen = visit(&url, &["--provisioning"]);
    assert_shown!("missing_write_grants", seen, Some(&database), Some(&role));
    let grants =
        seen.text.lines().filter_map(|line| line.trim().strip_prefix("> GRANT ")).collect::<Vec<_>>();
    for grant in grants {
        database.execute(&format!("GRANT {grant}")).await;
    }
    assert_eq!(visit(&url, &["--provisioning", "--strict"]).code, 0);
    database.execute(&format!("REVOKE ALL ON SEQUENCE user_groups_id_seq FROM {}", role.name)).await;
    let seen = visit(&url, &["--provisioning"]);
    assert_shown!("missing_sequence", seen, Some(&database), Some(&role));
}

#[tokio::test]
async fn doctor_accepts_a_read_only_default_of_the_role_for_changes() {
    let (database, role) = healthy().await;
    database.execute(&format!("ALTER ROLE {} SET default_transaction_read_only = on", role.name)).await;
    let seen = visit(&database.url_as(&role), &["--provisioning", "--strict"]);
    assert_eq!((seen.code, seen.status_of("change")), (0, vec!["ok"; 3]), "{}", seen.text);
}

#[tokio::test]
async fn changes_that_are_not_set_up_or_cannot_be_tested_are_reported() {
    let database = Database::seeded(FEW).await;
    let role = database.documented_role(&[Provisioning::Groups]).await;
    let url = database.url_as(&role);
    let groups_only = visit(&url, &["--provisioning"]);
    assert_shown!("groups_only", groups_only, Some(&database), Some(&role));

    // Only a part of the privileges for apps: this is an error and not a choice, and no change to apps is
    // possible.
    database.execute(&format!("GRANT DELETE ON group_pages TO {}", role.name)).await;
    let half = visit(&url, &["--provisioning"]);
    assert_eq!((half.code, half.status_of("change")), (2, vec!["ok", "failed", "warning"]), "{}", half.text);
    database.execute(&format!("REVOKE DELETE ON group_pages FROM {}", role.name)).await;

    database
        .execute(
            "ALTER TABLE user_groups ENABLE ROW LEVEL SECURITY;
             CREATE POLICY everybody_reads ON user_groups FOR SELECT USING (true)",
        )
        .await;
    let policed = visit(&url, &["--provisioning"]);
    let statuses = policed.status_of("change");
    assert_eq!((policed.code, statuses), (0, vec!["warning"; 3]), "{}", policed.text);
    assert!(policed.text.contains("row-level security on user_groups may refuse rows"), "{}", policed.text);
}

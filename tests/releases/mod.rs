//! Tests that must pass on every supported version of Postgres. `make releases` runs them on the oldest and
//! the newest version; all other runs use the installed version.

use crate::support::changes::{Changes, Did};
use crate::support::client::facts;
use crate::support::oracle::Oracle;
use crate::support::postgres::{Database, Provisioning};
use crate::support::server::program;

/// Every change with its reverse, in an order in which each has an effect.
pub(crate) const STEPS: [(&str, &str); 8] = [
    ("group:g100:member", "user/u100"),
    ("group:g100:admin", "user/u100"),
    ("page:p100:group:read", "group/g100"),
    ("page:p100:group:write", "group/g100"),
    ("page:p100:group:own", "group/g100"),
    ("page:p100:user:read", "user/u100"),
    ("page:p100:user:write", "user/u100"),
    ("page:p100:user:own", "user/u100"),
];

/// User 100 without any group, page 100, and group 100 without any right.
pub(crate) const WORLD: &str = r#"
INSERT INTO folders (id, name, "organizationId", "folderType", "createdAt", "updatedAt")
VALUES (100, 'sales', 1, 'app', now(), now());
INSERT INTO pages (id, name, "organizationId", "folderId", "createdAt", "updatedAt")
VALUES (100, 'orders', 1, 100, now(), now());
INSERT INTO users (id, email, "organizationId", "createdAt", "updatedAt") VALUES
    (100, 'a@acme.example', 1, now(), now());
INSERT INTO groups (id, name, "organizationId", "createdAt", "updatedAt") VALUES (100, 'plain', 1, now(), now());
"#;

/// Makes each change and reverts it.
pub(crate) async fn makes_every_change(changes: &Changes) {
    for (entitlement, principal) in STEPS {
        let granted = changes.grant(entitlement, principal).await.unwrap();
        assert_ne!(granted.did(), Did::Nothing, "grant {entitlement}");
        assert!(changes.lists(entitlement, principal).await, "{entitlement}");
    }
    for (entitlement, principal) in STEPS.into_iter().rev() {
        assert_eq!(
            changes.revoke(entitlement, principal).await.unwrap().did(),
            Did::Changed,
            "{entitlement}"
        );
        assert!(!changes.lists(entitlement, principal).await, "{entitlement}");
    }
}

#[tokio::test]
async fn a_sync_agrees_with_the_oracle_and_every_change_is_made() {
    let database = Database::small().await;
    database.execute(WORLD).await;
    let role = database.documented_role(&[Provisioning::Groups, Provisioning::Pages]).await;
    let (changes, server) = Changes::serving_at(&database.url_as(&role), &[]).await;

    let oracle = Oracle::read(&database.client().await, false).await;
    let listed = changes.client.everything().await;
    assert_eq!(facts(&listed.grants), oracle.grants());
    assert_eq!(listed.resources.len(), oracle.resources().len());

    makes_every_change(&changes).await;
    drop((changes, server));

    let doctor = program()
        .args(["doctor", "--provisioning", "--connection-string", &database.url_as(&role)])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(!text.lines().any(|line| line.starts_with("failed")), "{text}");
    assert!(doctor.status.success(), "{text}");
}

//! Resources that most users of an organization can access. A different statement reads their users.

// The lints about panics are for production code.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use baton_retool::proto::connector::grants_service_client::GrantsServiceClient;
use baton_retool::proto::connector::{GrantsServiceListGrantsRequest, Resource, ResourceId};
use tonic::transport::Channel;

use crate::support::postgres::{Database, Sizes};
use crate::support::server::Server;

/// Entitlement and principal, such as `read u7`.
type Grants = BTreeSet<String>;

/// Many users have levels from two groups, and the explicit level is not always the higher one.
const SHARED: &str = r#"
    UPDATE groups SET "universalResourceAccess" = 'none';
    UPDATE groups SET "universalResourceAccess" = 'own' WHERE name = 'admin';
    INSERT INTO group_resources ("groupId", "resourceId", "accessLevel", "createdAt", "updatedAt")
    SELECT g.id, 2, CASE WHEN g.name = 'All Users' THEN 'read' ELSE 'write' END, now(), now()
    FROM groups g
    WHERE g.name IN ('All Users', 'editor') OR g.name LIKE 'team %'
    ON CONFLICT DO NOTHING;
    -- Members of another organization and of none, and a row without a user. Retool now forbids such rows.
    SET session_replication_role = replica;
    INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
    SELECT u.id, 1, now(), now() FROM users u WHERE u."organizationId" = 2 OR u."organizationId" IS NULL;
    INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (NULL, 1, now(), now());
    RESET session_replication_role;
    ANALYZE;
"#;

/// The expected grants, computed as simply as possible.
const EXPECTED: &str = r#"
    WITH held AS (
        SELECT u.id, max(array_position(ARRAY['read', 'write', 'own'],
                                        coalesce(nullif(g."universalResourceAccess", 'none'), gr."accessLevel")::text)) AS level
        FROM users u
        JOIN user_groups ug ON ug."userId" = u.id
        JOIN groups g ON g.id = ug."groupId" AND g."organizationId" = 1 AND g."archivedAt" IS NULL
        LEFT JOIN group_resources gr ON gr."groupId" = g.id AND gr."resourceId" = 2
        WHERE u.enabled OR NOT $1
        GROUP BY u.id
    )
    SELECT entitlement.name || ' u' || held.id
    FROM held
    JOIN unnest(ARRAY['read', 'write', 'own']) WITH ORDINALITY AS entitlement (name, level)
        ON entitlement.level <= held.level
"#;

#[tokio::test]
async fn a_widely_shared_resource_is_listed_completely_at_every_page_size() {
    let database = shared_resource().await;
    let expected = expected(&database, false).await;
    let server = Server::start(&database, &[]);
    for size in [0, 1, 249, 250] {
        // With one row per page, the first pages suffice.
        let pages = if size == 1 { 30 } else { usize::MAX };
        let (listed, whole) = listed(server.channel().await, size, pages).await;
        assert!(listed.is_subset(&expected), "{:?}", listed.difference(&expected).next());
        assert_eq!(whole, size != 1);
        assert!(!whole || listed == expected, "{:?}", expected.difference(&listed).next());
    }
}

#[tokio::test]
async fn skipped_disabled_users_are_missing_from_a_shared_resource() {
    let database = shared_resource().await;
    let server = Server::start(&database, &["--skip-disabled-users"]);
    let (listed, _) = listed(server.channel().await, 0, usize::MAX).await;
    let expected = expected(&database, true).await;
    assert_eq!(listed.symmetric_difference(&expected).collect::<Vec<_>>(), Vec::<&String>::new());
}

async fn shared_resource() -> Database {
    let database = Database::seeded(Sizes { users: 3_000, groups: 8, pages: 1, resources: 4 }).await;
    database.execute(SHARED).await;
    database
}

async fn expected(database: &Database, enabled_only: bool) -> Grants {
    let rows = database.reader().await.query(EXPECTED, &[&enabled_only]).await.unwrap();
    assert!(rows.len() > 4_000);
    rows.iter().map(|row| row.get(0)).collect()
}

/// The grants of the second resource on at most `pages` pages, and whether the listing is complete.
async fn listed(channel: Channel, page_size: u32, pages: usize) -> (Grants, bool) {
    let mut client = GrantsServiceClient::new(channel);
    let id = ResourceId { resource_type: "resource".into(), resource: "r2".into(), ..Default::default() };
    let mut request = GrantsServiceListGrantsRequest {
        resource: Some(Resource { id: Some(id), ..Default::default() }),
        page_size,
        ..Default::default()
    };
    let mut listed = Grants::new();
    for _ in 0..pages {
        let answer = client.list_grants(request.clone()).await.unwrap().into_inner();
        for grant in answer.list.into_grants().unwrap() {
            let entitlement = grant.entitlement.unwrap().id;
            let principal = grant.principal.unwrap().id.unwrap().resource;
            let level = entitlement.strip_prefix("entitlement:r2:").unwrap();
            assert!(listed.insert(format!("{level} {principal}")), "{level} {principal} is listed twice");
        }
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            return (listed, true);
        }
    }
    (listed, false)
}

//! Grants and revokes of group membership and group administration.

use baton_retool::proto::connector::{Grant, GrantManagerServiceGrantRequest};
use tonic::Code;

use crate::support::changes::{Changes, Did, Tables, entitlement_of, principal_of, refused};
use crate::support::postgres::Database;

/// The membership in the database: `member`, `admin` or `none`.
async fn role(database: &Database, group: i32, user: i32) -> &'static str {
    let sql = r#"SELECT "isAdmin" FROM user_groups WHERE "groupId" = $1 AND "userId" = $2"#;
    let rows = database.reader().await.query(sql, &[&group, &user]).await.unwrap();
    match rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>()[..] {
        [] => "none",
        [false] => "member",
        [true] => "admin",
        _ => panic!("more than one membership of user {user} in group {group}"),
    }
}

#[tokio::test]
async fn membership_and_admin_role_can_be_granted_and_revoked() {
    let database = Database::small().await;
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let (member, admin) = ("group:g5:member", "group:g5:admin");

    let joined = changes.grant(member, "user/u7").await.unwrap();
    assert_eq!((joined.did(), role(&database, 5, 7).await), (Did::Changed, "member"));
    let [grant] = &joined.grants[..] else { panic!("{joined:?}") };
    let listed = changes.listed(member).await;
    assert!(listed.contains(grant), "not as the listing has it: {grant:?}");

    let again = changes.grant(member, "user/u7").await.unwrap();
    assert_eq!((again.did(), &again.grants), (Did::Nothing, &joined.grants));

    let promoted = changes.grant(admin, "user/u7").await.unwrap();
    assert_eq!(promoted.did(), Did::Replaced("group:g5:member:user:u7".to_owned()));
    assert_eq!(role(&database, 5, 7).await, "admin");
    assert!(changes.listed(admin).await.contains(&promoted.grants[0]));

    assert_eq!(changes.revoke(member, "user/u7").await.unwrap().did(), Did::Nothing, "an admin is no member");
    assert_eq!(role(&database, 5, 7).await, "admin");
    assert_eq!(changes.revoke(admin, "user/u7").await.unwrap().did(), Did::Changed);
    assert_eq!(role(&database, 5, 7).await, "member");
    assert_eq!(changes.revoke(admin, "user/u7").await.unwrap().did(), Did::Nothing);
    assert_eq!(changes.revoke(member, "user/u7").await.unwrap().did(), Did::Changed);
    assert_eq!(role(&database, 5, 7).await, "none");
    assert_eq!(changes.revoke(member, "user/u7").await.unwrap().did(), Did::Nothing);
    assert!(!changes.lists(member, "user/u7").await);
}

#[tokio::test]
async fn only_users_can_be_granted_group_membership() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for principal in ["group/g7", "page/p7", "org/o1", "resource/r7", "banana/u7"] {
        for entitlement in ["group:g5:member", "group:g5:admin"] {
            let status = refused(&database, changes.grant(entitlement, principal)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{principal}: {status:?}");
            assert!(status.message().contains("is granted to a user"), "{}", status.message());
            let status = refused(&database, changes.revoke(entitlement, principal)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{principal}: {status:?}");
        }
    }
}

#[tokio::test]
async fn ids_are_parsed_strictly() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for user in
        ["g7", "u+7", "u-7", "u07", "u0", "7", "u", "u7 ", "U7", "u2147483648", "u99999999999999999999"]
    {
        let status = refused(&database, changes.grant("group:g5:member", &format!("user/{user}"))).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{user}: {status:?}");
    }
    for entitlement in ["group:z5:member", "group:g05:member", "group:g+5:member", "group:5:member"] {
        let request = GrantManagerServiceGrantRequest {
            entitlement: Some(baton_retool::proto::connector::Entitlement {
                id: entitlement.to_owned(),
                ..entitlement_of("group:g5:member")
            }),
            principal: Some(principal_of("user/u7")),
            ..Default::default()
        };
        let status = refused(&database, changes.send_grant(request)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{entitlement}: {status:?}");
    }
}

#[tokio::test]
async fn the_role_comes_from_the_entitlement_id() {
    let database = Database::small().await;
    database.execute(r#"DELETE FROM user_groups WHERE "groupId" = 5 AND "userId" = 7"#).await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let asking = |id: &str, slug: &str| GrantManagerServiceGrantRequest {
        entitlement: Some(baton_retool::proto::connector::Entitlement {
            id: id.to_owned(),
            slug: slug.to_owned(),
            ..entitlement_of("group:g5:member")
        }),
        principal: Some(principal_of("user/u7")),
        ..Default::default()
    };
    for (id, slug) in [
        ("group:g5:admin", "member"),
        ("group:g5:member", "admin"),
        ("group:g5:member", "banana"),
        ("group:g5:banana", "member"),
        ("group:g5:member:user:u7", "member"),
        ("group:g6:member", "member"),
        ("page:p5:user:read", "member"),
    ] {
        let status = refused(&database, changes.send_grant(asking(id, slug))).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{id} {slug}: {status:?}");
    }
    let status = refused(&database, changes.send_grant(asking("group:g5:banana", ""))).await;
    let those_of_the_resource =
        "is not an entitlement of \"group g5\", which has group:g5:member and group:g5:admin";
    assert!(status.message().contains(those_of_the_resource), "{status:?}");
    changes.send_grant(asking("group:g5:admin", "")).await.unwrap();
    assert_eq!(role(&database, 5, 7).await, "admin", "without a slug the id decides");
}

#[tokio::test]
async fn an_admin_who_is_granted_membership_stays_admin() {
    let database = Database::small().await;
    database
        .execute(r#"INSERT INTO user_groups ("userId", "groupId", "isAdmin", "createdAt", "updatedAt") VALUES (7, 5, true, now(), now()) ON CONFLICT ("userId", "groupId") DO UPDATE SET "isAdmin" = true"#)
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let before = Tables::of(&database).await;
    let answer = changes.grant("group:g5:member", "user/u7").await.unwrap();
    assert_eq!((answer.did(), answer.grants), (Did::Nothing, Vec::<Grant>::new()));
    before.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn revoking_a_role_removes_only_that_role() {
    let database = Database::small().await;
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "groupId" = 5;
               INSERT INTO user_groups ("userId", "groupId", "isAdmin", "createdAt", "updatedAt")
               VALUES (7, 5, true, now(), now()), (8, 5, false, now(), now())"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    let before = Tables::of(&database).await;
    assert_eq!(changes.revoke("group:g5:member", "user/u7").await.unwrap().did(), Did::Nothing);
    assert_eq!(changes.revoke("group:g5:admin", "user/u8").await.unwrap().did(), Did::Nothing);
    before.assert_same(&Tables::of(&database).await);
    assert_eq!(changes.revoke("group:g5:admin", "user/u7").await.unwrap().did(), Did::Changed);
    assert!(changes.lists("group:g5:member", "user/u7").await, "an admin that steps down stays a member");
}

#[tokio::test]
async fn grants_and_revokes_without_effect_report_it() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for role in ["member", "admin"] {
        let entitlement = format!("group:g5:{role}");
        changes.grant(&entitlement, "user/u9").await.unwrap();
        let before = Tables::of(&database).await;
        assert_eq!(changes.grant(&entitlement, "user/u9").await.unwrap().did(), Did::Nothing);
        before.assert_same(&Tables::of(&database).await);
    }
    for entitlement in ["group:g5:admin", "group:g5:member"] {
        changes.revoke(entitlement, "user/u9").await.unwrap();
        let before = Tables::of(&database).await;
        assert_eq!(changes.revoke(entitlement, "user/u9").await.unwrap().did(), Did::Nothing);
        before.assert_same(&Tables::of(&database).await);
    }
    let gone = Tables::of(&database).await;
    for (entitlement, principal) in [
        ("group:g5:member", "user/u9999"),
        ("group:g9999:member", "user/u7"),
        ("group:g9999:admin", "user/u7"),
    ] {
        assert_eq!(changes.revoke(entitlement, principal).await.unwrap().did(), Did::Nothing, "{principal}");
    }
    gone.assert_same(&Tables::of(&database).await);
}

#[tokio::test]
async fn archived_and_unknown_groups_accept_no_members() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for (entitlement, principal, code, says) in [
        ("group:g13:member", "user/u7", Code::FailedPrecondition, "group 13 is archived"),
        ("group:g9999:member", "user/u7", Code::NotFound, "group 9999 does not exist"),
        ("group:g5:member", "user/u9999", Code::NotFound, "user 9999 does not exist"),
        // User 45 belongs to the other organization.
        ("group:g5:member", "user/u45", Code::FailedPrecondition, "different organizations"),
        ("group:g14:admin", "user/u7", Code::FailedPrecondition, "different organizations"),
    ] {
        let status = refused(&database, changes.grant(entitlement, principal)).await;
        assert_eq!(status.code(), code, "{entitlement} {principal}: {status:?}");
        assert!(status.message().contains(says), "{}", status.message());
    }
}

#[tokio::test]
async fn all_users_and_the_last_enabled_admin_are_protected() {
    let database = Database::small().await;
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "groupId" IN (1, 2) AND "userId" IN (7, 8);
               DELETE FROM user_groups WHERE "groupId" = 2 AND "userId" NOT IN (1, 21, 41);
               UPDATE users SET enabled = (id <> 21) WHERE id IN (1, 21, 41)"#,
        )
        .await;
    database
        .execute(
            r#"INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt")
               VALUES (1, 2, now(), now()), (21, 2, now(), now()), (41, 2, now(), now()) ON CONFLICT DO NOTHING"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for entitlement in ["group:g1:member", "group:g1:admin"] {
        let status = refused(&database, changes.grant(entitlement, "user/u7")).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert!(status.message().contains("All Users"), "{}", status.message());
    }
    let status = refused(&database, changes.revoke("group:g1:member", "user/u9")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    // No change is needed, so nothing is refused.
    assert_eq!(changes.grant("group:g1:member", "user/u9").await.unwrap().did(), Did::Nothing);
    assert_eq!(changes.revoke("group:g1:member", "user/u7").await.unwrap().did(), Did::Nothing);

    // A disabled administrator does not count, neither as the last nor as a remaining one.
    assert_eq!(changes.revoke("group:g2:member", "user/u41").await.unwrap().did(), Did::Changed);
    let status = refused(&database, changes.revoke("group:g2:member", "user/u1")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("last enabled member"), "{}", status.message());
    assert_eq!(changes.revoke("group:g2:member", "user/u21").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.grant("group:g2:member", "user/u8").await.unwrap().did(), Did::Changed);
    assert_eq!(changes.revoke("group:g2:member", "user/u1").await.unwrap().did(), Did::Changed);

    // Removing the last member of an archived group is allowed, because the group grants nothing.
    assert!(
        refused(&database, changes.revoke("group:g2:member", "user/u8")).await.message().contains("last")
    );
    database.execute(r#"UPDATE groups SET "archivedAt" = now() WHERE id = 2"#).await;
    assert_eq!(changes.revoke("group:g2:member", "user/u8").await.unwrap().did(), Did::Changed);
}

#[tokio::test]
async fn a_skipped_disabled_user_can_be_removed_but_not_added() {
    let database = Database::small().await;
    database
        .execute(
            r#"DELETE FROM user_groups WHERE "groupId" IN (5, 6) AND "userId" = 11;
               INSERT INTO user_groups ("userId", "groupId", "createdAt", "updatedAt") VALUES (11, 6, now(), now())"#,
        )
        .await;
    let (changes, _server) = Changes::serving(&database, &["--skip-disabled-users"]).await;
    let status = refused(&database, changes.grant("group:g5:member", "user/u11")).await;
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("--skip-disabled-users"), "{}", status.message());
    assert_eq!(changes.revoke("group:g6:member", "user/u11").await.unwrap().did(), Did::Changed);
    assert_eq!(role(&database, 6, 11).await, "none");
}

#[tokio::test]
async fn a_group_without_an_organization_accepts_users_of_any_organization() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for user in ["user/u7", "user/u45"] {
        assert_eq!(changes.grant("group:g15:member", user).await.unwrap().did(), Did::Changed);
        assert!(changes.lists("group:g15:member", user).await);
    }
}

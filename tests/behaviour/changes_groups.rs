//! Who is in a group, and who manages it: decision 7.4, and the defects of the former program.

use baton_retool::proto::connector::{Grant, GrantManagerServiceGrantRequest};
use tonic::Code;

use crate::support::changes::{Changes, Did, Tables, entitlement_of, principal_of, refused};
use crate::support::postgres::Database;

/// The membership as the database has it: `member`, `admin` or `none`.
async fn role(database: &Database, group: i32, user: i32) -> &'static str {
    let sql = r#"SELECT "isAdmin" FROM user_groups WHERE "groupId" = $1 AND "userId" = $2"#;
    let rows = database.client().await.query(sql, &[&group, &user]).await.unwrap();
    match rows.iter().map(|row| row.get(0)).collect::<Vec<bool>>()[..] {
        [] => "none",
        [false] => "member",
        [true] => "admin",
        _ => panic!("more than one membership of user {user} in group {group}"),
    }
}

#[tokio::test]
async fn a_member_comes_becomes_admin_steps_down_and_goes() {
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
async fn d07_only_users_are_put_into_groups() {
    let database = Database::small().await;
    let (changes, _server) = Changes::serving(&database, &[]).await;
    for principal in ["group/g7", "page/p7", "org/o1", "resource/r7", "banana/u7"] {
        for entitlement in ["group:g5:member", "group:g5:admin"] {
            let status = refused(&database, changes.grant(entitlement, principal)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{principal}: {status:?}");
            assert!(status.message().contains("goes to a user"), "{}", status.message());
            let status = refused(&database, changes.revoke(entitlement, principal)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{principal}: {status:?}");
        }
    }
}

#[tokio::test]
async fn d08_ids_are_read_to_the_letter() {
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
async fn d09_the_role_is_that_of_the_entitlements_id() {
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
    changes.send_grant(asking("group:g5:admin", "")).await.unwrap();
    assert_eq!(role(&database, 5, 7).await, "admin", "without a slug the id decides");
}

#[tokio::test]
async fn d10_an_admin_that_is_granted_membership_stays_admin() {
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

//! Users and groups as agents map them: display names, traits and profiles.

// Agents of all versions read the older fields, so these are the ones that must be set.
#![allow(deprecated)]

use baton_retool::proto::connector::user_trait::status::Status;
use baton_retool::proto::connector::user_trait::{AccountType, StructuredName};
use baton_retool::proto::connector::{GroupTrait, Resource, UserTrait};
use prost_types::value::Kind;
use prost_types::{Struct, Timestamp};

use crate::support::client::{Client, annotations, id_of, parent_of, path_of};
use crate::support::organization::{served, with_rows};
use crate::support::postgres::Database;
use crate::support::server::Server;

fn user_trait(user: &Resource) -> UserTrait {
    assert_eq!(user.annotations.len(), 1, "{user:?}");
    annotations(&user.annotations).pop().unwrap()
}

/// Keys in their order, texts in quotes and numbers as doubles.
fn profile(profile: &Struct) -> Vec<String> {
    let text = |kind: &Kind| match kind {
        Kind::StringValue(text) => format!("{text:?}"),
        Kind::NumberValue(number) => format!("{number:?}"),
        other => panic!("neither text nor number: {other:?}"),
    };
    profile
        .fields
        .iter()
        .map(|(key, value)| format!("{key}={}", text(value.kind.as_ref().unwrap())))
        .collect()
}

#[tokio::test]
async fn a_user_has_every_fact_of_its_row() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, email, "firstName", "lastName", "userName", "organizationId", enabled,
                              "lastLoggedIn", "lastActive", "createdAt", "userType")
        VALUES (5, 'ada@acme.example', 'Ada', 'Lovelace', 'ada', 1, true, '2026-01-01 00:01:00.5+00',
                '2026-01-02 03:04:05+00', '2025-12-31 23:59:59.25+00', 'mobile')"#,
        &[],
    )
    .await;
    let user = client.resources("user", Some("o1")).await.pop().unwrap();
    assert_eq!((path_of(&user), parent_of(&user)), ("user/u5".to_owned(), "org/o1".to_owned()));
    assert_eq!(user.display_name, "Ada Lovelace");
    let it = user_trait(&user);
    let emails: Vec<_> = it.emails.iter().map(|email| (email.address.as_str(), email.is_primary)).collect();
    assert_eq!(emails, [("ada@acme.example", true)]);
    let status = it.status.as_ref().unwrap();
    assert_eq!((status.status(), status.details.as_str()), (Status::Enabled, ""));
    assert_eq!(it.account_type(), AccountType::Human);
    assert_eq!(
        profile(it.profile.as_ref().unwrap()),
        [
            r#"email="ada@acme.example""#,
            r#"first_name="Ada""#,
            r#"last_active="2026-01-02 03:04:05 +0000 UTC""#,
            r#"last_logged_in="2026-01-01 00:01:00.5 +0000 UTC""#,
            r#"last_name="Lovelace""#,
            r#"organization_id=1.0"#,
            r#"user_id="o1:u5""#,
            r#"user_name="ada""#,
            r#"user_type="mobile""#,
        ]
    );
    assert_eq!(it.login, "ada");
    let name =
        StructuredName { given_name: "Ada".into(), family_name: "Lovelace".into(), ..Default::default() };
    assert_eq!(it.structured_name, Some(name));
    assert_eq!(it.last_login, Some(Timestamp { seconds: 1_767_225_660, nanos: 500_000_000 }));
    assert_eq!(it.created_at, Some(Timestamp { seconds: 1_767_225_599, nanos: 250_000_000 }));
    let rest = UserTrait {
        emails: it.emails.clone(),
        status: it.status.clone(),
        profile: it.profile.clone(),
        account_type: it.account_type,
        login: it.login.clone(),
        created_at: it.created_at,
        last_login: it.last_login,
        structured_name: it.structured_name.clone(),
        ..Default::default()
    };
    assert_eq!(it, rest, "an unexpected field is set");
    assert_eq!(client.get("user", "u5").await.unwrap(), user);
}

#[tokio::test]
async fn a_user_with_an_empty_row_has_only_the_required_profile_keys() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId", enabled, "userType") VALUES (9, 1, false, NULL);
        ALTER TABLE users ALTER "createdAt" DROP NOT NULL;
        UPDATE users SET "createdAt" = NULL"#,
        &[],
    )
    .await;
    let user = client.resources("user", Some("o1")).await.pop().unwrap();
    assert_eq!(user.display_name, "u9");
    let it = user_trait(&user);
    assert_eq!(it.emails, []);
    assert_eq!(it.status.as_ref().unwrap().status(), Status::Disabled);
    assert_eq!(
        profile(it.profile.as_ref().unwrap()),
        [
            r#"email="""#,
            r#"first_name="""#,
            r#"last_logged_in="0001-01-01 00:00:00 +0000 UTC""#,
            r#"last_name="""#,
            r#"organization_id=1.0"#,
            r#"user_id="o1:u9""#,
            r#"user_name="""#,
        ]
    );
    assert_eq!((it.login.as_str(), &it.structured_name), ("", &None));
    assert_eq!((it.last_login, it.created_at), (None, None));
}

#[tokio::test]
async fn a_user_without_an_organization_has_no_parent_and_a_user_id_that_begins_with_a_colon() {
    let (_database, client) =
        served(r#"INSERT INTO users (id, email, "organizationId") VALUES (3, 'a@b.example', NULL)"#, &[])
            .await;
    let user = client.resources("user", None).await.pop().unwrap();
    assert_eq!((path_of(&user), parent_of(&user)), ("user/u3".to_owned(), String::new()));
    let profile = profile(user_trait(&user).profile.as_ref().unwrap());
    assert!(profile.contains(&r#"user_id=":u3""#.to_owned()), "{profile:?}");
    assert!(!profile.iter().any(|entry| entry.starts_with("organization_id")), "{profile:?}");
    assert_eq!(client.get("user", "u3").await.unwrap(), user);
}

#[tokio::test]
async fn a_display_name_is_the_first_of_name_email_user_name_and_id() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId", "firstName", "lastName", email, "userName") VALUES
            (1, 1, 'A', 'B', 'a@b.example', 'ab'),
            (2, 1, 'A', NULL, NULL, NULL),
            (3, 1, NULL, 'B', NULL, NULL),
            (4, 1, NULL, NULL, 'd@b.example', 'd'),
            (5, 1, '', '', 'e@b.example', NULL),
            (6, 1, ' ', NULL, 'f@b.example', NULL),
            (7, 1, NULL, NULL, NULL, 'g'),
            (8, 1, NULL, NULL, '', 'h'),
            (9, 1, NULL, NULL, NULL, ''),
            (10, 1, 'Zoë', 'O''Hara-李', NULL, NULL)"#,
        &[],
    )
    .await;
    let names: Vec<_> =
        client.resources("user", Some("o1")).await.into_iter().map(|user| user.display_name).collect();
    // The space between first and last name stays if one of them is missing, as in the Go connector.
    let expected =
        ["A B", "A ", " B", "d@b.example", "e@b.example", "f@b.example", "g", "h", "u9", "Zoë O'Hara-李"];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_login_is_the_user_name_or_else_the_email() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId", email, "userName") VALUES
            (1, 1, 'a@b.example', 'a'), (2, 1, 'b@b.example', NULL), (3, 1, 'c@b.example', ''), (4, 1, NULL, NULL)"#, &[],
    )
    .await;
    let logins: Vec<_> =
        client.resources("user", Some("o1")).await.iter().map(|user| user_trait(user).login).collect();
    assert_eq!(logins, ["a", "b@b.example", "c@b.example", ""]);
}

/// The text of `lastLoggedIn`, and whether a protobuf timestamp can represent it.
const LAST_LOGGED_IN: [(&str, &str, bool); 12] = [
    ("NULL", "0001-01-01 00:00:00 +0000 UTC", false),
    ("'2026-01-01 00:01:00+00'", "2026-01-01 00:01:00 +0000 UTC", true),
    ("'2026-01-01 00:01:00.123456+00'", "2026-01-01 00:01:00.123456 +0000 UTC", true),
    ("'2026-01-01 00:01:00.12+00'", "2026-01-01 00:01:00.12 +0000 UTC", true),
    ("'2026-01-01 00:01:00.000001+00'", "2026-01-01 00:01:00.000001 +0000 UTC", true),
    ("'2026-07-01 00:00:00+05:30'", "2026-06-30 18:30:00 +0000 UTC", true),
    ("'0001-01-01 00:00:00+00'", "0001-01-01 00:00:00 +0000 UTC", true),
    ("'12026-01-01 00:00:00+00'", "12026-01-01 00:00:00 +0000 UTC", false),
    ("'0044-03-15 12:00:00+00 BC'", "-0043-03-15 12:00:00 +0000 UTC", false),
    ("'0001-12-31 23:59:59.999999+00 BC'", "0000-12-31 23:59:59.999999 +0000 UTC", false),
    ("'infinity'", "0001-01-01 00:00:00 +0000 UTC", false),
    ("'-infinity'", "0001-01-01 00:00:00 +0000 UTC", false),
];

#[tokio::test]
async fn last_logged_in_is_in_utc_for_every_time_zone_of_server_and_database() {
    let values: Vec<_> =
        LAST_LOGGED_IN.iter().zip(1..).map(|((sql, ..), id)| format!("({id}, 1, {sql})")).collect();
    let database = with_rows(&format!(
        r#"INSERT INTO users (id, "organizationId", "lastLoggedIn") VALUES {}"#,
        values.join(", ")
    ))
    .await;
    let set_zone = format!("ALTER DATABASE {} SET TimeZone = 'America/New_York'", database.name());
    for (zone, set_up) in [("UTC", None), ("Asia/Kolkata", None), ("America/New_York", Some(set_zone))] {
        if let Some(sql) = set_up {
            database.execute(&sql).await;
        }
        let server = Server::start_with(&[("TZ", zone)], &database.url(), &[]);
        let users = Client::of(&server).await.resources("user", Some("o1")).await;
        assert_eq!(users.len(), LAST_LOGGED_IN.len());
        for (user, (sql, text, fits)) in users.iter().zip(LAST_LOGGED_IN) {
            let it = user_trait(user);
            let entry = format!("last_logged_in={text:?}");
            assert!(profile(it.profile.as_ref().unwrap()).contains(&entry), "{zone} {sql}: {it:?}");
            assert_eq!(it.last_login.is_some(), fits, "{zone} {sql}: {it:?}");
        }
    }
}

#[tokio::test]
async fn infinite_and_ancient_times_do_not_break_a_listing() {
    let (_database, client) = served(
        r#"INSERT INTO users (id, "organizationId", "createdAt", "lastActive") VALUES
            (1, 1, 'infinity', '-infinity'), (2, 1, '4713-01-01 BC', '294276-01-01 00:00:00+00')"#,
        &[],
    )
    .await;
    let users = client.resources("user", Some("o1")).await;
    assert_eq!(users.iter().map(id_of).collect::<Vec<_>>(), ["u1", "u2"]);
    assert!(users.iter().all(|user| user_trait(user).created_at.is_none()));
    let profiles: Vec<_> = users.iter().map(|user| profile(&user_trait(user).profile.unwrap())).collect();
    assert!(!profiles[0].iter().any(|entry| entry.starts_with("last_active")), "{:?}", profiles[0]);
    assert!(profiles[1].contains(&r#"last_active="294276-01-01 00:00:00 +0000 UTC""#.to_owned()));
}

#[tokio::test]
async fn unreadable_user_columns_are_omitted_and_nothing_else_changes() {
    let database = Database::small().await;
    let role = database.documented_role(&[]).await;
    let all = Client::serving_at(&database.url_as(&role), &[]).await.resources("user", Some("o1")).await;
    database
        .execute(&format!(
            r#"REVOKE SELECT ("createdAt", "lastActive", "userType") ON users FROM {}"#,
            role.name
        ))
        .await;
    let fewer = Client::serving_at(&database.url_as(&role), &[]).await.resources("user", Some("o1")).await;
    let without = |user: &Resource| {
        let mut it = user_trait(user);
        assert!(it.created_at.take().is_some());
        assert!(it.profile.as_mut().unwrap().fields.remove("user_type").is_some());
        it
    };
    assert_eq!(all.iter().map(without).collect::<Vec<_>>(), fewer.iter().map(user_trait).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_group_profile_names_its_organization_if_it_has_one() {
    let (_database, client) =
        served(r#"INSERT INTO groups (id, name, "organizationId") VALUES (1, 'All Users', 2), (2, 'built in', NULL)"#, &[])
            .await;
    let of_globex = client.resources("group", Some("o2")).await.pop().unwrap();
    let of_nobody = client.resources("group", None).await.pop().unwrap();
    for (group, name, parent, expected) in [
        (of_globex, "All Users", "org/o2", vec!["organization_id=2.0".to_owned()]),
        (of_nobody, "built in", "", vec![]),
    ] {
        assert_eq!((group.display_name.as_str(), parent_of(&group)), (name, parent.to_owned()));
        assert_eq!(group.annotations.len(), 1);
        let it = annotations::<GroupTrait>(&group.annotations).pop().unwrap();
        assert_eq!(profile(it.profile.as_ref().expect("a profile, even if it is empty")), expected);
        assert_eq!(it, GroupTrait { profile: it.profile.clone(), ..Default::default() });
        assert_eq!(client.get("group", id_of(&group)).await.unwrap(), group);
    }
}

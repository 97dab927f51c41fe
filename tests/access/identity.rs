//! Ids, slugs, names and order of everything that tenants have stored. The texts in this file and in
//! `tests/data/identity.json` must never change.

use baton_retool::proto::connector::entitlement::PurposeValue;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{
    ChildResourceType, Entitlement, Resource, ResourceType, SkipEntitlementsAndGrants,
};
use baton_retool::proto::find_annotation;
use serde_json::{Value, json};

use crate::support::client::{Client, Fact, annotations, facts, named, parent_of, path_of};
use crate::support::organization::served;
use crate::support::postgres::Database;

const IDENTITY: &str = include_str!("../data/identity.json");

fn purpose(entitlement: &Entitlement) -> &'static str {
    match entitlement.purpose() {
        PurposeValue::Assignment => "assignment",
        PurposeValue::Permission => "permission",
        other => panic!("{other:?}"),
    }
}

fn described(entitlement: &Entitlement) -> Value {
    assert_eq!(entitlement.annotations, [], "{entitlement:?}");
    json!({
        "id": entitlement.id,
        "slug": entitlement.slug,
        "display_name": entitlement.display_name,
        "description": entitlement.description,
        "purpose": purpose(entitlement),
        "grantable_to": entitlement.grantable_to.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
    })
}

fn fact(fact: &Fact) -> Value {
    json!({
        "id": fact.id,
        "entitlement": fact.entitlement,
        "principal": fact.principal,
        "expands": fact.expands,
        "immutable": fact.immutable,
    })
}

/// Whether the resource has only an id, a name, a parent and annotations.
fn bare(resource: &Resource) -> bool {
    let bare = Resource {
        id: resource.id.clone(),
        parent_resource_id: resource.parent_resource_id.clone(),
        display_name: resource.display_name.clone(),
        annotations: resource.annotations.clone(),
        ..Default::default()
    };
    bare == *resource
}

fn children(resource: &Resource) -> Vec<String> {
    let children = annotations::<ChildResourceType>(&resource.annotations);
    assert_eq!(children.len(), resource.annotations.len());
    children.into_iter().map(|child| child.resource_type_id).collect()
}

#[tokio::test]
async fn the_resource_types_are_five_in_a_fixed_order() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let types = client.resource_types().await;
    let rows: Vec<_> = types
        .iter()
        .map(|one| (one.id.as_str(), one.display_name.as_str(), one.traits().collect()))
        .collect();
    let expected: [(_, _, Vec<Trait>); 5] = [
        ("org", "Organization", vec![]),
        ("user", "User", vec![Trait::User]),
        ("group", "Group", vec![Trait::Group]),
        ("page", "Page", vec![]),
        ("resource", "Resource", vec![]),
    ];
    assert_eq!(rows, expected);
    for one in &types {
        assert!(one.description.is_empty() && !one.sourced_externally);
        // Agents need not list entitlements and grants of users, because there are none.
        let skipped = find_annotation::<SkipEntitlementsAndGrants>(&one.annotations).is_some();
        assert_eq!((skipped, one.annotations.len()), if one.id == "user" { (true, 1) } else { (false, 0) });
    }
}

#[tokio::test]
async fn an_organization_names_its_child_types_except_skipped_ones() {
    let database = Database::small().await;
    for (flags, below) in [
        (&[][..], &["user", "group", "page", "resource"][..]),
        (&["--skip-pages"], &["user", "group", "resource"]),
        (&["--skip-resources"], &["user", "group", "page"]),
        (&["--skip-pages", "--skip-resources"], &["user", "group"]),
    ] {
        let client = Client::serving(&database, flags).await;
        for organization in client.resources("org", None).await {
            assert_eq!(children(&organization), below, "{flags:?}");
        }
        let types: Vec<_> = client.resource_types().await.into_iter().map(|one| one.id).collect();
        assert_eq!(types[1..], *below, "{flags:?}");
    }
}

#[tokio::test]
async fn resource_ids_are_letter_and_row_id_below_the_organization() {
    let (_database, client) = served(
        r#"INSERT INTO organizations (id, name) VALUES (2147483647, 'Last');
        INSERT INTO users (id, "organizationId", "firstName", "lastName") VALUES (42, 1, 'Ada', 'Lovelace');
        INSERT INTO groups (id, name, "organizationId") VALUES (7, 'team', 1), (8, 'built in', NULL);
        INSERT INTO pages (id, name, "organizationId", description, "photoUrl") VALUES (12, 'app', 1, 'about', 'x');
        INSERT INTO resources (id, name, "displayName", type, "organizationId") VALUES
            (3, 'db', 'Orders', 'postgresql', 1), (4, 'api', NULL, 'restapi', 1), (5, 'empty', '', 'mysql', 1);"#, &[],
    )
    .await;
    let everything = client.everything().await.resources;
    let mut rows: Vec<_> =
        everything.iter().map(|one| (path_of(one), parent_of(one), one.display_name.clone())).collect();
    rows.sort();
    let expected = [
        ("group/g7", "org/o1", "team"),
        ("group/g8", "", "built in"),
        ("org/o1", "", "Acme"),
        ("org/o2", "", "Globex"),
        ("org/o2147483647", "", "Last"),
        ("page/p12", "org/o1", "app"),
        ("resource/r3", "org/o1", "Orders (postgresql)"),
        ("resource/r4", "org/o1", "api (restapi)"),
        ("resource/r5", "org/o1", "empty (mysql)"),
        ("user/u42", "org/o1", "Ada Lovelace"),
    ];
    assert_eq!(rows, expected.map(|(id, parent, name)| (id.into(), parent.into(), name.into())));
    for resource in &everything {
        assert!(bare(resource), "{resource:?}");
        let (type_id, id) =
            path_of(resource).split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(client.get(&type_id, &id).await.unwrap(), *resource);
        assert!(matches!(type_id.as_str(), "page" | "resource") <= resource.annotations.is_empty());
    }
}

#[tokio::test]
async fn entitlements_keep_their_stored_identity() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let frozen: Value = serde_json::from_str(IDENTITY).unwrap();
    let types = client.resource_types().await;
    for (path, expected) in frozen["entitlements"].as_object().unwrap() {
        let (type_id, id) = path.split_once('/').unwrap();
        let resource = client.get(type_id, id).await.unwrap();
        let listed = client.entitlements(&resource).await;
        let rows: Vec<_> = listed.iter().map(described).collect();
        assert_eq!(Value::Array(rows), *expected, "{path}");
        for entitlement in &listed {
            assert_eq!(entitlement.resource.as_ref(), Some(&resource), "{path}");
            for grantable in &entitlement.grantable_to {
                let complete: Option<&ResourceType> = types.iter().find(|one| one.id == grantable.id);
                assert_eq!(Some(grantable), complete, "{path}");
            }
        }
    }
    assert_eq!(frozen["entitlements"].as_object().unwrap().len(), 5);
}

#[tokio::test]
async fn grants_keep_their_stored_identity() {
    let database = Database::small().await;
    let client = Client::serving(&database, &[]).await;
    let frozen: Value = serde_json::from_str(IDENTITY).unwrap();
    for (path, expected) in frozen["grants"].as_object().unwrap() {
        let (type_id, id) = path.split_once('/').unwrap();
        let resource = client.get(type_id, id).await.unwrap();
        let grants = client.grants(&resource).await;
        let rows: Vec<_> = facts(&grants).iter().map(fact).collect();
        assert_eq!(Value::Array(rows), *expected, "{path}");
        for grant in grants {
            let entitlement = grant.entitlement.unwrap();
            let carried = Entitlement {
                id: entitlement.id.clone(),
                resource: Some(resource.clone()),
                ..Default::default()
            };
            assert_eq!(entitlement, carried, "an entitlement in a grant says its id and resource only");
            let principal = grant.principal.unwrap();
            assert_eq!(principal, Resource { id: principal.id.clone(), ..Default::default() });
        }
    }
    assert_eq!(frozen["grants"].as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn entitlements_are_listed_without_a_check_that_the_resource_exists() {
    let database = Database::empty_schema().await;
    let client = Client::serving(&database, &[]).await;
    let asked = Resource {
        display_name: "Any name".to_owned(),
        description: "kept as it came".to_owned(),
        parent_resource_id: named("org", "o77").id,
        ..named("resource", "r99")
    };
    let listed = client.entitlements(&asked).await;
    let rows: Vec<_> =
        listed.iter().map(|one| (one.id.as_str(), one.slug.as_str(), one.display_name.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("entitlement:r99:read", "use", "Any name Use Access"),
            ("entitlement:r99:write", "edit", "Any name Edit Access"),
            ("entitlement:r99:own", "own", "Any name Own Access"),
        ]
    );
    assert!(listed.iter().all(|one| one.resource.as_ref() == Some(&asked)));
    assert_eq!(client.entitlements(&named("user", "u1")).await, []);
}

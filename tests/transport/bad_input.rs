//! Invalid requests: each error states what was expected, and the server continues to serve.

use std::collections::BTreeSet;

use baton_retool::proto::connector::{
    EntitlementsServiceListEntitlementsRequest, EntitlementsServiceListEntitlementsResponse,
    EntitlementsServiceListStaticEntitlementsRequest, EntitlementsServiceListStaticEntitlementsResponse,
    GrantsServiceListGrantsRequest, GrantsServiceListGrantsResponse, Resource,
    ResourceGetterServiceGetResourceRequest, ResourceGetterServiceGetResourceResponse, ResourceId,
    ResourceTypesServiceListResourceTypesRequest, ResourceTypesServiceListResourceTypesResponse,
    ResourcesServiceListResourcesRequest, ResourcesServiceListResourcesResponse,
};
use prost::Message;
use rand::{RngExt, SeedableRng};
use tonic::{Code, Status};

use crate::support::messages;
use crate::support::postgres::Database;
use crate::support::server::Server;
use crate::support::wire::{Wire, assert_refused, id, resource};

async fn get(wire: &Wire, wanted: ResourceId, parent: Option<ResourceId>) -> Result<Resource, Status> {
    let request = ResourceGetterServiceGetResourceRequest {
        resource_id: Some(wanted),
        parent_resource_id: parent,
        ..Default::default()
    };
    let answer: ResourceGetterServiceGetResourceResponse =
        wire.call("ResourceGetterService/GetResource", &request).await?;
    Ok(answer.resource.unwrap())
}

async fn entitlements(
    wire: &Wire,
    on: Resource,
    page_size: u32,
    page_token: &str,
) -> Result<EntitlementsServiceListEntitlementsResponse, Status> {
    let request = EntitlementsServiceListEntitlementsRequest {
        resource: Some(on),
        page_size,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    wire.call("EntitlementsService/ListEntitlements", &request).await
}

async fn static_entitlements(
    wire: &Wire,
    resource_type: &str,
) -> Result<EntitlementsServiceListStaticEntitlementsResponse, Status> {
    let request = EntitlementsServiceListStaticEntitlementsRequest {
        resource_type_id: resource_type.to_owned(),
        ..Default::default()
    };
    wire.call("EntitlementsService/ListStaticEntitlements", &request).await
}

/// Every call with a resource type refuses an unknown one.
async fn assert_no_such_type(wire: &Wire, unknown: &str, known: &str) {
    let words = [unknown, known];
    let org = Some(id("org", "o1"));
    assert_refused(wire.resources(unknown, org.clone(), 0, "").await, Code::NotFound, &words);
    assert_refused(get(wire, id(unknown, "p1"), org).await, Code::NotFound, &words);
    assert_refused(entitlements(wire, resource(unknown, "p1"), 0, "").await, Code::NotFound, &words);
    assert_refused(static_entitlements(wire, unknown).await, Code::NotFound, &words);
    assert_refused(wire.grants(resource(unknown, "p1"), 0, "").await, Code::NotFound, &words);
}

#[tokio::test]
async fn an_unknown_resource_type_is_not_found_and_the_known_ones_are_named() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for unknown in ["folder", "Page", "users", "organization"] {
        assert_no_such_type(&wire, unknown, "org, user, group, page, resource").await;
    }
}

#[tokio::test]
async fn a_skipped_resource_type_is_not_found() {
    let database = Database::small().await;
    let server = Server::start(&database, &["--skip-pages", "--skip-resources"]);
    let wire = Wire::to(&server).await;
    assert_no_such_type(&wire, "page", "types are: org, user, group").await;
    assert_no_such_type(&wire, "resource", "types are: org, user, group").await;
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
}

#[tokio::test]
async fn accepts_only_ids_with_the_letter_of_their_type_and_a_number() {
    const NO_NUMBERS: &[&str] = &[
        "",
        "+5",
        "-5",
        "05",
        "0",
        "2147483648",
        "9999999999999999999",
        "5 ",
        " 5",
        "5.0",
        "5a",
        "x",
        "٥",
        "1e3",
    ];
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let mut wrong = Vec::new();
    for (kind, letter) in [("org", "o"), ("user", "u"), ("group", "g"), ("page", "p"), ("resource", "r")] {
        wrong.extend(NO_NUMBERS.iter().map(|number| (kind, letter, format!("{letter}{number}"))));
        for foreign in ["z10", "10", "é1", letter.to_uppercase().as_str()] {
            wrong.push((kind, letter, foreign.to_owned()));
        }
        wrong.push((kind, letter, if kind == "org" { "u1".to_owned() } else { "o1".to_owned() }));
    }
    for (kind, letter, given) in wrong {
        let words = [format!("type {kind}"), format!("the letter {letter}"), "1 to 2147483647".to_owned()];
        let words = words.each_ref().map(String::as_str);
        let on = resource(kind, &given);
        assert_refused(get(&wire, id(kind, &given), None).await, Code::InvalidArgument, &words);
        assert_refused(wire.grants(on.clone(), 0, "").await, Code::InvalidArgument, &words);
        assert_refused(entitlements(&wire, on, 0, "").await, Code::InvalidArgument, &words);
        if kind == "org" {
            for listed in ["user", "group", "page", "resource"] {
                let answer = wire.resources(listed, Some(id("org", &given)), 0, "").await;
                assert_refused(answer, Code::InvalidArgument, &words);
                let mut child = resource(listed, &format!("{}1", &listed[..1]));
                child.parent_resource_id = Some(id("org", &given));
                if listed != "group" || !given.is_empty() {
                    assert_refused(wire.grants(child, 0, "").await, Code::InvalidArgument, &words);
                }
            }
        }
    }
    assert_eq!(get(&wire, id("user", "u5"), None).await.unwrap().id, Some(id("user", "u5")));
}

#[tokio::test]
async fn empty_and_overlong_ids_are_refused_by_the_protocol_rules() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let endless = "o".repeat(1025);
    for wrong in ["", &endless] {
        let answer = wire.resources(wrong, None, 0, "").await;
        assert_refused(answer, Code::InvalidArgument, &["resource_type_id", "1 to 1024"]);
    }
    let answer = get(&wire, id("user", &format!("u{}", "1".repeat(1024))), None).await;
    let refused = assert_refused(answer, Code::InvalidArgument, &[]);
    assert!(refused.message().len() < 600, "the id is repeated in full");
    let nothing = GrantsServiceListGrantsRequest::default();
    let answer = wire.call::<GrantsServiceListGrantsResponse>("GrantsService/ListGrants", &nothing).await;
    assert_refused(answer, Code::InvalidArgument, &["resource", "must be set"]);
    let nothing = ResourceGetterServiceGetResourceRequest::default();
    let answer = wire
        .call::<ResourceGetterServiceGetResourceResponse>("ResourceGetterService/GetResource", &nothing)
        .await;
    assert_refused(answer, Code::InvalidArgument, &["resource_id"]);
}

#[tokio::test]
async fn a_page_size_over_250_is_refused_and_names_the_field() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for size in [251, u32::MAX] {
        let words = ["page_size", "250"];
        assert_refused(wire.resources("org", None, size, "").await, Code::InvalidArgument, &words);
        assert_refused(wire.grants(resource("org", "o1"), size, "").await, Code::InvalidArgument, &words);
        let answer = entitlements(&wire, resource("org", "o1"), size, "").await;
        assert_refused(answer, Code::InvalidArgument, &words);
        let request = ResourceTypesServiceListResourceTypesRequest { page_size: size, ..Default::default() };
        let answer = wire
            .call::<ResourceTypesServiceListResourceTypesResponse>(
                "ResourceTypesService/ListResourceTypes",
                &request,
            )
            .await;
        assert_refused(answer, Code::InvalidArgument, &words);
    }
    assert_eq!(wire.resources("user", Some(id("org", "o1")), 250, "").await.unwrap().next_page_token, "");
}

const START_AGAIN: &[&str] = &["page_token", "start the listing again"];

#[tokio::test]
async fn a_forged_or_damaged_page_token_is_refused() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let org = || Some(id("org", "o1"));
    let good = wire.resources("user", org(), 5, "").await.unwrap().next_page_token;
    let mut foreign = vec![
        // Page tokens of the Go connector.
        "250".to_owned(),
        "0".to_owned(),
        "-1".to_owned(),
        r#"{"states":[],"current_state":{"token":"10","type":"group","id":"1"}}"#.to_owned(),
        "bm9uc2Vuc2U".to_owned(),
        "é".to_owned(),
        "A".repeat(1 << 20),
        format!("{good}A"),
        format!("{good}="),
        format!(" {good}"),
        good[..good.len() - 1].to_owned(),
    ];
    for at in 0..good.len() {
        let mut tampered = good.clone();
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        tampered.replace_range(at..=at, other);
        foreign.push(tampered);
    }
    for token in &foreign {
        let answer = wire.resources("user", org(), 5, token).await;
        assert_refused(answer, Code::InvalidArgument, START_AGAIN);
        for (kind, resource_id) in [("org", "o1"), ("group", "g1"), ("page", "p1"), ("resource", "r1")] {
            let answer = wire.grants(resource(kind, resource_id), 5, token).await;
            assert_refused(answer, Code::InvalidArgument, START_AGAIN);
        }
        let answer = entitlements(&wire, resource("org", "o1"), 5, token).await;
        assert_refused(answer, Code::InvalidArgument, START_AGAIN);
    }
    assert_eq!(wire.resources("user", org(), 5, &good).await.unwrap().list.len(), 5);
}

#[tokio::test]
async fn a_page_token_is_valid_only_for_the_listing_that_issued_it() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let filtered = Server::start(&database, &["--skip-disabled-users"]);
    let wire = Wire::to(&server).await;
    let (first, second) = (Some(id("org", "o1")), Some(id("org", "o2")));

    let users = wire.resources("user", first.clone(), 2, "").await.unwrap().next_page_token;
    let members = wire.grants(resource("group", "g1"), 2, "").await.unwrap().next_page_token;
    let rights = wire.grants(resource("org", "o1"), 2, "").await.unwrap().next_page_token;
    let offers = entitlements(&wire, resource("org", "o1"), 2, "").await.unwrap().next_page_token;
    let tokens = BTreeSet::from([&users, &members, &rights, &offers]);
    assert!(tokens.len() == 4 && !tokens.contains(&String::new()), "{tokens:?}");

    let refused = [
        ("another parent", wire.resources("user", second, 2, &users).await.map(drop)),
        ("no parent", wire.resources("user", None, 2, &users).await.map(drop)),
        ("another type", wire.resources("group", first.clone(), 2, &users).await.map(drop)),
        ("another method", wire.grants(resource("org", "o1"), 2, &users).await.map(drop)),
        ("another group", wire.grants(resource("group", "g2"), 2, &members).await.map(drop)),
        ("another kind", wire.grants(resource("page", "p1"), 2, &members).await.map(drop)),
        ("entitlements", entitlements(&wire, resource("org", "o1"), 2, &rights).await.map(drop)),
        ("grants", wire.grants(resource("org", "o1"), 2, &offers).await.map(drop)),
        ("other entitlements", entitlements(&wire, resource("org", "o2"), 2, &offers).await.map(drop)),
    ];
    for (what, answer) in refused {
        let Err(status) = answer else { panic!("{what}: accepted") };
        assert_refused::<()>(Err(status), Code::InvalidArgument, START_AGAIN);
    }
    let other = Wire::to(&filtered).await;
    let answer = other.resources("user", first.clone(), 2, &users).await;
    assert_refused(answer, Code::InvalidArgument, START_AGAIN);
    let answer = other.grants(resource("group", "g1"), 2, &members).await;
    assert_refused(answer, Code::InvalidArgument, START_AGAIN);

    assert_eq!(wire.resources("user", first, 2, &users).await.unwrap().list.len(), 2);
    wire.grants(resource("group", "g1"), 2, &members).await.unwrap();
    entitlements(&wire, resource("org", "o1"), 2, &offers).await.unwrap();
}

#[tokio::test]
async fn a_parent_of_the_wrong_type_is_refused_with_the_right_one() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for kind in ["user", "group", "page", "resource"] {
        for parent in [id("group", "g1"), id("user", "u1"), id("folder", "o1")] {
            let words = [kind, "org", parent.resource_type.as_str()];
            let answer = wire.resources(kind, Some(parent.clone()), 0, "").await;
            assert_refused(answer, Code::InvalidArgument, &words);
            let own = format!("{}1", &kind[..1]);
            let answer = get(&wire, id(kind, &own), Some(parent.clone())).await;
            assert_refused(answer, Code::InvalidArgument, &words);
            let mut on = resource(kind, &own);
            on.parent_resource_id = Some(parent.clone());
            assert_refused(wire.grants(on, 0, "").await, Code::InvalidArgument, &words);
        }
    }
}

#[tokio::test]
async fn a_deleted_resource_has_no_grants_and_is_not_found() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let gone = [("page", "p3"), ("group", "g3"), ("resource", "r3"), ("user", "u3")];
    for (kind, there) in gone {
        get(&wire, id(kind, there), None).await.unwrap_or_else(|status| panic!("{kind} {there}: {status:?}"));
    }
    database
        .execute(
            r#"SET session_replication_role = replica;
               UPDATE pages SET "deletedAt" = now() WHERE id = 3;
               UPDATE groups SET "archivedAt" = now() WHERE id = 3;
               DELETE FROM resources WHERE id = 3;
               DELETE FROM users WHERE id = 3;"#,
        )
        .await;
    for (kind, missing) in gone.into_iter().chain([("page", "p2147483647"), ("org", "o99")]) {
        assert_refused(get(&wire, id(kind, missing), None).await, Code::NotFound, &[missing]);
        let answer = wire.grants(resource(kind, missing), 0, "").await.unwrap();
        let grants = answer.list.into_grants().unwrap();
        assert_eq!((grants.len(), answer.next_page_token.as_str()), (0, ""), "{kind} {missing}");
    }
    for kind in ["user", "group", "page", "resource"] {
        let listed = wire.resources(kind, Some(id("org", "o1")), 0, "").await.unwrap().list;
        let ids: Vec<_> = listed.into_iter().map(|resource| resource.id.unwrap().resource).collect();
        assert!(!ids.is_empty() && !ids.contains(&format!("{}3", &kind[..1])), "{kind}: {ids:?}");
        let vanished = wire.resources(kind, Some(id("org", "o99")), 0, "").await.unwrap();
        assert_eq!((vanished.list.len(), vanished.next_page_token.as_str()), (0, ""), "{kind}");
    }
}

#[tokio::test]
async fn a_resource_is_not_found_under_another_parent() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let own = get(&wire, id("user", "u5"), Some(id("org", "o1"))).await.unwrap();
    assert_eq!(own.parent_resource_id, Some(id("org", "o1")));
    assert_refused(get(&wire, id("user", "u5"), Some(id("org", "o2"))).await, Code::NotFound, &["u5"]);
}

/// Checks that the server still works.
async fn assert_serving(wire: &Wire) {
    assert_eq!(wire.organizations().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_huge_resource_in_a_request_is_refused_or_answered_within_two_mebibytes() {
    const LIMIT: usize = 2 * 1024 * 1024;
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for kind in ["org", "group", "page", "resource"] {
        for size in [1_000, 60_000, 64 * 1024 + 1, 1_500_000] {
            let mut on = resource(kind, &format!("{}1", &kind[..1]));
            on.annotations = vec![prost_types::Any {
                type_url: "type.googleapis.com/example.Unknown".to_owned(),
                value: vec![7; size],
            }];
            let limit = ["resource", "65536"];
            if size > 64 * 1024 {
                let answer = entitlements(&wire, on.clone(), 0, "").await;
                assert_refused(answer, Code::InvalidArgument, &limit);
                assert_refused(wire.grants(on, 0, "").await, Code::InvalidArgument, &limit);
                continue;
            }
            let answer = entitlements(&wire, on.clone(), 0, "").await.unwrap();
            assert!(answer.encoded_len() < LIMIT && !answer.list.is_empty());
            let (mut token, mut grants) = (String::new(), 0);
            loop {
                let answer = wire.grants(on.clone(), 0, &token).await.unwrap();
                assert!(answer.encoded_len() < LIMIT, "{kind} {size}: {}", answer.encoded_len());
                token.clone_from(&answer.next_page_token);
                grants += answer.list.into_grants().unwrap().len();
                if token.is_empty() {
                    break;
                }
            }
            assert!(grants > 0, "{kind}");
        }
    }
    assert_serving(&wire).await;
}

#[tokio::test]
async fn a_request_larger_than_four_mebibytes_is_refused() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let request = ResourcesServiceListResourcesRequest {
        resource_type_id: "org".to_owned(),
        page_token: "A".repeat(5 << 20),
        ..Default::default()
    };
    let answer =
        wire.call::<ResourcesServiceListResourcesResponse>("ResourcesService/ListResources", &request).await;
    assert!(answer.is_err());
    assert_serving(&Wire::to(&server).await).await;
}

#[tokio::test]
async fn undecodable_bytes_are_refused_and_do_not_crash_the_server() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for service in messages::services() {
        for method in service.methods() {
            let path = format!("{}/{}", service.full_name(), method.name());
            // A length beyond the end, a wire type that does not exist, a field without a number.
            for bytes in [vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], vec![0x0f, 0x01], vec![0x00, 0x00]] {
                let answer = wire.raw(&path, bytes).await;
                assert_refused(answer, Code::InvalidArgument, &["cannot decode"]);
            }
            for _ in 0..40 {
                let length = random.random_range(1..200);
                let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
                if let Err(status) = wire.raw(&path, bytes.clone()).await {
                    let crashed = matches!(status.code(), Code::Internal | Code::DataLoss);
                    assert!(!crashed, "{path} {bytes:?}: {status:?}");
                }
            }
        }
    }
    assert_serving(&wire).await;
    let panicked = server.logs().iter().any(|line| line.to_string().contains("panic"));
    assert!(!panicked, "{:?}", server.logs());
}

#[tokio::test]
async fn an_unknown_service_or_method_is_unimplemented() {
    let database = Database::small().await;
    let server = Server::start(&database, &[]);
    let wire = Wire::to(&server).await;
    for path in [
        "c1.connector.v2.SchemaService/GetSchema",
        "c1.connector.v2.ResourcesService/ListEverything",
        "example.Nothing/Nothing",
    ] {
        assert_refused(wire.raw(path, Vec::new()).await, Code::Unimplemented, &[]);
    }
    assert_serving(&wire).await;
}

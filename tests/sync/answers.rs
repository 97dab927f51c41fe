//! Responses that violate the protocol: which end a sync, which rows are left out, and which are stored.

use baton_retool::agent::sync::{Error, Outcome};
use baton_retool::proto::any;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{BatonId, InsertResourceGrants, Resource, ResourceId};

use crate::support::memory::Memory;
use crate::support::rows::{
    annotated, entitlement, grant, group, parent_of, plain, resource, small, sync, user, with_trait,
};
use crate::support::scripted::{Page, Script};

async fn ends(script: &Script) -> String {
    let (outcome, memory) = sync(script).await;
    assert!(memory.finished.is_none());
    assert_eq!(script.count("Cleanup"), 0);
    outcome.unwrap_err().to_string()
}

async fn finishes(script: &Script) -> (Outcome, Memory) {
    let (outcome, memory) = sync(script).await;
    assert!(memory.finished.is_some());
    (outcome.unwrap(), memory)
}

#[tokio::test]
async fn a_resource_without_the_trait_of_its_type_ends_the_sync() {
    for (kind, name) in [
        (Trait::User, "UserTrait"),
        (Trait::Group, "GroupTrait"),
        (Trait::Role, "RoleTrait"),
        (Trait::App, "AppTrait"),
        (Trait::Secret, "SecretTrait"),
    ] {
        let script = Script::new();
        script.types(vec![with_trait("a", kind)]);
        script.resources("a", vec![resource("a", "1")]);
        let error = ends(&script).await;
        assert!(error.contains("a/1") && error.contains(name), "{error}");
    }
    let script = Script::new();
    script.types(vec![with_trait("a", Trait::LicenseProfile)]);
    script.resources("a", vec![resource("a", "1")]);
    assert_eq!(finishes(&script).await.1.resources.len(), 1);
}

#[tokio::test]
async fn a_resource_of_an_unlisted_type_ends_its_listing_with_a_warning() {
    let script = Script::new();
    script.types(vec![plain("a"), plain("b")]);
    script.page("ListResources", "a", "", Page::Resources(vec![resource("a", "1")]), "2");
    let page = Page::Resources(vec![resource("a", "2"), resource("ghost", "1")]);
    script.page("ListResources", "a", "2", page, "3");
    script.resources("b", vec![resource("b", "1")]);
    let (outcome, memory) = finishes(&script).await;
    assert_eq!(outcome.warnings, 1);
    assert_eq!(memory.resources.ids(), ["a/1", "b/1"]);
    assert!(!script.said().contains(&"ListResources a 3".to_owned()));
}

#[tokio::test]
async fn a_resource_of_another_listed_type_is_stored() {
    let script = Script::new();
    script.types(vec![plain("a"), plain("b")]);
    script.resources("a", vec![resource("b", "1")]);
    assert_eq!(finishes(&script).await.1.resources.ids(), ["b/1"]);
}

#[tokio::test]
async fn rows_without_an_id_are_left_out() {
    let script = small();
    script.types(vec![plain(""), with_trait("user", Trait::User), with_trait("group", Trait::Group)]);
    let nameless = Resource { id: None, ..group("g3") };
    script.resources(
        "group",
        vec![group("g1"), annotated(resource("group", ""), &InsertResourceGrants {}), nameless],
    );
    let mut homeless = entitlement(&group("g1"), "homeless");
    homeless.resource = None;
    let mut anonymous = entitlement(&group("g1"), "x");
    anonymous.id = String::new();
    script.entitlements("group/g1", vec![entitlement(&group("g1"), "member"), homeless, anonymous]);
    let (outcome, memory) = finishes(&script).await;
    assert_eq!(memory.types.ids(), ["group", "user"]);
    assert_eq!(memory.resources.ids(), ["group/g1", "user/u1", "user/u2"]);
    assert_eq!(memory.entitlements.ids(), ["group:g1:member"]);
    assert_eq!(outcome.dropped["resource types without an id"], 1);
    assert_eq!(outcome.dropped["resources without a type or an id"], 2);
    assert_eq!(outcome.dropped["entitlements without an id or a resource"], 2);
}

#[tokio::test]
async fn a_resource_with_the_reserved_annotation_ends_the_sync() {
    let claimed = annotated(group("g1"), &BatonId {});
    let script = small();
    script.resources("group", vec![claimed.clone()]);
    assert!(ends(&script).await.contains("BatonID"));

    let script = small();
    script.entitlements("group/g1", vec![entitlement(&claimed, "member")]);
    assert!(ends(&script).await.contains("BatonID"));

    let script = small();
    let rows = vec![grant(&entitlement(&claimed, "member"), &user("u1"))];
    script.page(
        "ListGrants",
        "group/g1",
        "",
        Page::Grants(rows.clone(), vec![any(&InsertResourceGrants {})]),
        "",
    );
    assert!(ends(&script).await.contains("BatonID"));

    // Without InsertResourceGrants, the resource is not stored, so the annotation is allowed.
    script.grants("group/g1", rows);
    finishes(&script).await;
}

#[tokio::test]
async fn the_last_of_two_resources_with_one_id_is_stored() {
    let named = |name: &str| Resource { display_name: name.to_owned(), ..group("g1") };
    let script = small();
    script.resources("group", vec![named("first"), named("second")]);
    assert_eq!(finishes(&script).await.1.resources.get("group/g1").unwrap().display_name, "second");

    script.page("ListResources", "group", "", Page::Resources(vec![named("first")]), "2");
    script.page("ListResources", "group", "2", Page::Resources(vec![named("later")]), "");
    assert_eq!(finishes(&script).await.1.resources.get("group/g1").unwrap().display_name, "later");
}

#[tokio::test]
async fn rows_of_types_that_are_not_synced_are_left_out() {
    let script = small();
    let ghost = resource("ghost", "1");
    let member = entitlement(&group("g1"), "member");
    script.entitlements("group/g1", vec![member.clone(), entitlement(&ghost, "haunt")]);
    script.grants(
        "group/g1",
        vec![
            grant(&member, &user("u1")),
            grant(&member, &ghost),
            grant(&entitlement(&ghost, "haunt"), &user("u1")),
        ],
    );
    let (outcome, memory) = finishes(&script).await;
    assert!(memory.entitlements.get("ghost:1:haunt").is_none());
    assert_eq!(memory.grants.len(), 1 + 2);
    assert_eq!(outcome.dropped["entitlements on resources of types that are not synced"], 1);
    assert_eq!(outcome.dropped["grants on or for resources of types that are not synced"], 2);
}

#[tokio::test]
async fn stores_rows_that_refer_to_missing_rows() {
    let script = small();
    let missing = entitlement(&group("missing"), "member");
    let mut bare = grant(&missing, &user("nobody"));
    bare.id = "bare".to_owned();
    bare.entitlement = None;
    let mut held_by_nobody = grant(&missing, &user("nobody"));
    held_by_nobody.id = "nobody".to_owned();
    held_by_nobody.principal = None;
    let mut typeless = grant(&missing, &user("nobody"));
    typeless.id = "typeless".to_owned();
    typeless.principal = Some(Resource { id: Some(ResourceId::default()), ..Default::default() });
    script.entitlements("group/g1", vec![missing.clone()]);
    script.grants("group/g1", vec![grant(&missing, &user("nobody")), bare, held_by_nobody, typeless]);
    let (_, memory) = finishes(&script).await;
    assert!(memory.entitlements.get("group:missing:member").is_some());
    for id in ["group:missing:member:user:nobody", "bare", "nobody", "typeless"] {
        assert!(memory.grants.get(id).is_some(), "{id}");
    }
}

#[tokio::test]
async fn a_duplicate_resource_type_is_stored_once_and_its_templates_are_listed_twice() {
    let script = Script::new();
    script.types(vec![plain("a"), plain("a")]);
    let (_, memory) = finishes(&script).await;
    assert_eq!(memory.types.len(), 1);
    assert_eq!((script.count("ListResources"), script.count("ListStaticEntitlements")), (1, 2));
}

#[tokio::test]
async fn a_repeated_page_token_ends_the_sync() {
    let page = || Page::Grants(vec![], vec![]);
    let script = small();
    script.page("ListGrants", "group/g1", "", page(), "a");
    script.page("ListGrants", "group/g1", "a", page(), "a");
    let error = ends(&script).await;
    assert_eq!(
        error,
        "ListGrants of group/g1 does not end: the connector returned a page token that it had returned before; this is a bug in the connector"
    );
    assert!(script.count("ListGrants") < 10);

    let script = small();
    for (token, next) in [("", "a"), ("a", "b"), ("b", "c"), ("c", "a")] {
        script.page("ListResources", "group", token, Page::Resources(vec![]), next);
    }
    let (outcome, _) = sync(&script).await;
    assert!(matches!(outcome.unwrap_err(), Error::TokenRepeats { method: "ListResources", .. }));
    assert!(script.count("ListResources") < 20);

    let script = small();
    script.page("ListResourceTypes", "", "", Page::Types(vec![plain("a")]), "x");
    script.page("ListResourceTypes", "", "x", Page::Types(vec![plain("b")]), "x");
    assert!(ends(&script).await.contains("ListResourceTypes"));
}

#[tokio::test]
async fn a_response_over_four_mebibytes_ends_the_sync() {
    let script = small();
    let mut huge = group("g1");
    huge.description = "x".repeat(4 * 1024 * 1024);
    script.resources("group", vec![huge]);
    let error = ends(&script).await;
    assert!(error.contains("ListResources of type group failed with OutOfRange"), "{error}");
}

#[tokio::test]
async fn an_invalid_child_announcement_ends_the_sync() {
    let script = small();
    let mut odd = parent_of("user", group("g1"));
    odd.annotations.last_mut().unwrap().value = vec![0xFF];
    script.resources("group", vec![odd]);
    assert!(ends(&script).await.contains("ChildResourceType"));
}

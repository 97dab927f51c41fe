//! Syncs of single resources.

use baton_retool::agent::sync::{Error, Kind, Options, Outcome, Target};
use baton_retool::proto::any;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{SkipGrants, TypeScopedEntitlements, TypeScopedGrants};
use tonic::Status;

use crate::support::memory::{Memory, SYNC_ID};
use crate::support::rows::{
    annotated, entitlement, grant, group, parent_of, plain, resource, small, sync_with, user, with_trait,
};
use crate::support::scripted::Script;

async fn target(script: &Script, ids: &[&str]) -> (Result<Outcome, Error>, Memory) {
    let targets = ids.iter().map(|id| Target::parse(id).unwrap()).collect();
    sync_with(script, Options { targets, ..Default::default() }, Memory::default()).await
}

#[tokio::test]
async fn reads_only_the_resource_and_its_children_entitlements_and_grants() {
    let script = small();
    let with_seats = parent_of("seat", group("g1"));
    script.types(vec![with_trait("user", Trait::User), with_trait("group", Trait::Group), plain("seat")]);
    script.resource("group/g1<org/o1", with_seats.clone());
    script.resources("seat<group/g1", vec![resource("seat", "s1")]);
    let (outcome, memory) = target(&script, &["bid:r:org/o1/group/g1", "bid:r:org/o1/group/g1"]).await;
    assert_eq!(outcome.unwrap().kind, Kind::Partial);
    assert_eq!(
        script.said(),
        [
            "Validate",
            "ListResourceTypes",
            "GetResource group/g1<org/o1",
            "ListResources seat<group/g1",
            "ListEntitlements group/g1",
            "ListGrants group/g1",
            "Cleanup"
        ]
    );
    assert!(script.calls().iter().skip(1).all(|call| call.sync_id == SYNC_ID));
    assert_eq!(memory.resources.ids(), ["group/g1", "seat/s1"]);
    assert_eq!(memory.grants.ids(), ["group:g1:member:user:u1"]);
    assert!(!memory.collected && !memory.expanded);
    assert!(memory.finished.unwrap().contains(r#""should_fetch_related_resources":true"#));
}

#[tokio::test]
async fn skips_a_resource_that_cannot_be_fetched() {
    for status in [Status::not_found("gone"), Status::unimplemented("never heard of it")] {
        let script = small();
        script.fail("GetResource", "group/g1", "", vec![status]);
        let (outcome, memory) = target(&script, &["bid:r:group/g1"]).await;
        outcome.unwrap();
        assert_eq!(memory.resources.len(), 0);
        assert!(memory.finished.is_some());
    }
    let script = small();
    script.fail("GetResource", "group/g1", "", vec![Status::internal("broken")]);
    assert!(target(&script, &["bid:r:group/g1"]).await.0.is_err());
}

#[tokio::test]
async fn fetches_each_resource_of_a_grant_once() {
    let script = small();
    script.resource("group/g1", group("g1"));
    script.resource("group/far", group("far"));
    let far = entitlement(&group("far"), "member");
    let gone = entitlement(&group("gone"), "member");
    script.grants(
        "group/g1",
        vec![grant(&far, &user("u1")), grant(&far, &user("u2")), grant(&gone, &user("u1"))],
    );
    let (outcome, memory) = target(&script, &["bid:r:group/g1"]).await;
    outcome.unwrap();
    let fetched: Vec<_> = script.said().into_iter().filter(|call| call.starts_with("GetResource")).collect();
    assert_eq!(fetched, ["GetResource group/g1", "GetResource group/far", "GetResource group/gone"]);
    assert_eq!(memory.resources.ids(), ["group/far", "group/g1"]);
    assert_eq!(memory.grants.len(), 3);
}

#[tokio::test]
async fn honors_skips_and_does_not_list_type_scoped_types() {
    let script = small();
    script.resource("group/g1", annotated(group("g1"), &SkipGrants {}));
    target(&script, &["bid:r:group/g1"]).await.0.unwrap();
    assert_eq!((script.count("ListEntitlements"), script.count("ListGrants")), (1, 0));

    let script = small();
    let mut groups = with_trait("group", Trait::Group);
    groups.annotations = vec![any(&TypeScopedEntitlements {}), any(&TypeScopedGrants {})];
    script.types(vec![groups]);
    script.resource("group/g1", group("g1"));
    target(&script, &["bid:r:group/g1"]).await.0.unwrap();
    assert_eq!((script.count("ListEntitlements"), script.count("ListGrants")), (0, 0));

    let script = small();
    script.resource("group/g1", group("g1"));
    let targets = vec![Target::parse("bid:r:group/g1").unwrap()];
    let options = Options { targets, skip_grants: true, ..Default::default() };
    sync_with(&script, options, Memory::default()).await.0.unwrap();
    assert_eq!((script.count("ListEntitlements"), script.count("ListGrants")), (1, 0));
}

#[tokio::test]
async fn rows_of_types_that_are_not_synced_are_stored() {
    let script = small();
    script.resource("group/g1", group("g1"));
    let ghost = resource("ghost", "1");
    script.grants("group/g1", vec![grant(&entitlement(&group("g1"), "member"), &ghost)]);
    let (outcome, memory) = target(&script, &["bid:r:group/g1"]).await;
    assert!(outcome.unwrap().dropped.is_empty());
    assert!(memory.grants.get("group:g1:member:ghost:1").is_some());
}

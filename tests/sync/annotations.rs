//! Annotations that change the calls and the stored rows of a sync.

use baton_retool::agent::sync::{Error, Options, Workers};
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{
    EnqueuePageTokens, Entitlement, EntitlementExclusionGroup, GrantExpandable, InsertResourceGrants,
    SkipEntitlements, SkipEntitlementsAndGrants, SkipGrants, TypeScopedEntitlements, TypeScopedGrants,
};
use baton_retool::proto::{any, find_annotation};
use prost_types::Any;

use crate::support::memory::Memory;
use crate::support::rows::{
    annotated, entitlement, grant, group, id, marked, plain, resource, small, sync, sync_with, user,
    with_trait,
};
use crate::support::scripted::{Page, Script};

/// How often entitlements and grants of the only resource, `a/1`, are listed.
async fn listings(on_type: Vec<Any>, on_resource: Vec<Any>) -> (usize, usize, usize) {
    let script = Script::new();
    let mut kind = plain("a");
    kind.annotations = on_type;
    script.types(vec![kind]);
    let mut one = resource("a", "1");
    one.annotations = on_resource;
    script.resources("a", vec![one]);
    let (outcome, _) = sync(&script).await;
    outcome.unwrap();
    (script.count("ListEntitlements"), script.count("ListGrants"), script.count("ListStaticEntitlements"))
}

#[tokio::test]
async fn honors_skip_annotations_on_types_and_resources() {
    let both = any(&SkipEntitlementsAndGrants {});
    let entitlements = any(&SkipEntitlements {});
    let grants = any(&SkipGrants {});
    assert_eq!(listings(vec![], vec![]).await, (1, 1, 1));
    assert_eq!(listings(vec![both.clone()], vec![]).await, (0, 0, 1));
    assert_eq!(listings(vec![], vec![both]).await, (0, 0, 1));
    assert_eq!(listings(vec![entitlements.clone()], vec![]).await, (0, 1, 1));
    assert_eq!(listings(vec![], vec![entitlements]).await, (0, 1, 1));
    assert_eq!(listings(vec![], vec![grants.clone()]).await, (1, 0, 1));
    // Agents ignore this annotation on a type.
    assert_eq!(listings(vec![grants], vec![]).await, (1, 1, 1));
}

#[tokio::test]
async fn a_template_adds_an_entitlement_to_every_resource_of_its_type() {
    let script = Script::new();
    script.types(vec![plain("a"), marked("b", &SkipEntitlements {})]);
    script.resources("a", vec![resource("a", "1")]);
    script.resources("b", vec![resource("b", "1"), resource("b", "2")]);
    let group = EntitlementExclusionGroup {
        exclusion_group_id: "role".to_owned(),
        scope_to_resource: true,
        ..Default::default()
    };
    let template = Entitlement {
        id: "ignored".to_owned(),
        slug: "own".to_owned(),
        display_name: "Owner".to_owned(),
        grantable_to: vec![plain("user")],
        purpose: 3,
        annotations: vec![any(&SkipGrants {}), any(&group)],
        ..Default::default()
    };
    let bare = Entitlement { slug: "use".to_owned(), ..Default::default() };
    script.page("ListStaticEntitlements", "b", "", Page::Entitlements(vec![template, bare], vec![]), "");
    let (outcome, memory) =
        sync_with(&script, Options::default(), Memory { page: 1, ..Default::default() }).await;
    outcome.unwrap();
    assert_eq!(memory.entitlements.ids(), ["b:1:own", "b:1:use", "b:2:own", "b:2:use"]);
    let own = memory.entitlements.get("b:2:own").unwrap();
    assert_eq!((own.display_name.as_str(), own.description.as_str()), ("Owner", "2 described"));
    assert_eq!((own.slug.as_str(), own.purpose, own.grantable_to.len()), ("own", 3, 1));
    assert_eq!(own.resource, Some(resource("b", "2")));
    assert_eq!(own.annotations[0], any(&SkipGrants {}));
    let named = find_annotation::<EntitlementExclusionGroup>(&own.annotations).unwrap().unwrap();
    assert_eq!(named.exclusion_group_id, "role-2");
    assert_eq!(memory.entitlements.get("b:1:use").unwrap().display_name, "1 by name");
    // The entitlements of b come from the template and are not listed; its grants are listed.
    assert_eq!((script.count("ListEntitlements"), script.count("ListGrants")), (1, 3));
}

#[tokio::test]
async fn a_listed_entitlement_replaces_the_one_from_a_template() {
    let script = small();
    let template =
        Entitlement { slug: "member".to_owned(), display_name: "Old".to_owned(), ..Default::default() };
    script.page("ListStaticEntitlements", "group", "", Page::Entitlements(vec![template], vec![]), "");
    script.entitlements("group/g2", vec![]);
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(memory.entitlements.get("group:g1:member").unwrap().display_name, "");
    assert_eq!(memory.entitlements.get("group:g2:member").unwrap().display_name, "Old");
}

/// A type whose rows are listed for the whole type: two groups, each with `m` granted to `u1`.
fn scoped() -> Script {
    let script = small();
    let mut groups = with_trait("group", Trait::Group);
    groups.annotations = vec![any(&TypeScopedEntitlements {}), any(&TypeScopedGrants {})];
    script.types(vec![with_trait("user", Trait::User), groups]);
    let members: Vec<Entitlement> = ["g1", "g2"].map(|name| entitlement(&group(name), "m")).into();
    let grants = members.iter().map(|member| grant(member, &user("u1"))).collect();
    script.entitlements("group/group", members);
    script.grants("group/group", grants);
    script
}

#[tokio::test]
async fn lists_a_type_scoped_type_with_one_call() {
    let script = scoped();
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    let of_groups: Vec<_> = script.calls().into_iter().filter(|call| call.target == "group/group").collect();
    assert_eq!(
        of_groups.iter().map(|call| call.method).collect::<Vec<_>>(),
        ["ListEntitlements", "ListGrants"]
    );
    assert_eq!(of_groups[0].annotations, [any(&TypeScopedEntitlements {})]);
    assert_eq!(of_groups[1].annotations, [any(&TypeScopedGrants {})]);
    let whole_type = of_groups[1].resource.clone().unwrap();
    assert_eq!((whole_type.id, whole_type.display_name.as_str()), (Some(id("group", "group")), ""));
    assert!(!script.said().iter().any(|call| call.ends_with("group/g1")), "{:?}", script.said());
    assert_eq!(script.count("ListGrants"), 1 + 2, "users are listed one by one");
    assert_eq!(memory.entitlements.ids(), ["group:g1:m", "group:g2:m"]);
    assert_eq!(memory.grants.ids(), ["group:g1:m:user:u1", "group:g2:m:user:u1"]);
}

fn enqueue(tokens: &[&str]) -> Any {
    any(&EnqueuePageTokens {
        page_tokens: tokens.iter().map(|&token| token.to_owned()).collect(),
        ..Default::default()
    })
}

#[tokio::test]
async fn follows_each_cursor_once_in_addition_to_the_next_page() {
    for workers in [1, 4] {
        let script = scoped();
        let own = entitlement(&group("g1"), "x");
        let held = |name: &str| Page::Grants(vec![grant(&own, &user(name))], vec![]);
        let page =
            |name: &str, tokens: &[&str]| Page::Grants(vec![grant(&own, &user(name))], vec![enqueue(tokens)]);
        script.page("ListGrants", "group/group", "", page("p1", &["a", "b"]), "next");
        script.page("ListGrants", "group/group", "next", held("p2"), "");
        // Cursors that request each other come to an end.
        script.page("ListGrants", "group/group", "a", page("p3", &["b"]), "a2");
        script.page("ListGrants", "group/group", "a2", held("p4"), "");
        script.page("ListGrants", "group/group", "b", page("p5", &["a"]), "");
        let options = Options { workers: Workers::Count(workers), ..Default::default() };
        let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
        outcome.unwrap();
        let mut tokens: Vec<String> = script
            .calls()
            .into_iter()
            .filter(|call| call.method == "ListGrants" && call.target == "group/group")
            .map(|call| {
                assert_eq!(call.annotations, [any(&TypeScopedGrants {})]);
                call.token
            })
            .collect();
        tokens.sort();
        assert_eq!(tokens, ["", "a", "a2", "b", "next"]);
        assert_eq!(memory.grants.len(), 5);
    }
}

#[tokio::test]
async fn requests_for_cursors_carry_their_resource() {
    let script = small();
    let member = entitlement(&group("g1"), "member");
    let page = Page::Entitlements(vec![member.clone()], vec![enqueue(&["more"])]);
    script.page("ListEntitlements", "group/g1", "", page, "");
    let more = entitlement(&group("g1"), "more");
    script.page("ListEntitlements", "group/g1", "more", Page::Entitlements(vec![more], vec![]), "");
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    let spawned = script.calls().into_iter().find(|call| call.token == "more").unwrap();
    assert_eq!(spawned.resource, Some(group("g1")));
    assert!(memory.entitlements.get("group:g1:more").is_some());
}

#[tokio::test]
async fn cursors_that_break_the_rules_end_the_sync() {
    for (annotations, next, problem) in [
        (vec![enqueue(&["a", "a"])], "", "twice"),
        (vec![enqueue(&["a", ""])], "", "empty"),
        (vec![enqueue(&["a", "b"])], "b", "next page token"),
        (vec![enqueue(&["a"]), enqueue(&["b"])], "", "more than once"),
        (vec![Any { value: vec![0xFF], ..enqueue(&[]) }], "", "cannot be read"),
    ] {
        let script = small();
        script.page("ListGrants", "group/g1", "", Page::Grants(vec![], annotations), next);
        let (outcome, memory) = sync(&script).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
        assert!(memory.finished.is_none());
    }
}

#[tokio::test]
async fn stores_the_resources_of_grants_and_marks_the_grants() {
    let script = small();
    let mut found = group("g9");
    found.display_name = "found".to_owned();
    let member = entitlement(&found, "member");
    let known =
        Entitlement { resource: Some(resource("group", "g1")), ..entitlement(&group("g1"), "member") };
    let page = Page::Grants(
        vec![grant(&member, &user("u1")), grant(&known, &user("u1"))],
        vec![any(&InsertResourceGrants {})],
    );
    script.page("ListGrants", "group/g1", "", page, "");
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(memory.resources.get("group/g9").unwrap().display_name, "found");
    assert_eq!(memory.resources.get("group/g1"), Some(&resource("group", "g1")), "it is replaced");
    for held in ["group:g9:member:user:u1", "group:g1:member:user:u1"] {
        assert_eq!(memory.grants.get(held).unwrap().annotations, [any(&InsertResourceGrants {})]);
    }
    assert!(memory.grants.get("group:g2:member:user:u1").unwrap().annotations.is_empty());
    // The entitlements phase is over, and the grants phase is already planned.
    assert!(!script.said().iter().any(|call| call.contains("g9")));
}

#[tokio::test]
async fn expands_grants_only_to_synced_types() {
    let script = small();
    let member = entitlement(&group("g2"), "member");
    let expanding = |name: &str, types: &[&str]| {
        let mut one = grant(&entitlement(&group("g1"), name), &group("g2"));
        one.annotations.push(any(&GrantExpandable {
            entitlement_ids: vec![member.id.clone()],
            resource_type_ids: types.iter().map(|&one| one.to_owned()).collect(),
            shallow: true,
        }));
        one
    };
    script.grants(
        "group/g1",
        vec![expanding("all", &[]), expanding("some", &["user", "robot"]), expanding("none", &["robot"])],
    );
    let (outcome, memory) = sync(&script).await;
    let outcome = outcome.unwrap();
    assert!(memory.collected && memory.expanded);
    assert!(memory.finished.as_ref().unwrap().contains(r#""needs_expansion":true"#));
    let types = |name: &str| {
        let stored = memory.grants.get(&format!("group:g1:{name}:group:g2")).unwrap();
        find_annotation::<GrantExpandable>(&stored.annotations).map(|found| found.unwrap().resource_type_ids)
    };
    assert_eq!(types("all"), Some(vec![]));
    assert_eq!(types("some"), Some(vec!["user".to_owned()]));
    assert_eq!(types("none"), None);
    assert_eq!(outcome.dropped["types of expansions that are not synced"], 2);
    assert_eq!(outcome.dropped["expansions to types that are not synced"], 1);

    let options = Options { skip_expansion: true, ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    outcome.unwrap();
    assert!(memory.collected && !memory.expanded);
    assert!(!memory.finished.unwrap().contains("needs_expansion"));
}

#[tokio::test]
async fn a_contradictory_exclusion_group_ends_the_sync() {
    let named = |group_id: &str, on: &str, slug: &str, is_default: bool| {
        let mut one = entitlement(&group(on), slug);
        one.annotations.push(any(&EntitlementExclusionGroup {
            exclusion_group_id: group_id.to_owned(),
            is_default,
            ..Default::default()
        }));
        one
    };
    let fine = vec![named("x", "g1", "a", true), named("x", "g1", "b", false), named("y", "g1", "c", true)];
    let mut of_user = named("x", "g1", "b", false);
    of_user.resource = Some(user("u1"));
    let many = |count: usize| (0..count).map(|number| named("x", "g1", &number.to_string(), false)).collect();
    for (rows, problem) in [
        (fine, None),
        (many(50), None),
        (many(51), Some("more than 50")),
        (vec![named("x", "g1", "a", true), named("x", "g1", "b", true)], Some("defaults")),
        (vec![named("x", "g1", "a", false), of_user], Some("resource types")),
    ] {
        let script = small();
        script.entitlements("group/g1", rows);
        let (outcome, memory) = sync(&script).await;
        match problem {
            None => assert!(outcome.is_ok() && memory.finished.is_some()),
            Some(problem) => {
                let error = outcome.unwrap_err().for_caller();
                assert!(error.contains(problem), "{error}");
                assert!(memory.finished.is_none());
                assert_eq!(script.count("Cleanup"), 0);
            }
        }
    }
}

#[tokio::test]
async fn unknown_annotations_are_kept() {
    let script = small();
    let unknown =
        Any { type_url: "type.googleapis.com/c1.connector.v2.FromTheFuture".to_owned(), value: vec![1, 2] };
    let mut odd = annotated(group("g1"), &SkipGrants {});
    odd.annotations.push(unknown.clone());
    script.resources("group", vec![odd.clone()]);
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(memory.resources.get("group/g1"), Some(&odd));
}

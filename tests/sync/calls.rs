//! The calls of a sync: which, how often, in which order, and with what content.

use baton_retool::agent::sync::{Kind, Options, Workers};
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{AppTrait, SkipEntitlementsAndGrants};

use crate::support::memory::{Memory, SYNC_ID};
use crate::support::rows::{
    annotated, entitlement, grant, group, marked, parent_of, plain, resource, small, sync, sync_with, user,
    with_trait,
};
use crate::support::scripted::{Page, Script};

#[tokio::test]
async fn a_sync_reads_everything_phase_by_phase() {
    let script = small();
    let (outcome, memory) = sync(&script).await;
    let outcome = outcome.unwrap();
    let said = script.said();
    let phases: Vec<&str> = said.iter().map(|call| call.split(' ').next().unwrap()).collect();
    let mut changes = phases.clone();
    changes.dedup();
    assert_eq!(
        changes,
        [
            "Validate",
            "ListResourceTypes",
            "ListResources",
            "ListResourceTypes",
            "ListStaticEntitlements",
            "ListEntitlements",
            "ListGrants",
            "Cleanup"
        ]
    );
    assert_eq!(said.len(), 1 + 2 + 2 + 2 + 4 + 4 + 1);
    assert_eq!(outcome.calls, said.len() as u64);
    assert_eq!(outcome.kind, Kind::Full);
    assert_eq!(memory.types.ids(), ["group", "user"]);
    assert_eq!(memory.resources.ids(), ["group/g1", "group/g2", "user/u1", "user/u2"]);
    assert_eq!(memory.entitlements.ids(), ["group:g1:member", "group:g2:member"]);
    assert_eq!(
        memory.grants.ids(),
        ["group:g1:member:user:u1", "group:g2:member:user:u1", "group:g2:member:user:u2"]
    );
    let counts: Vec<(&str, u64, u64, u64)> = outcome
        .types
        .iter()
        .map(|(id, counts)| (id.as_str(), counts.resources, counts.entitlements, counts.grants))
        .collect();
    assert_eq!(counts, [("user", 2, 0, 0), ("group", 2, 2, 3)]);
    assert!(memory.collected && !memory.expanded);
    // The actions are init, five phases and the expansion, two listings of resources, two of templates, four
    // of entitlements and four of grants.
    assert_eq!(
        memory.finished.unwrap(),
        r#"{"current_action_id":19,"completed_actions_count":19,"version":1}"#
    );
}

#[tokio::test]
async fn every_page_is_a_call_and_the_connector_chooses_its_size() {
    let script = Script::new();
    let types = |names: &[&str]| Page::Types(names.iter().map(|&name| plain(name)).collect());
    script.page("ListResourceTypes", "", "", types(&["a"]), "t2");
    script.page("ListResourceTypes", "", "t2", types(&[]), "t3");
    script.page("ListResourceTypes", "", "t3", types(&["b"]), "");
    let of = |kind: &str, names: &[&str]| {
        Page::Resources(names.iter().map(|&name| resource(kind, name)).collect())
    };
    script.page("ListResources", "a", "", of("a", &["1"]), "r2");
    script.page("ListResources", "a", "r2", of("a", &["2"]), "");
    let own = entitlement(&resource("a", "1"), "own");
    script.page("ListStaticEntitlements", "b", "", Page::Entitlements(vec![], vec![]), "s2");
    script.page("ListEntitlements", "a/1", "", Page::Entitlements(vec![], vec![]), "e2");
    script.page("ListEntitlements", "a/1", "e2", Page::Entitlements(vec![own.clone()], vec![]), "");
    script.page("ListGrants", "a/1", "", Page::Grants(vec![grant(&own, &resource("b", "9"))], vec![]), "g2");
    script.page("ListGrants", "a/1", "g2", Page::Grants(vec![], vec![]), "g3");
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(script.count("ListResourceTypes"), 2 * 3);
    assert_eq!(script.count("ListResources"), 2 + 1);
    assert_eq!(script.count("ListStaticEntitlements"), 1 + 2);
    assert_eq!(script.count("ListEntitlements"), 2 + 1);
    assert_eq!(script.count("ListGrants"), 3 + 1);
    assert_eq!((memory.resources.len(), memory.entitlements.len(), memory.grants.len()), (2, 1, 1));
    assert!(script.calls().iter().all(|call| call.page_size == 0));
    let pages: Vec<String> =
        script.said().into_iter().filter(|call| call.starts_with("ListGrants a/1")).collect();
    assert_eq!(pages, ["ListGrants a/1", "ListGrants a/1 g2", "ListGrants a/1 g3"]);
}

#[tokio::test]
async fn lists_children_below_each_parent_at_any_depth() {
    let script = Script::new();
    script.types(vec![plain("org"), plain("team"), plain("seat")]);
    let org = parent_of("seat", parent_of("team", resource("org", "o1")));
    script.resources("org", vec![org]);
    script.resources("team<org/o1", vec![parent_of("seat", resource("team", "t1"))]);
    script.resources("seat<team/t1", vec![resource("seat", "s1")]);
    // The type of a child need not be listed, as long as there is no such child.
    script.resources("seat<org/o1", vec![parent_of("unlisted", resource("seat", "s2"))]);
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    let mut listed: Vec<String> =
        script.said().into_iter().filter(|call| call.starts_with("ListResources ")).collect();
    listed.sort();
    assert_eq!(
        listed,
        [
            "ListResources org",
            "ListResources seat",
            "ListResources seat<org/o1",
            "ListResources seat<team/t1",
            "ListResources team",
            "ListResources team<org/o1",
            "ListResources unlisted<seat/s2"
        ]
    );
    assert_eq!(memory.resources.ids(), ["org/o1", "seat/s1", "seat/s2", "team/t1"]);
}

#[tokio::test]
async fn lists_the_children_of_a_repeated_parent_once() {
    let script = Script::new();
    script.types(vec![plain("org"), plain("team")]);
    let org = || parent_of("team", resource("org", "o1"));
    script.page("ListResources", "org", "", Page::Resources(vec![org(), org()]), "2");
    script.page("ListResources", "org", "2", Page::Resources(vec![org()]), "");
    let (outcome, _) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(script.said().iter().filter(|call| *call == "ListResources team<org/o1").count(), 1);
}

#[tokio::test]
async fn requests_carry_the_stored_resource_and_the_id_of_the_sync() {
    let script = Script::new();
    script.types(vec![with_trait("app", Trait::App)]);
    let app = annotated(resource("app", "a1"), &AppTrait::default());
    script.resources("app", vec![app.clone()]);
    let (outcome, _) = sync(&script).await;
    assert_eq!(outcome.unwrap().sync_id, SYNC_ID);
    for call in script.calls() {
        let expected = if call.method == "Validate" { "" } else { SYNC_ID };
        assert_eq!(call.sync_id, expected, "{call:?}");
        if matches!(call.method, "ListEntitlements" | "ListGrants") {
            assert_eq!(call.resource.as_ref(), Some(&app));
            assert!(call.annotations.is_empty());
        }
    }
}

#[tokio::test]
async fn an_old_or_unreleased_connector_does_not_receive_the_sync_id() {
    for version in ["", "v0.4.2", "v0.25.1-0.2026", "latest"] {
        let script = small();
        script.sdk_version(version);
        let (outcome, _) = sync(&script).await;
        outcome.unwrap();
        assert!(script.calls().iter().all(|call| call.sync_id.is_empty()), "{version}");
    }
}

#[tokio::test]
async fn an_empty_connector_takes_four_calls() {
    let script = Script::new();
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(script.said(), ["Validate", "ListResourceTypes", "ListResourceTypes", "Cleanup"]);
    assert!(memory.finished.is_some());
}

#[tokio::test]
async fn stores_only_selected_types_but_lists_templates_of_all() {
    let script = Script::new();
    script.types(vec![plain("org"), plain("team"), plain("user")]);
    script.resources("org", vec![parent_of("user", parent_of("team", resource("org", "o1")))]);
    script.resources("team<org/o1", vec![resource("team", "t1")]);
    let wanted = |types: &[&str]| Options {
        resource_types: types.iter().map(|&one| one.to_owned()).collect(),
        ..Default::default()
    };
    let (outcome, memory) = sync_with(&script, wanted(&["org", "team"]), Memory::default()).await;
    outcome.unwrap();
    assert_eq!(memory.types.ids(), ["org", "team"]);
    assert_eq!(memory.resources.ids(), ["org/o1", "team/t1"]);
    assert_eq!(script.count("ListStaticEntitlements"), 3);
    assert_eq!(script.count("ListResources"), 3, "no users below the org: {:?}", script.said());

    let (outcome, memory) = sync_with(&script, wanted(&["org", "nope"]), Memory::default()).await;
    assert_eq!(
        outcome.unwrap_err().for_caller(),
        r#"the connector has no resource type "nope"; it has org, team, user"#
    );
    assert!(memory.finished.is_none());
}

#[tokio::test]
async fn makes_no_calls_for_skipped_phases() {
    let script = small();
    let options = Options { skip_entitlements_and_grants: true, ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    assert_eq!(outcome.unwrap().kind, Kind::ResourcesOnly);
    assert_eq!(script.said().len(), 1 + 1 + 2 + 1);
    assert!(!memory.collected);
    assert_eq!(
        memory.finished.unwrap(),
        r#"{"current_action_id":5,"should_skip_entitlements_and_grants":true,"completed_actions_count":5,"version":1}"#
    );

    let script = small();
    let options = Options { skip_grants: true, ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    assert_eq!(outcome.unwrap().kind, Kind::Full);
    assert_eq!((script.count("ListEntitlements"), script.count("ListGrants")), (4, 0));
    assert!(memory.collected);
    assert!(memory.finished.unwrap().contains(r#""should_skip_grants":true"#));

    let script = small();
    let options = Options { skip_full_sync: true, ..Default::default() };
    let (outcome, memory) = sync_with(&script, options, Memory::default()).await;
    outcome.unwrap();
    assert_eq!(script.said(), ["Validate"]);
    assert_eq!(memory.finished.as_deref(), Some(""));
}

#[tokio::test]
async fn runs_as_many_parallel_calls_as_there_are_workers() {
    for (workers, together) in [(Workers::Count(4), 4), (Workers::One, 1), (Workers::Count(0), 1)] {
        let script = Script::new();
        script.types(vec![plain("a")]);
        script.resources("a", (0..8).map(|number| resource("a", &number.to_string())).collect());
        script.only_together("ListGrants", together);
        let options = Options { workers, ..Default::default() };
        let (outcome, _) = sync_with(&script, options, Memory::default()).await;
        outcome.unwrap();
        assert_eq!(script.count("ListGrants"), 8);
    }
}

#[tokio::test]
async fn rows_are_the_same_with_many_workers() {
    let script = Script::new();
    script.types(vec![plain("a"), marked("user", &SkipEntitlementsAndGrants {})]);
    script.resources("user", vec![user("u1")]);
    script.resources("a", (0..500).map(|number| resource("a", &number.to_string())).collect());
    for number in 0..500 {
        let own = entitlement(&resource("a", &number.to_string()), "own");
        script.entitlements(&format!("a/{number}"), vec![own.clone()]);
        script.grants(&format!("a/{number}"), vec![grant(&own, &user("u1"))]);
    }
    let mut found = Vec::new();
    for workers in [1, 8] {
        script.forget();
        let options = Options { workers: Workers::Count(workers), ..Default::default() };
        let memory = Memory { page: 120, ..Default::default() };
        let (outcome, memory) = sync_with(&script, options, memory).await;
        outcome.unwrap();
        let mut said = script.said();
        said.sort();
        found.push((
            said,
            memory.resources.len(),
            memory.entitlements.ids().join(" "),
            memory.grants.ids().join(" "),
            memory.finished,
        ));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0].1, 501);
}

#[tokio::test]
async fn groups_can_be_principals() {
    let script = small();
    let own = entitlement(&group("g1"), "own");
    script.grants("group/g1", vec![grant(&own, &group("g2"))]);
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert!(memory.grants.get("group:g1:own:group:g2").is_some());
}

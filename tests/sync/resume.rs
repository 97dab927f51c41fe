//! Checkpoints, resuming from one, and stopping.

use std::time::Duration;

use baton_retool::agent::sync::{Error, Options, Source, Syncer, Workers};
use baton_retool::proto::any;
use baton_retool::proto::connector::resource_type::Trait;
use baton_retool::proto::connector::{EnqueuePageTokens, GrantExpandable, TypeScopedGrants};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::memory::Memory;
use crate::support::rows::{entitlement, grant, group, small, sync, sync_with, user, with_trait};
use crate::support::scripted::{Page, Script};

/// Runs a sync that is stopped during this call.
async fn stopped_at(script: &Script, method: &'static str, target: &str, token: &str) -> Memory {
    stopped_with(Options::default(), script, method, target, token).await
}

async fn stopped_with(
    options: Options,
    script: &Script,
    method: &'static str,
    target: &str,
    token: &str,
) -> Memory {
    let stop = CancellationToken::new();
    let trigger = stop.clone();
    script.before(method, target, token, move || trigger.cancel());
    // The call does not return before the sync sees the cancellation.
    let syncer = Syncer::new(script.channel().await, options).stopped_by(stop);
    let (outcome, memory) = syncer.run(Memory::default()).await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
    let memory = memory.unwrap();
    assert!(memory.finished.is_none());
    memory
}

/// Resumes the sync that another run left unfinished.
async fn resumed(script: &Script, left: Memory) -> Memory {
    let token = left.checkpoints.last().unwrap().clone();
    let memory = Memory { unfinished: Some(token), checkpoints: Vec::new(), ..left };
    let (outcome, memory) = sync_with(script, Options::default(), memory).await;
    assert!(outcome.unwrap().resumed);
    memory
}

#[tokio::test]
async fn the_first_checkpoint_lists_the_phases_and_precedes_the_first_listing() {
    let script = small();
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    assert_eq!(memory.checkpoints.len(), 1, "the sync is short");
    let first = memory.checkpoint();
    let operations: Vec<&str> = first["action_order"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| first["actions_map"][id.as_str().unwrap()]["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        [
            "grant-expansion",
            "list-grants",
            "list-entitlements",
            "list-static-entitlements",
            "list-resources",
            "list-resource-types"
        ]
    );
    assert_eq!(first["version"], 1);
}

#[tokio::test(start_paused = true)]
async fn writes_a_checkpoint_at_most_every_ten_seconds() {
    let script = small();
    // Each page takes seven seconds, because of the failures before it.
    for page in 0..10 {
        let token = if page == 0 { String::new() } else { page.to_string() };
        let next = if page == 9 { String::new() } else { (page + 1).to_string() };
        script.page("ListGrants", "group/g1", &token, Page::Grants(vec![], vec![]), &next);
        let failures = if page == 0 { 4 } else { 1 };
        script.fail("ListGrants", "group/g1", &token, vec![tonic::Status::unavailable("slow"); failures]);
    }
    let begun = tokio::time::Instant::now();
    let (outcome, memory) = sync(&script).await;
    outcome.unwrap();
    let most = 1 + begun.elapsed().as_secs() / 10;
    let count = memory.checkpoints.len() as u64;
    assert!(count > 3 && count <= most, "{count} checkpoints in {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_stopped_sync_resumes_with_the_interrupted_page() {
    let script = small();
    let page = || Page::Grants(vec![], vec![]);
    script.page("ListGrants", "group/g2", "", page(), "second");
    script.page("ListGrants", "group/g2", "second", page(), "third");
    script.page("ListGrants", "group/g2", "third", page(), "");
    let left = stopped_at(&script, "ListGrants", "group/g2", "second").await;
    let checkpoint = left.checkpoint();
    let pending: Vec<_> = checkpoint["actions_map"].as_object().unwrap().values().cloned().collect();
    let second = pending.iter().find(|action| action["page_token"] == json!("second")).unwrap();
    assert_eq!(second["operation"], "list-grants");
    assert_eq!((&second["resource_type_id"], &second["resource_id"]), (&json!("group"), &json!("g2")));

    let before = script.said();
    script.forget();
    let memory = resumed(&script, left).await;
    assert!(memory.finished.is_some());
    let after = script.said();
    assert_eq!(after.first().map(String::as_str), Some("Validate"));
    assert!(after.contains(&"ListGrants group/g2 second".to_owned()));
    let again: Vec<_> = after
        .iter()
        .filter(|call| {
            before.contains(call) && !["Validate", "ListGrants group/g2 second"].contains(&call.as_str())
        })
        .collect();
    assert!(again.is_empty(), "{again:?}");
    assert_eq!(memory.grants.ids(), ["group:g1:member:user:u1"]);
}

#[tokio::test]
async fn a_sync_stopped_at_any_call_resumes_to_the_same_result() {
    let script = small();
    let (outcome, whole) = sync(&script).await;
    let calls = outcome.unwrap().calls;
    for stop_at in 2..calls {
        let script = small();
        let call = {
            sync(&script).await.0.unwrap();
            let call = script.calls()[usize::try_from(stop_at - 1).unwrap()].clone();
            script.forget();
            call
        };
        let left = stopped_at(&script, call.method, &call.target, &call.token).await;
        let memory = resumed(&script, left).await;
        assert_eq!(memory.resources.ids(), whole.resources.ids(), "{call:?}");
        assert_eq!(memory.entitlements.ids(), whole.entitlements.ids(), "{call:?}");
        assert_eq!(memory.grants.ids(), whole.grants.ids(), "{call:?}");
        assert!(memory.finished.is_some());
    }
}

#[tokio::test]
async fn a_sync_can_be_stopped_during_the_expansion() {
    let script = small();
    let mut nested = grant(&entitlement(&group("g1"), "member"), &group("g2"));
    let expandable =
        GrantExpandable { entitlement_ids: vec!["group:g2:member".to_owned()], ..Default::default() };
    nested.annotations.push(any(&expandable));
    script.page("ListGrants", "group/g1", "", Page::Grants(vec![nested], vec![]), "");
    let stop = CancellationToken::new();
    let memory = Memory { cancelled_in_expansion: Some(stop.clone()), ..Memory::default() };
    let syncer = Syncer::new(script.channel().await, Options::default()).stopped_by(stop);
    let (outcome, left) = syncer.run(memory).await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
    let left = left.unwrap();
    assert!(left.collected && !left.expanded && left.finished.is_none());

    script.forget();
    let memory = resumed(&script, Memory { cancelled_in_expansion: None, ..left }).await;
    assert!(memory.expanded && memory.finished.is_some());
    assert!(!script.said().iter().any(|call| call.starts_with("List")), "{:?}", script.said());
}

#[tokio::test]
async fn pending_cursors_and_types_raise_the_checkpoint_version() {
    let script = small();
    let mut groups = with_trait("group", Trait::Group);
    groups.annotations = vec![any(&TypeScopedGrants {})];
    script.types(vec![with_trait("user", Trait::User), groups]);
    let cursors = any(&EnqueuePageTokens { page_tokens: vec!["a".to_owned()], ..Default::default() });
    script.page("ListGrants", "group/group", "", Page::Grants(vec![], vec![cursors]), "");
    let left = stopped_at(&script, "ListGrants", "group/group", "a").await;
    let checkpoint = left.checkpoint();
    assert_eq!(checkpoint["version"], 2);
    let pending = checkpoint["actions_map"].as_object().unwrap();
    let cursor = pending.values().find(|action| action["page_token"] == "a").unwrap();
    assert_eq!((&cursor["spawned"], &cursor["type_scoped"]), (&json!(true), &json!(true)));
    script.forget();
    let memory = resumed(&script, left).await;
    assert_eq!(script.said().iter().filter(|call| call.as_str() == "ListGrants group/group a").count(), 1);
    assert!(memory.finished.unwrap().ends_with(r#""version":1}"#));
}

#[tokio::test]
async fn resumes_a_sync_of_a_go_agent_in_its_phase() {
    let script = small();
    // Collected up to the grants of one group, with keys that only the other agent uses.
    let token = r#"{"actions_map":{"0000000001":{"id":"0000000001","operation":"grant-expansion"},"0000000030":{"id":"0000000030","operation":"list-grants","resource_type_id":"group","resource_id":"g2"}},"action_order":["0000000001","0000000030"],"current_action_id":40,"completed_actions_count":30,"exclusion_group_counts":{"x":1},"version":1}"#;
    let mut memory = Memory::resuming(token);
    {
        use baton_retool::agent::sync::Storage;
        let types = [with_trait("user", Trait::User), with_trait("group", Trait::Group)];
        memory.put_resource_types(&types).unwrap();
        memory.put_resources(&[group("g1"), group("g2"), user("u1"), user("u2")]).unwrap();
    }
    let (outcome, memory) = sync_with(&script, Options::default(), memory).await;
    outcome.unwrap();
    assert_eq!(script.said(), ["Validate", "ListGrants group/g2", "Cleanup"]);
    assert_eq!(memory.grants.len(), 2);
    assert_eq!(
        memory.finished.unwrap(),
        r#"{"current_action_id":40,"completed_actions_count":32,"version":1}"#
    );
}

#[tokio::test]
async fn only_a_sync_with_the_same_scope_is_resumed() {
    let scope = |source: &str, types: &[&str]| Options {
        source: Source::of(source),
        resource_types: types.iter().map(|&id| id.to_owned()).collect(),
        ..Options::default()
    };
    for (first, second, is_resumed) in [
        (scope("a", &["user", "group"]), scope("a", &["group", "user", "group"]), true),
        (scope("a", &[]), Options { workers: Workers::Count(3), ..scope("a", &[]) }, true),
        (scope("a", &[]), scope("b", &[]), false),
        (scope("a", &["user"]), scope("a", &[]), false),
        (scope("a", &[]), scope("a", &["user"]), false),
    ] {
        let script = small();
        let left = stopped_with(first.clone(), &script, "ListResources", "user", "").await;
        assert!(left.checkpoint()["baton_retool_scope"].is_string());
        script.forget();
        let memory = Memory { unfinished: left.checkpoints.last().cloned(), ..left };
        let (outcome, memory) = sync_with(&script, second.clone(), memory).await;
        assert_eq!(outcome.unwrap().resumed, is_resumed, "{first:?} {second:?}");
        let first_call = if is_resumed { "ListResources user" } else { "ListResourceTypes" };
        assert_eq!(script.said()[1], first_call, "{first:?} {second:?}");
        // A complete sync is not resumed, so its checkpoint has no scope.
        assert!(!memory.finished.unwrap().contains("scope"));
    }
}

#[tokio::test]
async fn an_invalid_checkpoint_restarts_the_collection() {
    for token in ["", "nonsense", r#"{"version":7}"#] {
        let script = small();
        let (outcome, memory) = sync_with(&script, Options::default(), Memory::resuming(token)).await;
        let outcome = outcome.unwrap();
        assert!(outcome.resumed);
        assert_eq!(outcome.calls, 16);
        assert_eq!(memory.grants.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_the_retry_of_a_call() {
    let script = small();
    script.fail("ListGrants", "group/g1", "", vec![tonic::Status::unavailable("down"); 1_000]);
    let stop = CancellationToken::new();
    let trigger = stop.clone();
    let syncer = Syncer::new(script.channel().await, Options::default()).stopped_by(stop);
    let calls = script.clone();
    // Waits grow to a minute each; the clock of the test skips them.
    let stopped = tokio::spawn(async move {
        while calls.said().iter().filter(|call| *call == "ListGrants group/g1").count() < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        trigger.cancel();
        tokio::time::Instant::now()
    });
    let (outcome, memory) = syncer.run(Memory::default()).await;
    assert!(matches!(outcome, Err(Error::Stopped)), "{outcome:?}");
    assert!(stopped.await.unwrap().elapsed() < Duration::from_secs(1));
    assert!(memory.unwrap().checkpoints.len() >= 2);
}

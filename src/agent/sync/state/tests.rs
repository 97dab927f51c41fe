#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

/// The checkpoint that an agent of the Go SDK writes after it has planned the phases.
const PLANNED: &str = r#"{"actions_map":{"0000000001":{"id":"0000000001","operation":"grant-expansion"},"0000000002":{"id":"0000000002","operation":"list-grants"},"0000000003":{"id":"0000000003","operation":"list-entitlements"},"0000000004":{"id":"0000000004","operation":"list-static-entitlements"},"0000000005":{"id":"0000000005","operation":"list-resources"},"0000000006":{"id":"0000000006","operation":"list-resource-types"}},"action_order":["0000000001","0000000002","0000000003","0000000004","0000000005","0000000006"],"current_action_id":7,"completed_actions_count":1,"version":1}"#;

#[test]
fn a_checkpoint_of_the_go_agent_round_trips_unchanged() {
    let state = State::parse(PLANNED);
    assert_eq!(state.text().unwrap(), PLANNED);
    assert_eq!(state.top().unwrap().1.operation, Operation::ListResourceTypes);
    assert_eq!(state.completed(), 1);
}

#[test]
fn planning_the_phases_writes_the_checkpoint_of_the_go_agent() {
    let mut state = State::new();
    let init = state.top().unwrap().0;
    state.finish(init);
    for operation in [
        Operation::GrantExpansion,
        Operation::ListGrants,
        Operation::ListEntitlements,
        Operation::ListStaticEntitlements,
        Operation::ListResources,
        Operation::ListResourceTypes,
    ] {
        state.push(Action::new(operation));
    }
    assert_eq!(state.text().unwrap(), PLANNED);
}

#[test]
fn a_finished_sync_keeps_only_its_counters() {
    let mut state = State::new();
    while let Some((id, _)) = state.top() {
        state.finish(id);
    }
    state.needs_expansion = true;
    assert_eq!(
        state.text().unwrap(),
        r#"{"current_action_id":1,"needs_expansion":true,"completed_actions_count":1,"version":1}"#
    );
}

#[test]
fn actions_unknown_to_old_agents_raise_the_version() {
    for mark in [
        |action: &mut Action| action.spawned = true,
        |action: &mut Action| action.type_scoped = true,
        |action: &mut Action| action.type_scoped_planned = true,
    ] {
        let mut state = State::new();
        let mut action = Action::of_type(Operation::ListGrants, "group");
        mark(&mut action);
        let id = state.push(action);
        let text = state.text().unwrap();
        assert!(text.ends_with(r#","version":2}"#), "{text}");
        assert_eq!(State::parse(&text).text().unwrap(), text);
        state.finish(id);
        assert!(state.text().unwrap().ends_with(r#","version":1}"#));
    }
}

#[test]
fn keeps_known_foreign_keys_and_drops_the_rest() {
    let text = r#"{"current_action_id":3,"completed_actions_count":3,"entitlement_graph":{"nodes":[1]},"exclusion_group_counts":{"g":1},"ingest_quality":{"reason_flags":32},"version":1}"#;
    let state = State::parse(text);
    assert_eq!(state.top().unwrap().1.operation, Operation::Init, "a finished sync that is run again begins");
    assert_eq!(
        state.text().unwrap(),
        r#"{"actions_map":{"0000000003":{"id":"0000000003","operation":"init"}},"action_order":["0000000003"],"current_action_id":4,"completed_actions_count":3,"ingest_quality":{"reason_flags":32},"version":1}"#
    );
}

#[test]
fn an_invalid_checkpoint_starts_over() {
    for text in [
        "",
        "nonsense",
        "{}",
        r#"{"current_action_id":1,"version":3}"#,
        r#"{"actions":[],"current_action":{"operation":"list-grants"}}"#,
        // An unknown operation, an order without its action, an unsorted order, a number above the next id.
        r#"{"actions_map":{"0000000001":{"id":"0000000001","operation":"sing"}},"action_order":["0000000001"],"current_action_id":2,"version":1}"#,
        r#"{"action_order":["0000000001"],"current_action_id":2,"version":1}"#,
        r#"{"actions_map":{"0000000001":{"operation":"init"},"0000000002":{"operation":"init"}},"action_order":["0000000002","0000000001"],"current_action_id":3,"version":1}"#,
        r#"{"actions_map":{"0000000007":{"operation":"init"}},"action_order":["0000000007"],"current_action_id":2,"version":1}"#,
    ] {
        assert_eq!(State::parse(text), State::new(), "{text}");
    }
}

#[test]
fn actions_that_page_through_rows_restart_at_the_first_row() {
    for (operation, of, kept) in [
        ("grant-expansion", "", ""),
        ("list-grants", "", ""),
        ("list-resources", "", ""),
        ("list-grants", r#""resource_type_id":"group","resource_id":"g1","#, "501"),
        ("list-resource-types", "", "501"),
    ] {
        let text = format!(
            r#"{{"actions_map":{{"0000000001":{{"id":"0000000001","operation":"{operation}",{of}"page_token":"501"}}}},"action_order":["0000000001"],"current_action_id":2,"version":1}}"#
        );
        assert_eq!(State::parse(&text).top().unwrap().1.page_token, kept, "{operation}");
    }
}

#[test]
fn a_batch_holds_the_topmost_actions_with_the_same_operation() {
    let mut state = State::new();
    state.push(Action::new(Operation::ListGrants));
    for number in 0..150 {
        state.push(Action::of_type(Operation::ListResources, format!("t{number}")));
    }
    let batch = state.batch();
    assert_eq!(batch.len(), BATCH);
    assert_eq!(state.action(batch[0]).unwrap().resource_type_id, "t149");
    for id in batch {
        state.finish(id);
    }
    assert_eq!(state.batch().len(), 50);
}

#[test]
fn an_action_stays_on_the_stack_until_its_last_page() {
    let mut state = State::new();
    let id = state.push(Action::of_type(Operation::ListGrants, "group"));
    state.advance(id, "next".to_owned());
    assert_eq!(state.action(id).unwrap().page_token, "next");
    state.advance(id, String::new());
    assert!(state.action(id).is_none());
    assert_eq!(state.completed(), 1);
}

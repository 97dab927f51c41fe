//! The pending work of a sync: a stack of actions, and the JSON text that stores it in a file.
//!
//! The agents of the Go SDK use the same text: they can resume a sync that this agent left unfinished, and
//! vice versa. Actions are numbered in the order of their creation, and the highest number is the top of the
//! stack.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::agent::sync::scope::ScopeId;
use crate::agent::sync::subject::Subject;

/// Version of a text that every agent supports.
const PLAIN: u64 = 1;

/// Version of a text with type-scoped or spawned actions. Agents that do not support these actions start
/// over.
const TYPE_SCOPED: u64 = 2;

/// How many actions are taken from the stack at a time.
const BATCH: usize = 100;

/// Keys of the text that are preserved for the agent that wrote them.
const KEPT: [&str; 5] =
    ["step_durations_ms", "connector_call_stats", "session_store_stats", "ingest_quality", "compaction"];

/// The operation of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Plans the phases.
    Init,
    /// Lists the resource types.
    ListResourceTypes,
    /// Lists resources of one type, at the root or below one parent; without a type, plans that for every
    /// type.
    ListResources,
    /// Lists entitlements of one resource or one type; without either, plans that for every resource.
    ListEntitlements,
    /// Lists grants of one resource or one type; without either, plans that for every resource.
    ListGrants,
    /// Copies users and groups from an external file and matches grants with them.
    ListExternalResources,
    /// Adds the grants that derive from others.
    GrantExpansion,
    /// Fetches one resource and plans its children, entitlements and grants.
    TargetedResourceSync,
    /// Lists entitlement templates of one type; without a type, plans that for every type.
    ListStaticEntitlements,
}

/// A unit of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Action {
    /// Its number in the text; [`State::text`] writes it.
    #[serde(default)]
    pub(crate) id: String,
    /// The operation to perform.
    pub(crate) operation: Operation,
    /// The page at which to continue; empty at the start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) page_token: String,
    /// The resource type of the action; empty if it plans for all types.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) resource_type_id: String,
    /// The resource of the action; empty if it concerns a type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) resource_id: String,
    /// The type of the parent resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) parent_resource_type_id: String,
    /// The id of the parent resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) parent_resource_id: String,
    /// The response of another action created it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) spawned: bool,
    /// It lists for a whole type instead of one resource.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) type_scoped: bool,
    /// It has already planned the actions for whole types.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) type_scoped_planned: bool,
}

/// The number of an action.
pub(crate) type ActionId = u64;

/// The stack and the flags that control a sync.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct State {
    actions: BTreeMap<ActionId, Action>,
    next_id: ActionId,
    completed: u64,
    /// An expandable grant was stored.
    pub(crate) needs_expansion: bool,
    /// A grant that refers to principals of an external file was stored.
    pub(crate) has_external_resource_grants: bool,
    /// Resources of grants that are not stored are fetched.
    pub(crate) should_fetch_related_resources: bool,
    /// Neither entitlements nor grants are listed.
    pub(crate) should_skip_entitlements_and_grants: bool,
    /// No grants are listed.
    pub(crate) should_skip_grants: bool,
    /// What the sync reads; `None` if another agent wrote the text.
    pub(crate) scope: Option<ScopeId>,
    kept: Map<String, Value>,
}

/// The text as it is written. The order of the fields is part of the format.
#[derive(Serialize, Deserialize)]
struct Text {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    actions_map: BTreeMap<String, Action>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    action_order: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    current_action_id: u64,
    #[serde(default, skip_serializing_if = "is_false")]
    needs_expansion: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    has_external_resource_grants: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    should_fetch_related_resources: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    should_skip_entitlements_and_grants: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    should_skip_grants: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    completed_actions_count: u64,
    /// Agents of the Go SDK ignore this field.
    #[serde(rename = "baton_retool_scope", default, skip_serializing_if = "Option::is_none")]
    scope: Option<ScopeId>,
    #[serde(flatten)]
    kept: Map<String, Value>,
    #[serde(default)]
    version: u64,
}

impl Operation {
    /// The name in the text and the logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ListResourceTypes => "list-resource-types",
            Self::ListResources => "list-resources",
            Self::ListEntitlements => "list-entitlements",
            Self::ListGrants => "list-grants",
            Self::ListExternalResources => "list-external-resources",
            Self::GrantExpansion => "grant-expansion",
            Self::TargetedResourceSync => "targeted-resource-sync",
            Self::ListStaticEntitlements => "list-static-entitlements",
        }
    }
}

impl Action {
    /// Creates an action without a type or a resource.
    pub(crate) fn new(operation: Operation) -> Self {
        Self {
            id: String::new(),
            operation,
            page_token: String::new(),
            resource_type_id: String::new(),
            resource_id: String::new(),
            parent_resource_type_id: String::new(),
            parent_resource_id: String::new(),
            spawned: false,
            type_scoped: false,
            type_scoped_planned: false,
        }
    }

    /// Creates an action for one resource type.
    pub(crate) fn of_type(operation: Operation, resource_type_id: impl Into<String>) -> Self {
        Self { resource_type_id: resource_type_id.into(), ..Self::new(operation) }
    }

    /// Whether it plans other actions of its operation.
    pub(crate) fn plans(&self) -> bool {
        self.resource_type_id.is_empty() && self.resource_id.is_empty()
    }

    /// A description of the subject of the action, for messages.
    pub(crate) fn target(&self) -> Subject {
        let of = match (self.resource_type_id.as_str(), self.resource_id.as_str()) {
            ("", _) => Subject::from("all types"),
            (of, "") => Subject::of_type(of),
            (of, id) => Subject::resource(of, id),
        };
        if self.parent_resource_id.is_empty() {
            return of;
        }
        of.below(&Subject::resource(&self.parent_resource_type_id, &self.parent_resource_id))
    }
}

impl State {
    /// Creates the state of a sync that has not begun.
    pub(crate) fn new() -> Self {
        let mut state = Self::default();
        state.push(Action::new(Operation::Init));
        state
    }

    /// Parses a text. An empty or invalid text, or one of an unsupported version, gives a sync that has not
    /// begun: its stored rows are kept and collected again.
    pub(crate) fn parse(text: &str) -> Self {
        let mut state = Self::read(text).unwrap_or_else(|| {
            if !text.is_empty() {
                tracing::warn!("cannot read the checkpoint of the unfinished sync; its collection restarts");
            }
            Self::new()
        });
        if state.actions.is_empty() {
            state.push(Action::new(Operation::Init));
        }
        state
    }

    fn read(text: &str) -> Option<Self> {
        let text: Text = serde_json::from_str(text).ok()?;
        if !matches!(text.version, PLAIN | TYPE_SCOPED) || text.action_order.len() != text.actions_map.len() {
            return None;
        }
        let mut actions = BTreeMap::new();
        let mut last = None;
        for id in &text.action_order {
            let number: ActionId = id.parse().ok()?;
            if last.is_some_and(|last| last >= number) || number >= text.current_action_id {
                return None;
            }
            last = Some(number);
            let mut action = text.actions_map.get(id)?.clone();
            let pages_through_rows = match action.operation {
                Operation::ListResources | Operation::ListEntitlements | Operation::ListGrants => {
                    action.plans()
                }
                Operation::GrantExpansion => true,
                _ => false,
            };
            if pages_through_rows {
                // Row numbers change when a file is opened again.
                action.page_token.clear();
            }
            actions.insert(number, action);
        }
        let mut kept = text.kept;
        kept.retain(|key, _| KEPT.contains(&key.as_str()));
        Some(Self {
            actions,
            next_id: text.current_action_id,
            completed: text.completed_actions_count,
            needs_expansion: text.needs_expansion,
            has_external_resource_grants: text.has_external_resource_grants,
            should_fetch_related_resources: text.should_fetch_related_resources,
            should_skip_entitlements_and_grants: text.should_skip_entitlements_and_grants,
            should_skip_grants: text.should_skip_grants,
            scope: text.scope,
            kept,
        })
    }

    /// The text to store in a file.
    pub(crate) fn text(&self) -> Result<String, serde_json::Error> {
        let special = |action: &Action| action.type_scoped || action.spawned || action.type_scoped_planned;
        let version = if self.actions.values().any(special) { TYPE_SCOPED } else { PLAIN };
        let mut actions_map = BTreeMap::new();
        for (&id, action) in &self.actions {
            let id = written(id);
            let mut action = action.clone();
            action.id.clone_from(&id);
            actions_map.insert(id, action);
        }
        serde_json::to_string(&Text {
            actions_map,
            action_order: self.actions.keys().copied().map(written).collect(),
            current_action_id: self.next_id,
            needs_expansion: self.needs_expansion,
            has_external_resource_grants: self.has_external_resource_grants,
            should_fetch_related_resources: self.should_fetch_related_resources,
            should_skip_entitlements_and_grants: self.should_skip_entitlements_and_grants,
            should_skip_grants: self.should_skip_grants,
            completed_actions_count: self.completed,
            scope: self.scope.clone(),
            kept: self.kept.clone(),
            version,
        })
    }

    /// The next action; `None` if all are done.
    pub(crate) fn top(&self) -> Option<(ActionId, &Action)> {
        self.actions.last_key_value().map(|(&id, action)| (id, action))
    }

    /// The topmost actions with the same operation, the topmost first, up to the batch size.
    pub(crate) fn batch(&self) -> Vec<ActionId> {
        let Some((_, top)) = self.top() else { return Vec::new() };
        let same = self.actions.iter().rev().take_while(|(_, action)| action.operation == top.operation);
        same.take(BATCH).map(|(&id, _)| id).collect()
    }

    /// An action that is not done yet.
    pub(crate) fn action(&self, id: ActionId) -> Option<&Action> {
        self.actions.get(&id)
    }

    /// Every action that is not done yet.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Action> {
        self.actions.values()
    }

    /// How many actions are done.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Pushes an action onto the stack.
    pub(crate) fn push(&mut self, action: Action) -> ActionId {
        let id = self.next_id;
        self.next_id += 1;
        self.actions.insert(id, action);
        id
    }

    /// Removes a finished action.
    pub(crate) fn finish(&mut self, id: ActionId) {
        if self.actions.remove(&id).is_some() {
            self.completed += 1;
        }
    }

    /// Advances an action to its next page, or removes it if there is none.
    pub(crate) fn advance(&mut self, id: ActionId, next_page_token: String) {
        if next_page_token.is_empty() {
            return self.finish(id);
        }
        if let Some(action) = self.actions.get_mut(&id) {
            action.page_token = next_page_token;
        }
    }

    /// Records that a planning action has planned the actions for whole types.
    pub(crate) fn planned_type_scoped(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(&id) {
            action.type_scoped_planned = true;
        }
    }
}

fn written(id: ActionId) -> String {
    format!("{id:010}")
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests;

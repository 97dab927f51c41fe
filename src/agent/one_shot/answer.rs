//! The result of a one-shot operation.

use prost::Name;
use prost_types::value::Kind;
use prost_types::{Any, Struct};
use serde_json::{Map, Value};

use crate::agent::one_shot::error::OneShotError;
use crate::proto::json;

/// The result of a one-shot change or query.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The operation: `grant`, `create_account`, ...
    pub operation: &'static str,
    /// Whether the operation changed anything.
    pub outcome: Outcome,
    /// The subject of the operation: names and ids.
    pub about: Vec<(&'static str, String)>,
    /// The connector's response, in protobuf's JSON.
    pub response: Value,
}

/// Whether an operation changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It made the change.
    Changed,
    /// The requested state already existed.
    Unchanged,
    /// It only described the change, with this text.
    DryRun(String),
    /// It was a query.
    Read,
}

impl Outcome {
    /// The name of the outcome.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::DryRun(_) => "dry_run",
            Self::Read => "read",
        }
    }
}

impl Answer {
    pub(super) fn new<M: Name>(
        operation: &'static str,
        outcome: Outcome,
        about: Vec<(&'static str, String)>,
        response: &M,
    ) -> Result<Self, OneShotError> {
        Ok(Self { operation, outcome, about, response: json(response)? })
    }

    /// The result as one JSON object, for machines.
    pub(crate) fn as_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("operation".to_owned(), self.operation.into());
        object.insert("outcome".to_owned(), self.outcome.word().into());
        if let Outcome::DryRun(would) = &self.outcome {
            object.insert("would".to_owned(), would.as_str().into());
        }
        object.extend(self.about.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())));
        object.insert("response".to_owned(), self.response.clone());
        Value::Object(object)
    }
}

/// The change that a dry run describes; `None` if the response is not from a dry run. An annotation with a
/// struct marks a dry run.
pub(super) fn dry_run(annotations: &[Any]) -> Option<String> {
    structs(annotations).find(is_dry_run).map(|details| text_of(&details, "would"))
}

/// Whether an annotation reports that no change was needed.
pub(super) fn is_unchanged(annotations: &[Any]) -> bool {
    structs(annotations).any(|details| is_true(&details, "unchanged"))
}

/// The access that a principal still has after a revoke, according to an annotation.
pub(super) fn access_remains(annotations: &[Any]) -> Option<String> {
    let key = "access_remains";
    structs(annotations)
        .find(|details| details.fields.contains_key(key))
        .map(|details| text_of(&details, key))
}

/// The annotations that are structs.
fn structs(annotations: &[Any]) -> impl Iterator<Item = Struct> {
    annotations.iter().filter_map(|annotation| {
        let is_struct = annotation.type_url.rsplit('/').next() == Some("google.protobuf.Struct");
        is_struct.then(|| prost::Message::decode(annotation.value.as_slice()).ok()).flatten()
    })
}

/// Whether a struct marks a dry run.
pub(super) fn is_dry_run(details: &Struct) -> bool {
    is_true(details, "dry_run")
}

fn is_true(details: &Struct, key: &str) -> bool {
    matches!(details.fields.get(key).and_then(|value| value.kind.as_ref()), Some(Kind::BoolValue(true)))
}

/// A text in a struct; empty if it is missing.
pub(super) fn text_of(details: &Struct, key: &str) -> String {
    match details.fields.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

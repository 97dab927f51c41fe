//! What a sync reads. A run resumes only an unfinished sync that reads the same.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::agent::sync::options::Options;
use crate::agent::sync::source::checksum;

/// A checksum of everything that decides which rows a sync stores. It goes into the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ScopeId(String);

/// The part of a checkpoint that has the scope.
#[derive(Deserialize)]
struct Text {
    #[serde(rename = "baton_retool_scope")]
    scope: Option<ScopeId>,
}

impl ScopeId {
    /// The scope of a sync with these options, and with these resource types of the external file. Options that only the
    /// last phase reads do not count.
    pub(crate) fn of(options: &Options, external_types: &BTreeSet<String>) -> Self {
        let mut types = options.resource_types.clone();
        types.sort();
        types.dedup();
        let external = options.external.as_ref().map(|external| [&external.entitlement_id]);
        let scope = json!([options.source.checksum(), types, options.skip_grants, external, external_types]);
        Self(checksum(&scope.to_string()))
    }

    /// Whether a sync with this checkpoint can be resumed. Agents of the Go SDK record no scope, and neither does a
    /// sync that has no checkpoint yet; they are resumed, as the Go SDK does.
    pub(crate) fn accepts(&self, checkpoint: &str) -> bool {
        let recorded = serde_json::from_str(checkpoint).ok().and_then(|text: Text| text.scope);
        recorded.is_none_or(|recorded| recorded == *self)
    }
}

#[cfg(test)]
mod tests {
    use crate::agent::sync::options::External;

    use super::*;

    fn with_external(file: &str, entitlement_id: Option<&str>) -> Options {
        let entitlement_id = entitlement_id.map(str::to_owned);
        Options {
            external: Some(External { file: file.into(), temp_dir: None, entitlement_id }),
            ..Options::default()
        }
    }

    #[test]
    fn an_external_file_its_filter_and_its_types_are_part_of_the_scope_and_its_path_is_not() {
        let types = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
        let of = |options: &Options| ScopeId::of(options, &types(&["user"]));
        let scope = of(&with_external("a.c1z", None));
        assert_ne!(scope, of(&Options::default()));
        assert_ne!(scope, of(&with_external("a.c1z", Some("group:g1:member"))));
        assert_ne!(scope, ScopeId::of(&with_external("a.c1z", None), &types(&[])));
        assert_eq!(scope, of(&with_external("b.c1z", None)));
    }

    #[test]
    fn accepts_checkpoints_without_a_scope() {
        let scope = ScopeId::of(&Options::default(), &BTreeSet::new());
        for checkpoint in ["", "nonsense", r#"{"version":1}"#, r#"{"baton_retool_scope":null,"version":1}"#] {
            assert!(scope.accepts(checkpoint), "{checkpoint}");
        }
        assert!(!scope.accepts(r#"{"baton_retool_scope":"00","version":1}"#));
    }
}

//! What a sync reads. A run resumes only an unfinished sync that reads the same.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::agent::sync::options::Options;

/// Identifies what a connector reads: the database, and the settings that decide which rows it returns. It keeps only a
/// checksum, because the settings of a database can contain secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source(String);

impl Source {
    /// The source with this description.
    pub fn of(description: &str) -> Self {
        Self(checksum(description))
    }
}

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
    /// The scope of a sync with these options. Options that only the last phase reads do not count.
    pub(crate) fn of(options: &Options) -> Self {
        let mut types = options.resource_types.clone();
        types.sort();
        types.dedup();
        let external = options.external.as_ref().map(|external| [&external.entitlement_id]);
        let scope = json!([options.source.0, types, options.skip_grants, external]);
        Self(checksum(&scope.to_string()))
    }

    /// Whether a sync with this checkpoint can be resumed. Agents of the Go SDK record no scope, and neither does a
    /// sync that has no checkpoint yet; they are resumed, as the Go SDK does.
    pub(crate) fn accepts(&self, checkpoint: &str) -> bool {
        let recorded = serde_json::from_str(checkpoint).ok().and_then(|text: Text| text.scope);
        recorded.is_none_or(|recorded| recorded == *self)
    }
}

fn checksum(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
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
    fn an_external_file_and_its_filter_are_part_of_the_scope_and_its_path_is_not() {
        let scope = ScopeId::of(&with_external("a.c1z", None));
        assert_ne!(scope, ScopeId::of(&Options::default()));
        assert_ne!(scope, ScopeId::of(&with_external("a.c1z", Some("group:g1:member"))));
        assert_eq!(scope, ScopeId::of(&with_external("b.c1z", None)));
    }

    #[test]
    fn debug_does_not_show_the_description_of_a_source() {
        let shown = format!("{:?}", Source::of("host=db password=hunter2"));
        assert!(!shown.contains("hunter2") && !shown.contains("host"), "{shown}");
    }

    #[test]
    fn accepts_checkpoints_without_a_scope() {
        let scope = ScopeId::of(&Options::default());
        for checkpoint in ["", "nonsense", r#"{"version":1}"#, r#"{"baton_retool_scope":null,"version":1}"#] {
            assert!(scope.accepts(checkpoint), "{checkpoint}");
        }
        assert!(!scope.accepts(r#"{"baton_retool_scope":"00","version":1}"#));
    }
}

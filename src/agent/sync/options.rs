//! The scope of a sync and how it runs.

use std::path::PathBuf;

use serde::Deserialize;

use crate::agent::sync::source::Source;
use crate::agent::sync::storage::Kind;
use crate::proto::connector::ResourceId;

/// The scope of a sync and how it runs. By default, a sync reads everything with one call at a time.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many calls may run at the same time.
    pub workers: Workers,
    /// What the connector reads. A run resumes only a sync of the same source.
    pub source: Source,
    /// The resource types to store; empty for all.
    pub resource_types: Vec<String>,
    /// Single resources to read instead of everything; empty for everything.
    pub targets: Vec<Target>,
    /// Neither entitlements nor grants are listed.
    pub skip_entitlements_and_grants: bool,
    /// No grants are listed.
    pub skip_grants: bool,
    /// Nothing is read; the sync is empty.
    pub skip_full_sync: bool,
    /// Grants that derive from others are not added; the reader of the file adds them.
    pub skip_expansion: bool,
    /// An external file whose users and groups hold grants of this connector.
    pub external: Option<External>,
    /// Record the size of the largest response.
    pub measure_answers: bool,
}

/// How many calls may run at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workers {
    /// One for each processor of the machine, at most four.
    Auto,
    /// One.
    #[default]
    One,
    /// This many; 0 counts as 1.
    Count(usize),
}

/// A resource to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Target {
    /// Its id.
    pub resource: ResourceId,
    /// Its parent resource.
    pub parent: Option<ResourceId>,
}

/// An external file whose users and groups hold grants of this connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The path of the file.
    pub file: PathBuf,
    /// The folder for the unpacked file; `None` for the system's folder for temporary files.
    pub temp_dir: Option<PathBuf>,
    /// Only the principals that hold this entitlement of that file; `None` for all.
    pub entitlement_id: Option<String>,
}

/// The error for text that is not the baton id of a resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text} is not the id of a resource: {problem}; use bid:r:<type>/<id> or bid:r:<parent type>/<parent id>/<type>/<id>"
)]
pub struct TargetError {
    text: String,
    problem: &'static str,
}

impl Options {
    /// The kind of the sync.
    pub fn kind(&self) -> Kind {
        if !self.targets.is_empty() {
            Kind::Partial
        } else if self.skip_entitlements_and_grants {
            Kind::ResourcesOnly
        } else {
            Kind::Full
        }
    }

    /// Whether targets are given, but none of them is of a type that is stored.
    pub(crate) fn wants_no_target(&self) -> bool {
        !self.targets.is_empty() && self.wanted_targets().is_empty()
    }

    /// The resources to read whose types are stored, without duplicates.
    pub(crate) fn wanted_targets(&self) -> Vec<Target> {
        let mut wanted: Vec<Target> = Vec::new();
        for target in &self.targets {
            let stored = self.resource_types.is_empty()
                || self.resource_types.contains(&target.resource.resource_type);
            if stored && !wanted.contains(target) {
                wanted.push(target.clone());
            }
        }
        wanted
    }
}

impl Workers {
    /// The number of workers, never 0.
    pub fn count(self) -> usize {
        match self {
            Self::Auto => std::thread::available_parallelism().map_or(1, |count| count.get().min(4)),
            Self::One => 1,
            Self::Count(count) => count.max(1),
        }
    }
}

/// The text in a form that is safe for a message. Short words before a colon, and ids that are a letter and a number,
/// are safe. Any other text could be a misplaced secret.
fn shown(text: &str) -> String {
    let is_id = |part: &str| {
        let number = part.strip_prefix(|letter: char| letter.is_ascii_lowercase()).unwrap_or(part);
        number.len() <= 10 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_word = |part: &str| part.len() <= 12 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let rest = text.strip_prefix("bid:r:").unwrap_or(text);
    // The text after a colon could be a password.
    let (first, others) = rest.split_once(':').unwrap_or((rest, ""));
    let is_safe = first.split('/').all(|part| is_id(part) || is_word(part)) && others.split(':').all(is_id);
    if is_safe { format!("{text:?}") } else { "the text".to_owned() }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        Self::parse(&text)
    }
}

impl Target {
    /// Parses the baton id of a resource: `bid:r:type/id`, or `bid:r:parent type/parent id/type/id`. A
    /// backslash escapes a slash, a colon or a backslash within a part.
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let wrong = |problem| TargetError { text: shown(text), problem };
        let rest = text.strip_prefix("bid:r:").ok_or_else(|| wrong("it does not begin with bid:r:"))?;
        let mut parts = vec![String::new()];
        let mut characters = rest.chars();
        while let Some(character) = characters.next() {
            let character = match character {
                '/' => {
                    parts.push(String::new());
                    continue;
                }
                ':' => return Err(wrong("it has an extra part after a colon")),
                '\\' => match characters.next() {
                    Some(escaped @ ('/' | ':' | '\\')) => escaped,
                    _ => return Err(wrong("it has a backslash that escapes no character")),
                },
                plain => plain,
            };
            if let Some(part) = parts.last_mut() {
                part.push(character);
            }
        }
        if parts.iter().any(String::is_empty) {
            return Err(wrong("a part is empty"));
        }
        let id = |resource_type: String, resource: String| ResourceId {
            resource_type,
            resource,
            ..Default::default()
        };
        match <[String; 4]>::try_from(parts) {
            Ok([parent_type, parent, of, one]) => {
                Ok(Self { resource: id(of, one), parent: Some(id(parent_type, parent)) })
            }
            Err(parts) => match <[String; 2]>::try_from(parts) {
                Ok([of, one]) => Ok(Self { resource: id(of, one), parent: None }),
                Err(_) => Err(wrong("it has neither two nor four parts")),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn id(resource_type: &str, resource: &str) -> ResourceId {
        ResourceId {
            resource_type: resource_type.to_owned(),
            resource: resource.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn parses_baton_ids_with_and_without_a_parent() {
        let plain = Target::parse("bid:r:group/g1").unwrap();
        assert_eq!(plain, Target { resource: id("group", "g1"), parent: None });
        let below = Target::parse(r"bid:r:org/o\/1\:x\\/group/g1").unwrap();
        assert_eq!(below, Target { resource: id("group", "g1"), parent: Some(id("org", r"o/1:x\")) });
    }

    #[test]
    fn rejects_other_text_and_shows_the_form_to_write() {
        for text in [
            "group/g1",
            "bid:e:group/g1:member",
            "bid:r:group",
            "bid:r:a/b/c",
            "bid:r:group/",
            "bid:r:a/b:c",
            r"bid:r:a/b\",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(error.contains("use bid:r:<type>/<id>"), "{error}");
            let is_withheld = text.contains('\\') || text.contains("member");
            assert!(is_withheld || error.starts_with(&format!("{text:?} is not the id")), "{error}");
        }
    }

    #[test]
    fn does_not_repeat_text_that_can_be_a_secret() {
        for text in [
            "postgres://u:hunter2@h/d",
            "hunter2",
            "bid:r:u:hunter2@h/d",
            "p w hunter2",
            "Hunter2",
            "admin:hunter",
            "bid:r:admin:hunter",
        ] {
            let error = Target::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("the text is not the id") && !error.contains("unter"), "{error}");
        }
    }

    #[test]
    fn skips_duplicate_targets_and_types_that_are_not_stored() {
        let target = |text| Target::parse(text).unwrap();
        let options = Options {
            targets: vec![target("bid:r:user/u1"), target("bid:r:group/g1"), target("bid:r:user/u1")],
            ..Default::default()
        };
        assert_eq!(options.wanted_targets(), [target("bid:r:user/u1"), target("bid:r:group/g1")]);
        assert_eq!(options.kind(), Kind::Partial);
        let filtered = Options { resource_types: vec!["group".to_owned()], ..options };
        assert_eq!(filtered.wanted_targets(), [target("bid:r:group/g1")]);
    }
}

//! The answer to a change that was made, was not needed, or was only described.

use prost::Name;
use prost_types::Any;

use crate::proto::connector::{Grant, GrantAlreadyExists, GrantAlreadyRevoked};
use crate::proto::{any, boolean, packed, string, structure};
use crate::retool::change::{Changed, Mode, Outcome};

/// A change that was made, was not needed, or would have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) outcome: Outcome,
    /// The principal's state before, as a keyword: a membership, a level or an account state.
    pub(crate) before: &'static str,
    /// The principal's state now.
    pub(crate) after: &'static str,
}

/// The answer to Grant or Revoke.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangeAnswer {
    pub(crate) completed: Completed,
    /// The grants that the next listing shows; empty for a Revoke, and if the principal has the entitlement
    /// through another grant, which is listed in its own place.
    pub(crate) grants: Vec<Grant>,
    pub(crate) annotations: Vec<Any>,
}

impl ChangeAnswer {
    /// The answer to a Grant. `word` returns the keyword of a state. A change that is already in place is no
    /// error (decision repeated-changes).
    pub(crate) fn granted<T: Copy + PartialEq>(
        mode: Mode,
        changed: &Changed<T>,
        word: impl Fn(T) -> &'static str,
        grants: Vec<Grant>,
    ) -> Self {
        let already = any(&GrantAlreadyExists {});
        Self { grants, ..Self::new(mode, changed, word, already, "add one source of the access") }
    }

    /// The answer to a Revoke. `word` returns the keyword of a state.
    pub(crate) fn revoked<T: Copy + PartialEq>(
        mode: Mode,
        changed: &Changed<T>,
        word: impl Fn(T) -> &'static str,
    ) -> Self {
        let already = any(&GrantAlreadyRevoked {});
        Self::new(mode, changed, word, already, "remove one source of the access")
    }

    fn new<T: Copy + PartialEq>(
        mode: Mode,
        changed: &Changed<T>,
        word: impl Fn(T) -> &'static str,
        already: Any,
        one_way: &str,
    ) -> Self {
        let (before, after) = (word(changed.before), word(changed.after));
        let mut annotations = Vec::new();
        if !changed.is_change() {
            annotations.push(already);
        }
        if mode == Mode::DryRun {
            let would = match (changed.is_change(), before == after) {
                (false, _) => "change nothing".to_owned(),
                (true, false) => format!("change the principal's access from {before} to {after}"),
                (true, true) => format!("{one_way}; the principal has {after} access from other sources too"),
            };
            annotations.push(dry_run(&would));
        }
        let completed = Completed { outcome: changed.outcome(mode), before, after };
        Self { completed, grants: Vec::new(), annotations }
    }

    /// The answer if an earlier attempt may have made the change that this attempt found in place.
    pub(crate) fn after_uncertain_attempt(mut self) -> Self {
        if self.completed.outcome == Outcome::Unchanged {
            self.completed = Completed { outcome: Outcome::Changed, before: "unknown", ..self.completed };
            self.annotations.retain(|annotation| !is_already_done(annotation));
        }
        self
    }
}

/// Whether the annotation reports that no change was needed.
fn is_already_done(annotation: &Any) -> bool {
    [GrantAlreadyExists::full_name(), GrantAlreadyRevoked::full_name()]
        .iter()
        .any(|name| annotation.type_url.ends_with(name.as_str()))
}

/// The annotation for a dry run: `{"dry_run": true, "would": "..."}`.
pub(crate) fn dry_run(would: &str) -> Any {
    packed(&structure([("dry_run", boolean(true)), ("would", string(would))]))
}

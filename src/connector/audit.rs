//! The record of changes: one event of target `audit` for each change that was asked for, whether it was
//! made, was not needed, was refused or failed. It holds ids only, nothing about a person.

use std::time::Instant;

use prost_types::Any;

use crate::connector::error::Error;
use crate::proto::{boolean, packed, string, structure};
use crate::telemetry::logs::AUDIT;
use crate::telemetry::metrics::{self, Provisioning};

/// Who asks for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// `host:port` of the connection; empty on a unix socket.
    pub peer: String,
    /// What the caller calls the request; empty when it has no name, or one that is no id.
    pub request_id: String,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was made.
    Changed,
    /// Retool was as asked already.
    Unchanged,
    /// It would have been made.
    DryRun,
    /// It may not be made, and nothing was changed: the request or Retool would have to be another.
    Refused,
    /// It could not be made, for want of a privilege or of a database, say. Nothing was changed in the database
    /// unless the reason is `commit_uncertain` or `broken_off`; what Retool's REST API did not answer may have
    /// been done all the same.
    Failed,
}

impl Outcome {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::DryRun => "dry_run",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl From<Outcome> for Provisioning {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Changed => Self::Changed,
            Outcome::Unchanged => Self::Unchanged,
            Outcome::DryRun => Self::DryRun,
            Outcome::Refused => Self::Refused,
            Outcome::Failed => Self::Failed,
        }
    }
}

/// A change that was made, or was not needed, or would have been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// What the principal had before: a role, a level, a state; in a word.
    pub(super) before: &'static str,
    /// What it has now.
    pub(super) after: &'static str,
}

/// What the answer to a change carries that was not made: `{"dry_run": true, "would": "..."}`.
pub(super) fn dry_run(would: &str) -> Any {
    let said = structure([("dry_run", boolean(true)), ("would", string(would))]);
    packed(&said)
}

/// A change under way. Dropped before its end, it is recorded as broken off.
pub(crate) struct Record {
    operation: &'static str,
    caller: Caller,
    target: String,
    principal: String,
    started: Instant,
    ended: bool,
}

impl Record {
    /// Begins the record of `operation`. `target` and `principal` are ids as this connector spells them,
    /// never as the caller did; empty where there is none yet.
    pub(super) fn begin(operation: &'static str, caller: &Caller, target: String, principal: String) -> Self {
        let (caller, started) = (caller.clone(), Instant::now());
        Self { operation, caller, target, principal, started, ended: false }
    }

    /// Names the principal once it is known.
    pub(super) fn principal(&mut self, principal: String) {
        self.principal = principal;
    }

    /// Writes the record of a change that came to an end.
    pub(super) fn done(mut self, done: &Done) {
        self.write(done.outcome, done.before, done.after, None);
    }

    /// Writes the record of a change that did not.
    pub(super) fn failed(mut self, error: &Error) {
        let outcome = if error.is_refusal() { Outcome::Refused } else { Outcome::Failed };
        self.write(outcome, "", "", Some(error.reason()));
    }

    fn write(&mut self, outcome: Outcome, before: &str, after: &str, reason: Option<&str>) {
        self.ended = true;
        metrics::provisioning_ended(self.operation, outcome.into());
        tracing::info!(
            target: AUDIT,
            operation = self.operation,
            target_id = self.target,
            principal_id = self.principal,
            outcome = outcome.as_str(),
            before,
            after,
            reason,
            peer.address = self.caller.peer,
            request_id = self.caller.request_id,
            duration_ms = self.started.elapsed().as_micros() as f64 / 1000.0,
            "change"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.write(Outcome::Failed, "", "", Some("broken_off"));
        }
    }
}

//! The record of changes: one event of target `audit` before each change, which has to be written before the
//! change begins, and one at its end, whether it was made, was not needed, was refused or failed. They hold ids
//! only, nothing about a person.

use std::time::Instant;

use crate::connector::change::answer::Completed;
use crate::connector::error::Error;
use crate::retool::change::{Mode, Outcome};
use crate::telemetry::logs::{self, AUDIT};
use crate::telemetry::metrics::{self, Provisioning};

/// Who asks for a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `host:port` of the connection; empty on a unix socket.
    pub peer: String,
    /// What the caller calls the request; empty when it has no name, or one that is no id.
    pub request_id: String,
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
    pub(crate) fn begin(operation: &'static str, caller: &Caller, target: String, principal: String) -> Self {
        let (caller, started) = (caller.clone(), Instant::now());
        Self { operation, caller, target, principal, started, ended: false }
    }

    /// Names the principal once it is known.
    pub(crate) fn principal(&mut self, principal: String) {
        self.principal = principal;
    }

    /// Writes what is asked for, and returns when it is written. A dry run changes nothing and needs no such line.
    ///
    /// # Errors
    /// [`Error::Unrecorded`]: the change must not begin, since nothing would show that it was made.
    pub(crate) async fn announce(&self, mode: Mode) -> Result<(), Error> {
        if mode == Mode::DryRun {
            return Ok(());
        }
        let log = || {
            tracing::info!(
                target: AUDIT,
                operation = self.operation,
                target_id = self.target,
                principal_id = self.principal,
                peer.address = self.caller.peer,
                request_id = self.caller.request_id,
                "change requested"
            );
        };
        logs::recorded(log).await.map_err(Error::Unrecorded)
    }

    /// Writes the record of a change that came to its end, and returns when it is written, so that an answered change
    /// has its record. Where it cannot be written, the log and the metrics say so, and the next change is refused.
    pub(crate) async fn close(mut self, result: Result<&Completed, &Error>) {
        let log = || match result {
            Ok(completed) => self.write(completed.outcome, completed.before, completed.after, None),
            Err(error) => {
                let outcome = if error.is_refusal() { Outcome::Refused } else { Outcome::Failed };
                self.write(outcome, "", "", Some(error.reason()));
            }
        };
        // What was done stays done.
        let _ = logs::recorded(log).await;
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

//! The audit log of changes. It has one event of target `audit` before each change, which must be written
//! before the change begins, and one at its end: made, not needed, refused or failed. The events contain ids
//! only, no personal data (decision recorded-changes).

use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use crate::connector::change::answer::Completed;
use crate::connector::error::Error;
use crate::numbers::log_milliseconds;
use crate::repeats::{Repeats, Verdict};
use crate::retool::change::{Mode, Outcome};
use crate::telemetry::logs::{self, AUDIT};
use crate::telemetry::metrics::{self, Provisioning};

/// Limits the lines about changes that end before they are announced: invalid requests, and those that a
/// setting refuses. Nothing else limits them, because they cost the caller nothing and change nothing.
static NOT_ANNOUNCED: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(20));
/// Limits the warnings about changes of a caller.
static WARNINGS: LazyLock<Repeats> = LazyLock::new(|| Repeats::new(20));

/// The client that requests a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    /// `host:port` of the connection; empty on a unix socket.
    pub peer: String,
    /// The network of the connection; `None` on a unix socket.
    pub network: Option<IpAddr>,
    /// The token of the call; `None` if no token is needed.
    pub token: Option<TokenNumber>,
    /// The client's id of the request; empty if it has none, or an invalid one.
    pub request_id: String,
}

/// Identifies a token without revealing it. The number of a token differs in each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenNumber(pub(crate) u64);

/// The holder of shares: the token of the calls, from any address, or the network if no token is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ShareOwner {
    Network(Option<IpAddr>),
    Token(TokenNumber),
}

impl ShareOwner {
    /// The callers that have this share, for a message.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Network(_) => "this address",
            Self::Token(_) => "this token",
        }
    }
}

impl Caller {
    /// The holder of the shares that this caller uses.
    pub(crate) fn share_owner(&self) -> ShareOwner {
        self.token.map_or(ShareOwner::Network(self.network), ShareOwner::Token)
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
            Outcome::Unknown => Self::Unknown,
        }
    }
}

/// The state that all changes of a connector share.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// A change was announced, so it may have been made.
    begun: AtomicBool,
    /// A signal ends the program before its changes have ended.
    interrupted: AtomicBool,
}

impl Changes {
    /// From now on, a change that is aborted is recorded as interrupted by the end of the program. Returns
    /// whether any change was announced.
    pub(crate) fn interrupt(&self) -> bool {
        self.interrupted.store(true, Ordering::SeqCst);
        self.begun.load(Ordering::SeqCst)
    }
}

/// A change in progress. If dropped before its end, its record reports that the outcome is unknown, or that the
/// change failed if it was not announced and so cannot have begun.
pub(crate) struct Record {
    changes: Arc<Changes>,
    announced: AtomicBool,
    /// Whether an attempt is running, or has ended without a known outcome.
    may_be_made: AtomicBool,
    /// Whether an attempt has ended without a known outcome.
    uncertain: AtomicBool,
    operation: &'static str,
    caller: Caller,
    target: String,
    principal: String,
    started: Instant,
    ended: bool,
}

impl Record {
    /// Begins the record of `operation`. `target` and `principal` are ids as this connector spells them,
    /// never as the caller did; empty if not known yet.
    pub(crate) fn begin(
        changes: &Arc<Changes>,
        operation: &'static str,
        caller: &Caller,
        target: String,
        principal: String,
    ) -> Self {
        Self {
            changes: Arc::clone(changes),
            announced: AtomicBool::new(false),
            may_be_made: AtomicBool::new(false),
            uncertain: AtomicBool::new(false),
            operation,
            caller: caller.clone(),
            target,
            principal,
            started: Instant::now(),
            ended: false,
        }
    }

    /// Sets the principal once it is known.
    pub(crate) fn principal(&mut self, principal: String) {
        self.principal = principal;
    }

    /// Records the request, and returns once it is written. A dry run changes nothing and needs no such
    /// event.
    ///
    /// # Errors
    /// [`Error::Unrecorded`]: the change must not begin, because the log would not show that it was made.
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
        // Set before the line is written, so that a change that a signal interrupts meanwhile counts as one that may be made.
        self.changes.begun.store(true, Ordering::SeqCst);
        logs::recorded(log).await.map_err(Error::Unrecorded)?;
        self.announced.store(true, Ordering::SeqCst);
        self.may_be_made.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Whether to log a warning of this kind about the change.
    pub(crate) fn judge_warning(&self, kind: &'static str) -> Verdict {
        WARNINGS.judge(kind, self.caller.network)
    }

    /// Runs one attempt of an announced change. Between attempts that are known to have failed, nothing has
    /// been changed.
    ///
    /// # Errors
    /// Those of the attempt.
    pub(crate) async fn attempt<T>(
        &self,
        attempt: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let was_uncertain = self.uncertain.load(Ordering::SeqCst);
        self.may_be_made.store(true, Ordering::SeqCst);
        let result = attempt.await;
        if let Err(error) = &result {
            let is_uncertain = was_uncertain || error.is_uncertain();
            self.uncertain.store(is_uncertain, Ordering::SeqCst);
            self.may_be_made.store(is_uncertain, Ordering::SeqCst);
        }
        result
    }

    /// Records the end of a change, and returns once it is written, so that every answered change has its
    /// record. If the write fails, the log and the metrics report it, and the next change is refused.
    pub(crate) async fn close(mut self, result: Result<&Completed, &Error>) {
        let end = match result {
            Ok(Completed { outcome, before, after }) => {
                End { outcome: *outcome, before, after, reason: None }
            }
            Err(error) => {
                let outcome = match error {
                    error if error.is_refusal() => Outcome::Refused,
                    error if error.is_uncertain() => Outcome::Unknown,
                    _ => Outcome::Failed,
                };
                End::without_effect(outcome, error.reason())
            }
        };
        let verdict = match result {
            // Some log targets may already contain the line `change requested`.
            Ok(_) | Err(Error::Unrecorded(_)) => Verdict::Log { left_out: None },
            Err(_) => self.judge_failure(),
        };
        self.count(end.outcome);
        let Verdict::Log { left_out } = verdict else { return };
        let log = || self.log(&end, left_out);
        if matches!(result, Err(Error::Unrecorded(_))) {
            // The announcement has already waited for the target, and nothing was changed.
            return log();
        }
        // The change cannot be undone.
        let _ = logs::recorded(log).await;
    }

    /// Whether to log the end of a change that failed. A change that was announced always has its end in the
    /// log.
    fn judge_failure(&self) -> Verdict {
        if self.announced.load(Ordering::SeqCst) {
            return Verdict::Log { left_out: None };
        }
        NOT_ANNOUNCED.judge(self.operation, self.caller.network)
    }

    fn count(&mut self, outcome: Outcome) {
        self.ended = true;
        metrics::provisioning_ended(self.operation, outcome.into());
    }

    fn log(&self, end: &End, left_out: Option<NonZeroU64>) {
        tracing::info!(
            target: AUDIT,
            operation = self.operation,
            target_id = self.target,
            principal_id = self.principal,
            outcome = end.outcome.as_str(),
            before = end.before,
            after = end.after,
            reason = end.reason,
            peer.address = self.caller.peer,
            request_id = self.caller.request_id,
            duration_ms = log_milliseconds(self.started.elapsed()),
            left_out,
            "change"
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            let is_interrupted = self.changes.interrupted.load(Ordering::SeqCst);
            let reason = if is_interrupted { "interrupted" } else { "aborted" };
            let may_be_made = self.may_be_made.load(Ordering::SeqCst);
            let outcome = if may_be_made { Outcome::Unknown } else { Outcome::Failed };
            let end = End::without_effect(outcome, reason);
            self.count(end.outcome);
            if let Verdict::Log { left_out } = self.judge_failure() {
                self.log(&end, left_out);
            }
        }
    }
}

/// The end of a change.
struct End {
    outcome: Outcome,
    before: &'static str,
    after: &'static str,
    reason: Option<&'static str>,
}

impl End {
    /// The end of a change that was not made, as far as is known.
    fn without_effect(outcome: Outcome, reason: &'static str) -> Self {
        Self { outcome, before: "", after: "", reason: Some(reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::error::PostgresError;
    use crate::retool::error::DatabaseError;

    #[tokio::test]
    async fn a_change_may_be_made_during_an_attempt_and_after_an_uncertain_one() {
        let changes = Arc::new(Changes::default());
        let record = Record::begin(&changes, "grant", &Caller::default(), String::new(), String::new());
        let may_be_made = || record.may_be_made.load(Ordering::SeqCst);
        let failed = async {
            assert!(may_be_made());
            Err::<(), _>(Error::ProvisioningDisabled)
        };
        assert!(record.attempt(failed).await.is_err());
        assert!(!may_be_made());
        let lost = DatabaseError::Postgres(PostgresError::Uncertain { reason: "lost".to_owned().into() });
        assert!(record.attempt(async { Err::<(), _>(Error::from(lost)) }).await.is_err());
        assert!(may_be_made());
        assert!(record.attempt(async { Err::<(), _>(Error::ProvisioningDisabled) }).await.is_err());
        assert!(may_be_made());
    }
}

//! Runs of actions, running and ended. They are kept in memory only.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost_types::{Any, Struct};
use svix_ksuid::{Ksuid, KsuidLike};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::connector::audit::ShareOwner;
use crate::connector::change::answer::dry_run;
use crate::connector::error::Error;
use crate::connector::rate_limit;
use crate::private_text::{PrivateText, reveal};
use crate::proto::connector::BatonActionStatus;
use crate::proto::{boolean, packed, string, structure};
use crate::retool::api::rate_limit::RateLimit;
use crate::retool::change::Mode;

/// Limit of concurrent runs.
const MAX_RUNNING: usize = 200;
/// Limit of ended runs that are kept. Beyond it, the owner with the most of them loses the one that ended first.
const MAX_ENDED: usize = 1_000;

/// All runs with a status that can be requested.
#[derive(Debug)]
pub(crate) struct Runs {
    table: Mutex<Table>,
    running: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<String, Arc<Run>>,
    /// The number of running actions of each owner.
    running: HashMap<ShareOwner, usize>,
    /// Ended runs, in the order of their end.
    ended: VecDeque<Arc<Run>>,
}

/// One run of an action.
#[derive(Debug)]
pub(crate) struct Run {
    /// 27 letters and digits.
    pub(crate) id: String,
    /// The action's name.
    pub(crate) name: &'static str,
    owner: ShareOwner,
    ended: watch::Sender<Option<Ended>>,
}

/// The end of a run. It never changes.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) result: RunResult,
    /// The rate limits of Retool's REST API, if it was called.
    pub(crate) rate_limit: Option<RateLimit>,
}

/// The result of an action.
#[derive(Debug, Clone)]
pub(crate) enum RunResult {
    /// The account is in the requested state.
    Complete,
    /// The account already was in the requested state.
    Unchanged {
        /// Whether this was a dry run.
        mode: Mode,
    },
    /// The change would have been made.
    DryRun {
        /// The change, as the end of "would ...".
        would: String,
    },
    /// The account is not in the requested state, or its state is unknown. Has the message for callers: an error
    /// can keep a whole text of the request, and ended runs are kept for a long time.
    Failed(FailureMessage),
}

/// The message of a failed action. Only [`reveal`] shows it.
#[derive(Debug, Clone)]
pub(crate) struct FailureMessage(PrivateText);

/// A run in the form of a response.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunReport {
    pub(crate) status: BatonActionStatus,
    /// `success`, or `error` with a message; `None` while the run is running.
    pub(crate) response: Option<Struct>,
    pub(crate) annotations: Vec<Any>,
}

/// A run that has not ended. If dropped, it ends as interrupted.
#[derive(Debug)]
pub(super) struct InProgress {
    runs: Arc<Runs>,
    run: Arc<Run>,
}

impl RunResult {
    pub(super) fn failed(error: &Error) -> Self {
        Self::Failed(FailureMessage(error.in_words().into()))
    }
}

impl fmt::Display for FailureMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.unquoted())
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self { table: Mutex::default(), running: watch::Sender::new(0) }
    }
}

impl Runs {
    /// Starts a run. An owner can have five eighths of what the other owners leave of all runs.
    ///
    /// # Errors
    /// [`Error::TooManyRuns`]
    pub(super) fn start(
        self: &Arc<Self>,
        name: &'static str,
        owner: ShareOwner,
    ) -> Result<InProgress, Error> {
        let id = Ksuid::new(Some(OffsetDateTime::now_utc()), None).to_string();
        let run = Arc::new(Run { id: id.clone(), name, owner, ended: watch::Sender::new(None) });
        let mut table = self.table();
        let own = table.running.get(&owner).copied().unwrap_or_default();
        let running = *self.running.borrow();
        let share = (MAX_RUNNING - (running - own)) * 5 / 8;
        if running >= MAX_RUNNING {
            return Err(Error::TooManyRuns { whose: "all callers together", most: MAX_RUNNING });
        }
        // A caller without a run can start one whenever less than the total is running.
        if own > 0 && own >= share {
            return Err(Error::TooManyRuns { whose: owner.name(), most: own });
        }
        *table.running.entry(owner).or_default() += 1;
        table.by_id.insert(id, Arc::clone(&run));
        self.running.send_modify(|running| *running += 1);
        Ok(InProgress { runs: Arc::clone(self), run })
    }

    /// The run with this id.
    ///
    /// # Errors
    /// [`Error::UnknownRun`]
    pub(crate) fn find(&self, id: &str) -> Result<Arc<Run>, Error> {
        let found = self.table().by_id.get(id).cloned();
        found.ok_or_else(|| Error::UnknownRun { given: id.into(), kept: MAX_ENDED })
    }

    /// The number of running actions.
    pub(crate) fn in_progress(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until no run is running.
    pub(crate) async fn idle(&self) {
        // This struct owns the sender, so it cannot be dropped while we wait.
        let _ = self.running.subscribe().wait_for(|running| *running == 0).await;
    }

    fn end(&self, run: &Arc<Run>, ended: Ended) {
        let mut table = self.table();
        let first = run.ended.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(ended);
            first
        });
        if !first {
            return;
        }
        table.end(run);
        self.running.send_modify(|running| *running = running.saturating_sub(1));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn end(&mut self, run: &Arc<Run>) {
        if let Some(count) = self.running.get_mut(&run.owner) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&run.owner);
            }
        }
        self.ended.push_back(Arc::clone(run));
        if self.ended.len() <= MAX_ENDED {
            return;
        }
        let mut counts: HashMap<ShareOwner, usize> = HashMap::new();
        for run in &self.ended {
            *counts.entry(run.owner).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or_default();
        let first = self.ended.iter().position(|run| counts.get(&run.owner) == Some(&most));
        if let Some(dropped) = first.and_then(|first| self.ended.remove(first)) {
            self.by_id.remove(&dropped.id);
        }
    }
}

impl Run {
    /// The run in the form of a response.
    pub(crate) fn report(&self) -> RunReport {
        let Some(Ended { result, rate_limit }) = self.ended() else {
            return RunReport { status: BatonActionStatus::Running, response: None, annotations: Vec::new() };
        };
        let failed = |text: String| ("error", string(text));
        let success = || structure([("success", boolean(true))]);
        let mut annotations = Vec::new();
        let (status, response) = match result {
            RunResult::Complete => (BatonActionStatus::Complete, success()),
            RunResult::Unchanged { mode } => {
                annotations.push(match mode {
                    Mode::DryRun => dry_run("change nothing"),
                    Mode::Real => packed(&structure([("unchanged", boolean(true))])),
                });
                (BatonActionStatus::Complete, success())
            }
            RunResult::DryRun { would } => {
                let text = failed(format!("dry run: would {would}; nothing was done"));
                (BatonActionStatus::Failed, structure([text, ("dry_run", boolean(true))]))
            }
            RunResult::Failed(message) => (BatonActionStatus::Failed, structure([failed(reveal(&message))])),
        };
        annotations.extend(rate_limit.iter().map(rate_limit::annotation));
        RunReport { status, response: Some(response), annotations }
    }

    /// The end of the run; `None` while it is running.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.borrow().clone()
    }

    /// Waits until the run has ended, or until the timeout.
    pub(crate) async fn ended_within(&self, wait: Duration) {
        let mut ended = self.ended.subscribe();
        // Neither a timeout nor the end is an error here.
        let _ = tokio::time::timeout(wait, ended.wait_for(Option::is_some)).await;
    }
}

impl InProgress {
    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    pub(super) fn end(self, ended: Ended) {
        self.runs.end(&self.run, ended);
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let broken = Ended { result: RunResult::failed(&Error::RunBroken), rate_limit: None };
        self.runs.end(&self.run, broken);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::IpAddr;

    use prost_types::value::Kind;

    use super::*;
    use crate::connector::audit::{Caller, TokenNumber};

    /// All callers on the unix socket.
    const SOCKET: ShareOwner = ShareOwner::Network(None);

    fn address(last: usize) -> ShareOwner {
        ShareOwner::Network(Some(IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()])))
    }

    fn complete() -> Ended {
        Ended { result: RunResult::Complete, rate_limit: None }
    }

    #[test]
    fn forgets_the_oldest_ended_run_but_no_running_one() {
        let runs = Arc::new(Runs::default());
        let in_progress = runs.start("enable_user", SOCKET).unwrap();
        let ids: Vec<_> = (0..=MAX_ENDED)
            .map(|_| {
                let run = runs.start("disable_user", SOCKET).unwrap();
                let id = run.run().id.clone();
                run.end(complete());
                id
            })
            .collect();
        assert!(matches!(runs.find(&ids[0]), Err(Error::UnknownRun { .. })));
        assert!(ids[1..].iter().all(|id| runs.find(id).is_ok()));
        assert!(runs.find(&in_progress.run().id).unwrap().ended().is_none());
        assert_eq!(runs.table().by_id.len(), MAX_ENDED + 1);
        in_progress.end(complete());
        assert_eq!(runs.table().by_id.len(), MAX_ENDED);
    }

    #[test]
    fn one_address_or_token_leaves_runs_and_results_to_others() {
        let token = |number| ShareOwner::Token(TokenNumber(number));
        for (hostile, honest) in [(address(1), address(2)), (token(1), token(2))] {
            let runs = Arc::new(Runs::default());
            let held: Vec<_> = std::iter::from_fn(|| runs.start("disable_user", hostile).ok()).collect();
            assert_eq!(held.len(), MAX_RUNNING * 5 / 8);
            assert!(matches!(
                runs.start("disable_user", hostile),
                Err(Error::TooManyRuns { whose, most }) if (whose, most) == (hostile.name(), held.len())
            ));
            let run = runs.start("enable_user", honest).unwrap();
            let id = run.run().id.clone();
            run.end(complete());
            held.into_iter().for_each(|run| run.end(complete()));
            for _ in 0..MAX_ENDED {
                runs.start("disable_user", hostile).unwrap().end(complete());
            }
            assert!(runs.find(&id).is_ok());
            let table = runs.table();
            assert_eq!((table.ended.len(), table.by_id.len()), (MAX_ENDED, MAX_ENDED));
            assert!(table.running.is_empty());
        }
    }

    #[test]
    fn a_token_has_one_share_for_all_its_addresses() {
        let caller = |last: u8, token: Option<u64>| Caller {
            network: Some(IpAddr::from([10, 0, 0, last])),
            token: token.map(TokenNumber),
            ..Caller::default()
        };
        assert_eq!(caller(1, Some(7)).share_owner(), caller(2, Some(7)).share_owner());
        assert_ne!(caller(1, Some(7)).share_owner(), caller(1, Some(8)).share_owner());
        assert_ne!(caller(1, None).share_owner(), caller(2, None).share_owner());
    }

    #[test]
    fn a_run_starts_again_after_another_has_ended_at_the_limit() {
        let runs = Arc::new(Runs::default());
        let mut in_progress: Vec<_> =
            (0..MAX_RUNNING).map(|last| runs.start("enable_user", address(last)).unwrap()).collect();
        assert!(matches!(
            runs.start("enable_user", SOCKET),
            Err(Error::TooManyRuns { whose: "all callers together", most: MAX_RUNNING })
        ));
        in_progress.pop();
        assert!(runs.start("enable_user", SOCKET).is_ok());
    }

    #[test]
    fn the_first_end_of_a_run_is_final() {
        let runs = Arc::new(Runs::default());
        let in_progress = runs.start("enable_user", SOCKET).unwrap();
        let run = Arc::clone(in_progress.run());
        assert_eq!(run.id.len(), 27);
        in_progress.end(complete());
        runs.end(&run, Ended { result: RunResult::failed(&Error::RunBroken), rate_limit: None });
        assert!(matches!(run.ended(), Some(Ended { result: RunResult::Complete, .. })));
        assert_eq!(*runs.running.borrow(), 0);
    }

    #[tokio::test]
    async fn a_dropped_run_ends_as_interrupted() {
        let runs = Arc::new(Runs::default());
        let in_progress = runs.start("enable_user", SOCKET).unwrap();
        let run = Arc::clone(in_progress.run());
        run.ended_within(Duration::from_millis(1)).await;
        assert!(run.ended().is_none());
        drop(in_progress);
        runs.idle().await;
        let response = run.report().response.unwrap();
        let error = response.fields["error"].kind.clone();
        assert!(matches!(&error, Some(Kind::StringValue(text)) if text.contains("interrupted")), "{error:?}");
    }
}

//! Actions on accounts: enabling and disabling them.
//!
//! An action runs in the background, even if no caller waits for it, and its status can be requested later. A
//! failed action is a run with that result, not a failed call.

mod action;
pub(crate) mod runs;
mod schemas;
mod users;

use std::sync::Arc;
use std::time::Duration;

use prost_types::Struct;
use tokio::time::timeout;
use tracing::Instrument;

use crate::connector::Connector;
use crate::connector::actions::action::Action;
use crate::connector::actions::runs::{Ended, Run, RunResult, Runs};
use crate::connector::actions::schemas::schemas;
use crate::connector::audit::{Caller, Record};
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::proto::connector::{BatonActionSchema, InvokeActionRequest};

/// Timeout of an action.
const LONGEST: Duration = Duration::from_secs(60 * 60);

impl Connector {
    /// The available actions. No action belongs to a resource type, so the list is empty if one is given.
    pub(crate) fn action_schemas(&self, resource_type_id: &str) -> Vec<BatonActionSchema> {
        if resource_type_id.is_empty() { schemas() } else { Vec::new() }
    }

    /// The action with this name.
    ///
    /// # Errors
    /// [`Error::UnknownAction`]
    pub(crate) fn action_schema(&self, name: &str) -> Result<BatonActionSchema, Error> {
        schemas()
            .into_iter()
            .find(|schema| schema.name == name)
            .ok_or_else(|| Error::UnknownAction { given: name.into() })
    }

    /// Starts an action and waits for its end, at most for `wait`. A failed action is a run with that result.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::UnknownAction`], [`Error::TooManyRuns`]
    pub(crate) async fn invoke_action(
        &self,
        request: InvokeActionRequest,
        caller: &Caller,
        wait: Duration,
    ) -> Result<Arc<Run>, Error> {
        let run = start(
            &self.context,
            &self.runs,
            Invocation {
                name: &request.name,
                resource_type_id: &request.resource_type_id,
                args: request.args,
                caller,
                gate: self.gate(),
            },
        )
        .await?;
        run.ended_within(wait).await;
        Ok(run)
    }

    /// The run of an action, running or ended.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`], [`Error::UnknownRun`]
    pub(crate) fn action_run(&self, id: &str) -> Result<Arc<Run>, Error> {
        self.gate()?;
        self.runs.find(id)
    }

    /// The number of running actions.
    pub(crate) fn actions_in_progress(&self) -> usize {
        self.runs.in_progress()
    }

    /// Waits until no action is running.
    pub(crate) async fn actions_ended(&self) {
        self.runs.idle().await;
    }
}

/// The parameters of [`start`].
struct Invocation<'a> {
    name: &'a str,
    resource_type_id: &'a str,
    args: Option<Struct>,
    caller: &'a Caller,
    /// Whether changes are allowed.
    gate: Result<(), Error>,
}

/// Starts an action, which continues even if the caller disconnects.
///
/// # Errors
/// [`Error::ProvisioningDisabled`], also for an unknown action; [`Error::UnknownAction`];
/// [`Error::TooManyRuns`]
async fn start(context: &Arc<Context>, runs: &Arc<Runs>, asked: Invocation<'_>) -> Result<Arc<Run>, Error> {
    let Invocation { name, resource_type_id, args, caller, gate } = asked;
    let known = Action::from_name(name);
    let changes = &context.changes;
    let record = |action: Action| Record::begin(changes, action.name(), caller, String::new(), String::new());
    if let Err(error) = gate {
        if let Some(action) = known {
            record(action).close(Err(&error)).await;
        }
        return Err(error);
    }
    // All actions are global; none belongs to a resource type.
    let unknown = || match resource_type_id {
        "" => Error::UnknownAction { given: name.into() },
        type_id => Error::UnknownAction { given: format!("{type_id}/{name}").into() },
    };
    let action = known.filter(|_| resource_type_id.is_empty()).ok_or_else(unknown)?;
    let mut record = record(action);
    let in_progress = match runs.start(action.name(), caller.share_owner()) {
        Ok(in_progress) => in_progress,
        Err(error) => {
            record.close(Err(&error)).await;
            return Err(error);
        }
    };
    let run = Arc::clone(in_progress.run());
    let context = Arc::clone(context);
    // The arguments can be large, and the run can outlast the call.
    let user = users::user_id(args.as_ref());
    drop(args);
    let work = async move {
        let mut rate_limit = None;
        let outcome = match user {
            Ok(user) => {
                let work = users::run(&context, action, user, &mut record, &mut rate_limit);
                timeout(LONGEST, work).await.unwrap_or(Err(Error::RunTooLong { limit: LONGEST }))
            }
            Err(error) => Err(error),
        };
        record.close(outcome.as_ref().map(|(_, completed)| completed)).await;
        let result = match outcome {
            Ok((result, _)) => result,
            Err(error) => RunResult::failed(&error),
        };
        in_progress.end(Ended { result, rate_limit });
    };
    tokio::spawn(work.in_current_span());
    Ok(run)
}

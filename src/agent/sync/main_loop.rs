//! The main loop of a sync.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::agent::sync::error::Error;
use crate::agent::sync::run::{Run, Step, locked, method};
use crate::agent::sync::state::{Action, ActionId, Operation};
use crate::agent::sync::storage::Storage;
use crate::agent::sync::tokens::Chain;
use crate::numbers::log_seconds;

/// How many listings may be skipped regardless of their share.
const SOME_WARNINGS: u64 = 10;

impl<S: Storage> Run<S> {
    /// Performs all pending actions and completes the sync.
    pub(crate) async fn complete(self: &Arc<Self>) -> Result<(), Error> {
        let collected = self.collect().await;
        self.meter.enter(None);
        if let Err(error) = collected {
            if matches!(error, Error::Stopped) {
                self.checkpoint().await?;
            }
            return Err(error);
        }
        for (what, count) in &*locked(&self.dropped) {
            tracing::warn!(count, "left out {what}");
        }
        self.check_exclusion_groups().await?;
        let token = {
            let mut state = self.state();
            // A complete sync is not resumed.
            state.scope = None;
            state.text().map_err(|error| Error::Broken(error.to_string()))?
        };
        self.seal(token).await?;
        if let Err(error) = self.connector.cleanup(&self.active_sync_id).await {
            tracing::warn!(%error, "the sync is complete, but the connector failed to clean up");
        }
        Ok(())
    }

    async fn collect(self: &Arc<Self>) -> Result<(), Error> {
        loop {
            if self.stop.is_cancelled() {
                return Err(Error::Stopped);
            }
            let Some((id, action)) = self.state().top().map(|(id, action)| (id, action.clone())) else {
                return Ok(());
            };
            self.checkpoint_when_due().await?;
            self.give_up_on_warnings()?;
            self.enter(action.operation);
            match action.operation {
                Operation::Init => self.plan(id).await?,
                Operation::GrantExpansion => self.expand(id).await?,
                Operation::ListExternalResources => self.external(id).await?,
                Operation::ListResourceTypes | Operation::ListStaticEntitlements => {
                    Arc::clone(self).perform(id, false).await?;
                }
                _ if action.plans() => Arc::clone(self).perform(id, true).await?,
                _ => self.batch().await?,
            }
            self.attempts.reset();
        }
    }

    fn enter(&self, operation: Operation) {
        if self.meter.read().phase == Some(operation) {
            return;
        }
        self.meter.enter(Some(operation));
        let same = |action: &&Action| action.operation == operation && !action.plans();
        self.meter.expect(self.state().pending().filter(same).count() as u64);
    }

    /// Lets workers perform the actions at the top of the stack, and the actions that join them.
    async fn batch(self: &Arc<Self>) -> Result<(), Error> {
        let mut waiting: VecDeque<ActionId> = self.state().batch().into();
        let workers = self.options.workers.count();
        let mut working = JoinSet::new();
        loop {
            while working.len() < workers
                && let Some(id) = waiting.pop_front()
            {
                working.spawn(Arc::clone(self).perform(id, false));
            }
            tokio::select! {
                ended = working.join_next() => match ended {
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        // The other workers hold the storage until they end.
                        working.shutdown().await;
                        return Err(error);
                    }
                    Some(Err(error)) => {
                        working.shutdown().await;
                        return Err(Error::Broken(error.to_string()));
                    }
                    None => {}
                },
                () = self.joined_now.notified() => {}
            }
            waiting.extend(locked(&self.joined).drain(..));
            if waiting.is_empty() && working.is_empty() {
                return Ok(());
            }
        }
    }

    /// Performs an action to its end, or only its next page.
    async fn perform(self: Arc<Self>, id: ActionId, once: bool) -> Result<(), Error> {
        let mut chain = None;
        loop {
            let Some(action) = self.state().action(id).cloned() else { return Ok(()) };
            let chain = chain.get_or_insert_with(|| Chain::new(&action.page_token));
            let step = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::Stopped),
                step = self.step(&action) => step,
            };
            match step {
                Ok(step) if chain.goes_on(&step.next) => {
                    let over = once || step.next.is_empty();
                    self.transition(id, &action, step)?;
                    if over {
                        return Ok(());
                    }
                }
                Ok(_) => {
                    let method = method(action.operation);
                    return Err(Error::TokenRepeats { method, target: action.target() });
                }
                Err(error) if error.is_a_warning() && may_be_skipped(action.operation) => {
                    self.skip(id, error);
                    return Ok(());
                }
                Err(error) if error.is_retryable() => self.wait_after(&error).await?,
                Err(error) => return Err(error),
            }
            self.checkpoint_when_due().await?;
        }
    }

    async fn step(&self, action: &Action) -> Result<Step, Error> {
        match action.operation {
            Operation::ListResourceTypes => self.list_resource_types(action).await,
            Operation::ListResources if action.plans() => self.plan_resources(action),
            Operation::ListResources => self.list_resources(action).await,
            Operation::TargetedResourceSync => self.fetch_target(action).await,
            Operation::ListStaticEntitlements if action.plans() => self.plan_static_entitlements().await,
            Operation::ListStaticEntitlements => self.list_static_entitlements(action).await,
            Operation::ListEntitlements if action.plans() => self.plan_entitlements(action).await,
            Operation::ListEntitlements => self.list_entitlements(action).await,
            Operation::ListGrants if action.plans() => self.plan_grants(action).await,
            Operation::ListGrants => self.list_grants(action).await,
            Operation::Init | Operation::GrantExpansion | Operation::ListExternalResources => {
                Ok(Step::default())
            }
        }
    }

    /// Pushes the children of a step and advances the action to its next page.
    fn transition(&self, id: ActionId, action: &Action, step: Step) -> Result<(), Error> {
        let mut joins = Vec::new();
        {
            let mut state = self.state();
            for child in step.children {
                if child.operation == action.operation {
                    self.meter.expect(1);
                }
                let spawned = child.spawned;
                let child = state.push(child);
                if spawned {
                    joins.push(child);
                }
            }
            if step.planned_type_scoped {
                state.planned_type_scoped(id);
            }
            if step.next.is_empty() && !action.plans() {
                self.meter.did_one();
            }
            state.advance(id, step.next);
        }
        if !joins.is_empty() {
            locked(&self.joined).append(&mut joins);
            self.joined_now.notify_one();
        }
        Ok(())
    }

    fn skip(&self, id: ActionId, error: Error) {
        tracing::warn!(%error, "skipping a listing");
        let mut warnings = locked(&self.warnings);
        warnings.first.get_or_insert(error);
        warnings.count += 1;
        drop(warnings);
        self.meter.did_one();
        self.state().finish(id);
    }

    fn give_up_on_warnings(&self) -> Result<(), Error> {
        let mut warnings = locked(&self.warnings);
        let actions = self.state().completed();
        if warnings.count <= SOME_WARNINGS || warnings.count.saturating_mul(10) <= actions {
            return Ok(());
        }
        let Some(first) = warnings.first.take().map(Box::new) else { return Ok(()) };
        Err(Error::TooManyWarnings { warnings: warnings.count, actions, first })
    }

    async fn wait_after(&self, error: &Error) -> Result<(), Error> {
        let Some(status) = error.status() else { return Ok(()) };
        let wait = self.attempts.wait(status);
        tracing::warn!(%error, seconds = log_seconds(wait), "a call of the sync failed, retrying");
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }
}

/// Whether the sync continues if the connector does not find the subject of a listing. Without resource
/// types, nothing is left to sync.
fn may_be_skipped(operation: Operation) -> bool {
    operation != Operation::ListResourceTypes
}

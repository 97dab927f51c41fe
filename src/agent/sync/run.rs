//! The main loop of a sync.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::c1z::{Expanded, Reader};
use crate::agent::sync::connector::Connector;
use crate::agent::sync::error::Error;
use crate::agent::sync::exclusion::Groups;
use crate::agent::sync::meter::Meter;
use crate::agent::sync::options::Options;
use crate::agent::sync::retry::Attempts;
use crate::agent::sync::state::{Action, ActionId, Operation, State};
use crate::agent::sync::storage::{Kind, Started, Storage};
use crate::agent::sync::thread::Storing;
use crate::agent::sync::tokens::{Chain, Met};
use crate::agent::sync::types::Types;
use crate::agent::sync::{Counts, Outcome, external, version};

/// How often what is still to do is kept, at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// How many listings may be skipped whatever their share.
const SOME_WARNINGS: u64 = 10;

/// A sync under way, shared by its workers.
pub(crate) struct Run<S> {
    pub(crate) connector: Connector,
    pub(crate) store: Storing<S>,
    pub(crate) options: Options,
    pub(crate) kind: Kind,
    /// The id of the sync as calls carry it; empty when the connector does not take it.
    pub(crate) active_sync_id: String,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: CancellationToken,
    pub(crate) scheduled_children: Mutex<Met>,
    pub(crate) spawned_cursors: Mutex<Met>,
    /// Types that come from another file once everything is collected.
    pub(crate) external_types: BTreeSet<String>,
    external: Mutex<Option<Reader>>,
    /// Ids of types that the connector has, for a hint.
    pub(crate) listed_types: Mutex<Vec<String>>,
    /// Entitlements that exclude each other may be stored.
    pub(crate) excludes: AtomicBool,
    started: Started,
    state: Mutex<State>,
    types: RwLock<Arc<Types>>,
    attempts: Attempts,
    counts: Mutex<BTreeMap<String, Counts>>,
    dropped: Mutex<BTreeMap<&'static str, u64>>,
    warnings: Mutex<Warnings>,
    expanded: Mutex<Expanded>,
    checkpointed: Mutex<Instant>,
    /// Actions that joined the batch under way.
    joined: Mutex<Vec<ActionId>>,
    joined_now: Notify,
}

/// What an action's next piece of work led to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Where the action goes on; empty when it is done.
    pub(crate) next: String,
    /// Actions to put on top.
    pub(crate) children: Vec<Action>,
    /// The actions for whole types are among the children.
    pub(crate) planned_type_scoped: bool,
}

/// Listings that were skipped.
#[derive(Debug, Default)]
struct Warnings {
    count: u64,
    first: String,
}

impl<S: Storage> Run<S> {
    /// Begins a sync, or goes on with an unfinished one.
    pub(crate) async fn begin(
        connector: Connector,
        store: Storing<S>,
        options: Options,
        meter: Arc<Meter>,
        stop: CancellationToken,
        sdk_version: &str,
    ) -> Result<Self, Error> {
        let kind = options.kind();
        let external = match options.external.clone() {
            Some(external) => {
                let opened = tokio::task::spawn_blocking(move || external::open(&external)).await;
                Some(opened.map_err(|error| Error::Broken(error.to_string()))?.map_err(Error::External)?)
            }
            None => None,
        };
        let external_types = match &external {
            Some(reader) => external::matching_types(reader).map_err(Error::External)?,
            None => BTreeSet::new(),
        };
        let started = store.read(move |storage| storage.start(kind)).await?;
        let state = State::parse(&started.token);
        if started.resumed {
            let phase = state.top().map_or("none", |(_, action)| action.operation.name());
            tracing::info!(sync_id = started.sync_id, phase, done = state.completed(), "resuming a sync");
        } else {
            tracing::info!(sync_id = started.sync_id, kind = kind.name(), "beginning a sync");
        }
        let mut types = Types::default();
        types.add(&store.read(Storage::resource_types).await?);
        let mut spawned_cursors = Met::default();
        for action in state.pending().filter(|action| action.spawned) {
            spawned_cursors.is_new(identity(action));
        }
        let takes_sync_id = version::takes_sync_id(sdk_version);
        Ok(Self {
            connector,
            store,
            options,
            kind,
            active_sync_id: if takes_sync_id { started.sync_id.clone() } else { String::new() },
            meter,
            stop,
            scheduled_children: Mutex::default(),
            spawned_cursors: Mutex::new(spawned_cursors),
            external_types,
            external: Mutex::new(external),
            listed_types: Mutex::default(),
            excludes: AtomicBool::new(started.resumed),
            started,
            state: Mutex::new(state),
            types: RwLock::new(Arc::new(types)),
            attempts: Attempts::default(),
            counts: Mutex::default(),
            dropped: Mutex::default(),
            warnings: Mutex::default(),
            expanded: Mutex::default(),
            checkpointed: Mutex::new(Instant::now()),
            joined: Mutex::default(),
            joined_now: Notify::new(),
        })
    }

    /// Does all that is still to do, and ends the sync.
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
        let token = locked(&self.state).text().map_err(|error| Error::Broken(error.to_string()))?;
        self.seal(token).await?;
        if let Err(error) = self.connector.cleanup(&self.active_sync_id).await {
            tracing::warn!(%error, "the sync is complete, but the connector could not clean up after it");
        }
        Ok(())
    }

    /// Ends the sync with what is stored.
    pub(crate) async fn seal(&self, token: String) -> Result<(), Error> {
        self.store.read(move |storage| storage.finish(&token)).await
    }

    /// What was read, without the times that only the caller knows.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut counts = std::mem::take(&mut *locked(&self.counts));
        let types = self.types();
        let mut in_order: Vec<(String, Counts)> =
            types.ids().iter().map(|id| (id.clone(), counts.remove(id).unwrap_or_default())).collect();
        in_order.extend(counts);
        Outcome {
            sync_id: self.started.sync_id.clone(),
            kind: self.kind,
            resumed: self.started.resumed,
            types: in_order,
            expanded: *locked(&self.expanded),
            phases: self.meter.phases(),
            validate: Duration::ZERO,
            elapsed: Duration::ZERO,
            calls: self.connector.calls(),
            largest_answer: self.connector.largest_answer(),
            warnings: locked(&self.warnings).count,
            dropped: locked(&self.dropped).clone(),
        }
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

    /// Puts the phases on the stack, the first on top.
    async fn plan(&self, id: ActionId) -> Result<(), Error> {
        {
            let mut state = self.state();
            state.finish(id);
            state.should_skip_entitlements_and_grants |= self.options.skip_entitlements_and_grants;
            state.should_skip_grants |= self.options.skip_grants;
            if self.kind == Kind::Partial {
                for target in self.options.wanted_targets() {
                    let parent = target.parent.unwrap_or_default();
                    state.push(Action {
                        resource_id: target.resource.resource,
                        parent_resource_type_id: parent.resource_type,
                        parent_resource_id: parent.resource,
                        ..Action::of_type(Operation::TargetedResourceSync, target.resource.resource_type)
                    });
                }
                state.should_fetch_related_resources = true;
            } else {
                let skips = state.should_skip_entitlements_and_grants;
                let phases = [
                    (Operation::GrantExpansion, !skips),
                    (Operation::ListExternalResources, self.options.external.is_some()),
                    (Operation::ListGrants, !skips && !state.should_skip_grants),
                    (Operation::ListEntitlements, !skips),
                    (Operation::ListStaticEntitlements, !skips),
                    (Operation::ListResources, true),
                ];
                for (phase, wanted) in phases {
                    if wanted {
                        state.push(Action::new(phase));
                    }
                }
            }
            state.push(Action::new(Operation::ListResourceTypes));
        }
        self.checkpoint().await
    }

    /// Lets workers do the actions at the top, and those that join them.
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
                        // The others hold the storage until they have ended.
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

    /// Does an action to its end, or only its next page.
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
                    self.skip(id, &error);
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

    /// Puts what a step led to on the stack, and the action to its next page.
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

    fn skip(&self, id: ActionId, error: &Error) {
        tracing::warn!(%error, "skipping a listing");
        let mut warnings = locked(&self.warnings);
        if warnings.count == 0 {
            warnings.first = error.to_string();
        }
        warnings.count += 1;
        drop(warnings);
        self.meter.did_one();
        self.state().finish(id);
    }

    fn give_up_on_warnings(&self) -> Result<(), Error> {
        let warnings = locked(&self.warnings);
        let actions = self.state().completed();
        if warnings.count > SOME_WARNINGS && warnings.count.saturating_mul(10) > actions {
            let first = warnings.first.clone();
            return Err(Error::TooManyWarnings { warnings: warnings.count, actions, first });
        }
        Ok(())
    }

    async fn wait_after(&self, error: &Error) -> Result<(), Error> {
        let Some(status) = error.status() else { return Ok(()) };
        let wait = self.attempts.wait(status);
        tracing::warn!(%error, seconds = wait.as_secs_f64(), "trying again");
        tokio::select! {
            () = self.stop.cancelled() => Err(Error::Stopped),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    async fn expand(&self, id: ActionId) -> Result<(), Error> {
        self.store.read(Storage::collected).await?;
        let wanted = self.state().needs_expansion && !self.options.skip_expansion;
        if wanted {
            let meter = Arc::clone(&self.meter);
            let mut progress = move |done, expected| meter.did(done, expected);
            let expanded = self.store.read(move |storage| storage.expand(&mut progress)).await?;
            if expanded.unknown_entitlements > 0 {
                let count = expanded.unknown_entitlements;
                tracing::warn!(
                    count,
                    "grants expand entitlements that the connector does not list; they are passed over"
                );
            }
            *locked(&self.expanded) = expanded;
        }
        self.state().finish(id);
        Ok(())
    }

    async fn external(&self, id: ActionId) -> Result<(), Error> {
        let Some(reader) = locked(&self.external).take() else {
            // A sync that an earlier run began with another file, or none.
            tracing::warn!(
                "the unfinished sync asks for an external file, and none is given; it goes on without one"
            );
            self.state().finish(id);
            return Ok(());
        };
        let options = self.options.external.clone();
        let matches = self.state().has_external_resource_grants;
        let copied = self
            .store
            .read(move |storage| {
                let entitlement = options.as_ref().and_then(|external| external.entitlement_id.as_deref());
                external::copy(storage, &reader, entitlement, matches)
            })
            .await?;
        self.add_types(&copied.types);
        self.meter.resources(copied.resources);
        self.meter.entitlements(copied.entitlements);
        let mut state = self.state();
        state.needs_expansion |= copied.expands && !self.options.skip_expansion;
        state.finish(id);
        Ok(())
    }

    async fn check_exclusion_groups(&self) -> Result<(), Error> {
        if !self.excludes.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store.read(|storage| Ok(Groups::check(storage))).await?
    }

    async fn checkpoint_when_due(&self) -> Result<(), Error> {
        if locked(&self.checkpointed).elapsed() < CHECKPOINT_EVERY {
            return Ok(());
        }
        *locked(&self.checkpointed) = Instant::now();
        // Pages that the stack counts as done were sent to the storage before this is.
        let token = self.state().text().map_err(|error| Error::Broken(error.to_string()))?;
        self.store.write(move |storage| storage.checkpoint(&token)).await
    }

    async fn checkpoint(&self) -> Result<(), Error> {
        *locked(&self.checkpointed) = Instant::now();
        let token = self.state().text().map_err(|error| Error::Broken(error.to_string()))?;
        self.store.read(move |storage| storage.checkpoint(&token)).await
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The stored resource types as they are now.
    pub(crate) fn types(&self) -> Arc<Types> {
        Arc::clone(&self.types.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_types(&self, resource_types: &[crate::proto::connector::ResourceType]) {
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut types).add(resource_types);
    }

    /// Counts rows of a resource type.
    pub(crate) fn count(&self, resource_type: &str, add: impl FnOnce(&mut Counts)) {
        let mut counts = locked(&self.counts);
        match counts.get_mut(resource_type) {
            Some(counts) => add(counts),
            None => add(counts.entry(resource_type.to_owned()).or_default()),
        }
    }

    /// Counts rows that are not stored.
    pub(crate) fn leave_out(&self, what: &'static str, count: u64) {
        if count > 0 {
            *locked(&self.dropped).entry(what).or_default() += count;
        }
    }
}

/// What makes two cursors the same.
pub(crate) fn identity(action: &Action) -> [&str; 5] {
    let scope = if action.type_scoped { "type" } else { "resource" };
    [action.operation.name(), &action.resource_type_id, &action.resource_id, scope, &action.page_token]
}

/// The call that an operation makes for its pages.
pub(crate) fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::ListResourceTypes => "ListResourceTypes",
        Operation::ListResources => "ListResources",
        Operation::ListEntitlements => "ListEntitlements",
        Operation::ListStaticEntitlements => "ListStaticEntitlements",
        Operation::ListGrants => "ListGrants",
        Operation::TargetedResourceSync => "GetResource",
        Operation::Init | Operation::ListExternalResources | Operation::GrantExpansion => operation.name(),
    }
}

/// Whether the sync goes on when a connector does not find what a listing is about. Without resource types there is
/// nothing to go on with.
fn may_be_skipped(operation: Operation) -> bool {
    operation != Operation::ListResourceTypes
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

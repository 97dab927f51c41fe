//! The state of a running sync that its workers share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agent::c1z::{Expanded, Reader};
use crate::agent::sync::connector::Connector;
use crate::agent::sync::error::Error;
use crate::agent::sync::meter::Meter;
use crate::agent::sync::options::Options;
use crate::agent::sync::outcome::{Counts, Outcome};
use crate::agent::sync::retry::Attempts;
use crate::agent::sync::scope::ScopeId;
use crate::agent::sync::state::{Action, ActionId, Operation, State};
use crate::agent::sync::storage::{Kind, Started, Storage};
use crate::agent::sync::thread::Storing;
use crate::agent::sync::tokens::Met;
use crate::agent::sync::types::Types;
use crate::agent::sync::{external, version};

/// The minimum time between two checkpoints of the pending actions.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A running sync, shared by its workers.
pub(crate) struct Run<S> {
    pub(crate) connector: Connector,
    pub(crate) store: Storing<S>,
    pub(crate) options: Options,
    pub(crate) kind: Kind,
    /// The id of the sync as calls carry it; empty if the connector does not accept it.
    pub(crate) active_sync_id: String,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: CancellationToken,
    pub(crate) scheduled_children: Mutex<Met>,
    pub(crate) spawned_cursors: Mutex<Met>,
    /// Types that are copied from the external file after everything is collected.
    pub(crate) external_types: BTreeSet<String>,
    pub(crate) external: Mutex<Option<Reader>>,
    /// Ids of the types that the connector has, for a hint in an error.
    pub(crate) listed_types: Mutex<Vec<String>>,
    /// Whether entitlements with exclusion groups may be stored.
    pub(crate) excludes: AtomicBool,
    pub(crate) started: Started,
    pub(crate) state: Mutex<State>,
    pub(crate) types: RwLock<Arc<Types>>,
    pub(crate) attempts: Attempts,
    pub(crate) counts: Mutex<BTreeMap<String, Counts>>,
    pub(crate) dropped: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) warnings: Mutex<Warnings>,
    pub(crate) expanded: Mutex<Expanded>,
    pub(crate) checkpointed: Mutex<Instant>,
    /// Actions that joined the current batch.
    pub(crate) joined: Mutex<Vec<ActionId>>,
    pub(crate) joined_now: Notify,
}

/// The result of one unit of work of an action.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// The page token at which the action continues; empty if it is done.
    pub(crate) next: String,
    /// Actions to push onto the stack.
    pub(crate) children: Vec<Action>,
    /// The children include the actions for whole types.
    pub(crate) planned_type_scoped: bool,
}

/// Listings that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    pub(crate) count: u64,
    pub(crate) first: Option<Error>,
}

impl<S: Storage> Run<S> {
    /// Begins a sync, or resumes an unfinished one.
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
        let scope = ScopeId::of(&options, &external_types);
        let expected = scope.clone();
        let resumes = move |checkpoint: &str| {
            let accepted = expected.accepts(checkpoint);
            if !accepted {
                tracing::warn!(
                    "the unfinished sync in the file has another database or other settings; it is discarded, and a new sync begins"
                );
            }
            accepted
        };
        let started = store.read(move |storage| storage.start(kind, &resumes)).await?;
        let mut state = State::parse(&started.token);
        state.scope = Some(scope);
        if started.resumed {
            let phase = state.top().map_or("none", |(_, action)| action.operation.name());
            tracing::info!(
                sync_id = started.sync_id,
                started_at = started.started_at,
                phase,
                done = state.completed(),
                "resuming a sync"
            );
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

    /// Completes the sync with the stored rows.
    pub(crate) async fn seal(&self, token: String) -> Result<(), Error> {
        self.store.read(move |storage| storage.finish(&token)).await
    }

    /// The result of the sync, without the durations that only the caller knows.
    pub(crate) fn outcome(&self) -> Outcome {
        let mut counts = std::mem::take(&mut *locked(&self.counts));
        let types = self.types();
        let mut in_order: Vec<(String, Counts)> =
            types.ids().iter().map(|id| (id.clone(), counts.remove(id).unwrap_or_default())).collect();
        in_order.extend(counts);
        Outcome {
            sync_id: self.started.sync_id.clone(),
            kind: self.kind,
            started_at: self.started.started_at.clone(),
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

    pub(crate) async fn checkpoint_when_due(&self) -> Result<(), Error> {
        if locked(&self.checkpointed).elapsed() < CHECKPOINT_EVERY {
            return Ok(());
        }
        *locked(&self.checkpointed) = Instant::now();
        // The storage works in order, so pages that the stack counts as done are written before this token.
        let token = self.state().text().map_err(|error| Error::Broken(error.to_string()))?;
        self.store.write(move |storage| storage.checkpoint(&token)).await
    }

    pub(crate) async fn checkpoint(&self) -> Result<(), Error> {
        *locked(&self.checkpointed) = Instant::now();
        let token = self.state().text().map_err(|error| Error::Broken(error.to_string()))?;
        self.store.read(move |storage| storage.checkpoint(&token)).await
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The resource types that are stored now.
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

    /// Counts rows that are not stored, by reason.
    pub(crate) fn leave_out(&self, what: &'static str, count: u64) {
        if count > 0 {
            *locked(&self.dropped).entry(what).or_default() += count;
        }
    }
}

/// The fields that identify a cursor.
pub(crate) fn identity(action: &Action) -> [&str; 5] {
    let scope = if action.type_scoped { "type" } else { "resource" };
    [action.operation.name(), &action.resource_type_id, &action.resource_id, scope, &action.page_token]
}

/// The RPC that an operation calls to list its pages.
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

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

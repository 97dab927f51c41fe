//! The order of the phases, and the phases that make no calls.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::agent::sync::error::Error;
use crate::agent::sync::exclusion::Groups;
use crate::agent::sync::external;
use crate::agent::sync::run::{Run, locked};
use crate::agent::sync::state::{Action, ActionId, Operation};
use crate::agent::sync::storage::{Kind, Storage};

impl<S: Storage> Run<S> {
    /// Pushes the phases onto the stack, with the first one on top.
    pub(crate) async fn plan(&self, id: ActionId) -> Result<(), Error> {
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

    pub(crate) async fn expand(&self, id: ActionId) -> Result<(), Error> {
        self.store.read(Storage::collected).await?;
        let wanted = self.state().needs_expansion && !self.options.skip_expansion;
        if wanted {
            let (meter, stop) = (Arc::clone(&self.meter), self.stop.clone());
            let mut progress = move |done, expected| {
                meter.did(done, expected);
                if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let expanded = self.store.read(move |storage| storage.expand(&mut progress)).await?;
            let expanded = expanded.ok_or(Error::Stopped)?;
            if expanded.unknown_entitlements > 0 {
                let count = expanded.unknown_entitlements;
                tracing::warn!(
                    count,
                    "grants expand entitlements that the connector does not list; these are skipped"
                );
            }
            *locked(&self.expanded) = expanded;
        }
        self.state().finish(id);
        Ok(())
    }

    pub(crate) async fn external(&self, id: ActionId) -> Result<(), Error> {
        let Some(reader) = locked(&self.external).take() else {
            // An earlier run began the sync with an external file, and this run has none.
            tracing::warn!(
                "the unfinished sync requires an external file, and none is set; it continues without one"
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

    pub(crate) async fn check_exclusion_groups(&self) -> Result<(), Error> {
        if !self.excludes.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store.read(|storage| Ok(Groups::check(storage))).await?
    }
}

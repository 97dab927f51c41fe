//! Baton's view of Retool: resource types, resources, entitlements and grants.
//!
//! A resource type is one file that implements [`ResourceType`](resource_type::ResourceType), listed once in
//! [`types::of_scope`].

mod accounts;
pub(crate) mod actions;
pub(crate) mod audit;
mod change;
mod context;
pub(crate) mod database_message;
mod entitlement_words;
pub(crate) mod error;
mod grant_writer;
mod holder;
mod identified;
pub(crate) mod ids;
mod metadata;
pub(crate) mod page_token;
pub(crate) mod paging;
mod rate_limit;
mod refusal_message;
pub(crate) mod resource_kind;
mod resource_type;
pub(crate) mod rest_message;
pub(crate) mod snapshots;
mod text;
mod types;
mod unsupported;
mod validate;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt;
use serde::Deserialize;
use tokio::sync::RwLock;

use crate::connector::actions::runs::Runs;
use crate::connector::context::Context;
use crate::connector::error::Error;
use crate::connector::identified::Identified;
use crate::connector::ids::resource_id;
use crate::connector::page_token::{Listing, Position};
use crate::connector::paging::{AnswerPage, PageRequest};
use crate::connector::resource_kind::ResourceKind;
use crate::connector::resource_type::ResourceSyncer;
use crate::connector::snapshots::{Reader, Snapshots};
use crate::proto::connector::{ConnectorMetadata, Entitlement, Resource, ResourceId, ResourceType};
use crate::proto::grants::GrantList;
use crate::retool::api::Api;
use crate::retool::change::Mode;
use crate::retool::database::Database;
use crate::retool::snapshot;
use crate::retool::tables::Users;

pub(crate) use context::MANAGED_GROUPS;
pub(crate) use metadata::capabilities_of;

/// The parts of the configuration beyond the [`Scope`](crate::retool::privileges::Scope) of its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Options {
    /// Leave out disabled users, both as resources and as principals.
    pub skip_disabled_users: bool,
    /// Describe changes without making them.
    pub dry_run: bool,
    /// Whether tickets are requested.
    pub ticketing: bool,
    /// Memory of all snapshots of access together, in MiB; 0 turns snapshots off.
    pub snapshot_max_mib: u32,
}

impl Options {
    /// The defaults in `--help`.
    pub(crate) const DEFAULT: Self =
        Self { skip_disabled_users: false, dry_run: false, ticketing: false, snapshot_max_mib: 96 };
}

/// The connector. It provides all data for the answers of the server.
pub(crate) struct Connector {
    context: Arc<Context>,
    runs: Arc<Runs>,
    snapshots: Snapshots,
    syncers: Vec<Box<dyn ResourceSyncer>>,
    provisioning: bool,
    ticketing: bool,
}

impl Connector {
    /// Creates a connector for this database, within its scope, and for Retool's REST API if it is
    /// configured.
    pub(crate) fn new(database: Arc<Database>, api: Option<Arc<Api>>, options: Options) -> Self {
        let scope = database.scope();
        let syncers = types::of_scope(scope);
        let users = if options.skip_disabled_users { Users::EnabledOnly } else { Users::All };
        let snapshots = snapshots(&database, users, options.snapshot_max_mib);
        let context = Context {
            database,
            api,
            admin_lock: RwLock::default(),
            kinds: syncers.iter().map(|syncer| syncer.kind()).collect(),
            users,
            changes: Arc::default(),
            mode: if options.dry_run { Mode::DryRun } else { Mode::Real },
            counted_crossing: AtomicBool::new(false),
            managed_groups: scope.managed_groups,
        };
        Self {
            context: Arc::new(context),
            runs: Arc::default(),
            snapshots,
            syncers,
            provisioning: scope.provisioning,
            ticketing: options.ticketing,
        }
    }

    /// Uses these runs of actions, which several connectors can share.
    #[cfg(feature = "lambda")]
    #[must_use]
    pub(crate) fn with_runs(self, runs: Arc<Runs>) -> Self {
        Self { runs, ..self }
    }

    /// Name, capabilities and account schema; needs no database query.
    pub(crate) fn metadata(&self) -> ConnectorMetadata {
        metadata::metadata(&self.syncers)
    }

    /// Checks that the database is reachable and that the role has the privileges that this configuration
    /// needs.
    ///
    /// # Errors
    /// [`Error::Database`]
    pub(crate) async fn validate_once(&self) -> Result<(), Error> {
        self.context.database.check().await?;
        Ok(())
    }

    /// Prepares for the end of the program by a signal: a change that is aborted is recorded as interrupted.
    /// Returns whether any change was begun.
    pub(crate) fn interrupt_changes(&self) -> bool {
        self.context.changes.interrupt()
    }

    /// Whether the database refused the password at the last connection attempt. Sends nothing to the
    /// database.
    pub(crate) fn is_login_refused(&self) -> bool {
        self.context.database.is_login_refused()
    }

    /// The resource types, always in the same order.
    ///
    /// # Errors
    /// [`Error::PageToken`]
    pub(crate) fn resource_types(
        &self,
        request: PageRequest<'_>,
    ) -> Result<AnswerPage<Vec<ResourceType>>, Error> {
        let listing = Listing::new("ListResourceTypes", &[]);
        let types = self.syncers.iter().map(|syncer| syncer.describe()).collect();
        listed(&listing, request, types)
    }

    /// The current resources of a type below a parent. For a sync, only those that are also in its snapshot.
    ///
    /// # Errors
    /// [`Error::UnknownResourceType`], [`Error::WrongParent`], [`Error::MalformedId`], [`Error::PageToken`],
    /// [`Error::Database`]
    pub(crate) async fn resources(
        &self,
        type_id: &str,
        parent: Option<&ResourceId>,
        sync: &str,
        request: PageRequest<'_>,
    ) -> Result<AnswerPage<Vec<Resource>>, Error> {
        let syncer = self.syncer(type_id)?;
        let listing = self.listing("ListResources", &[type_id], parent);
        let bounds = request.bounds(&listing)?;
        syncer.parent(parent)?;
        let source = self.snapshots.source(sync).await?;
        syncer.list(&self.context, &source, parent, &bounds).await
    }

    /// One resource, as in its listing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist, or does not exist below the parent in the request;
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::WrongParent`], [`Error::MalformedId`],
    /// [`Error::Database`]
    pub(crate) async fn resource(
        &self,
        id: Option<&ResourceId>,
        parent: Option<&ResourceId>,
    ) -> Result<Resource, Error> {
        let id = id.ok_or(Error::Missing { field: "resource_id" })?;
        let syncer = self.syncer(&id.resource_type)?;
        let kind = syncer.kind();
        let parent = syncer.parent(parent)?;
        let below_parent = |resource: &Resource| match parent {
            Some(parent) => resource.parent_resource_id.as_ref() == Some(&resource_id(parent)),
            None => true,
        };
        let found = syncer.get(&self.context, id).await?.filter(below_parent);
        found.ok_or_else(|| Error::NotFound { kind, given: id.resource.as_str().into() })
    }

    /// The entitlements of a resource, which need not exist.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::MalformedId`],
    /// [`Error::ResourceTooLarge`], [`Error::PageToken`]
    pub(crate) fn entitlements(
        &self,
        resource: Option<&Resource>,
        request: PageRequest<'_>,
    ) -> Result<AnswerPage<Vec<Entitlement>>, Error> {
        let on = Identified::of(resource)?;
        let syncer = self.syncer(&on.id.resource_type)?;
        paging::check_size(on.resource)?;
        let listing = Listing::new("ListEntitlements", &[&on.id.resource_type, &on.id.resource]);
        listed(&listing, request, syncer.entitlements(&on)?)
    }

    /// Entitlements that are the same for every resource of a type. There are none, because names of
    /// entitlements contain the name of the resource, and agents could lose grants (decision
    /// no-scoped-grants).
    ///
    /// # Errors
    /// [`Error::UnknownResourceType`], [`Error::PageToken`]
    pub(crate) fn static_entitlements(
        &self,
        type_id: &str,
        request: PageRequest<'_>,
    ) -> Result<AnswerPage<Vec<Entitlement>>, Error> {
        self.syncer(type_id)?;
        listed(&Listing::new("ListStaticEntitlements", &[type_id]), request, Vec::new())
    }

    /// The grants on a resource: the current ones, or for a sync, those in its snapshot. A deleted resource
    /// has no grants.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::MalformedId`], [`Error::WrongParent`],
    /// [`Error::ResourceTooLarge`], [`Error::PageToken`], [`Error::Database`]
    pub(crate) async fn grants(
        &self,
        resource: Option<&Resource>,
        sync: &str,
        request: PageRequest<'_>,
    ) -> Result<AnswerPage<GrantList>, Error> {
        let on = Identified::of(resource)?;
        let syncer = self.syncer(&on.id.resource_type)?;
        syncer.parent(on.resource.parent_resource_id.as_ref())?;
        let listing = self.listing("ListGrants", &[&on.id.resource_type, &on.id.resource], None);
        let bounds = request.bounds(&listing)?;
        syncer.check(&on)?;
        let source = self.snapshots.source(sync).await?;
        syncer.grants(&self.context, &source, &on, &bounds).await
    }

    /// Ends a sync and releases its snapshot.
    pub(crate) fn cleanup(&self, sync: &str) {
        self.snapshots.end(sync);
    }

    /// Checks that changes are allowed (decision provisioning-gate).
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`]
    fn gate(&self) -> Result<(), Error> {
        if self.provisioning { Ok(()) } else { Err(Error::ProvisioningDisabled) }
    }

    /// Whether all changes are refused. The server then decodes only what their record contains.
    pub(crate) fn changes_are_off(&self) -> bool {
        !self.provisioning
    }

    fn syncer(&self, type_id: &str) -> Result<&dyn ResourceSyncer, Error> {
        let known = ResourceKind::from_type_id(type_id)
            .and_then(|kind| self.syncers.iter().find(|syncer| syncer.kind() == kind));
        known.map(Box::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.context.kinds.iter().map(|kind| kind.type_id()).collect();
            Error::UnknownResourceType { given: type_id.into(), known: known.join(", ") }
        })
    }

    /// A listing whose rows depend on the parent and on whether disabled users are left out.
    fn listing(&self, method: &str, parts: &[&str], parent: Option<&ResourceId>) -> Listing {
        let parent = parent.map(|id| [id.resource_type.as_str(), id.resource.as_str()]);
        let users = match self.context.users {
            Users::EnabledOnly => "enabled only",
            Users::All => "all users",
        };
        let parts: Vec<&str> =
            parts.iter().copied().chain(parent.into_iter().flatten()).chain([users]).collect();
        Listing::new(method, &parts)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("kinds", &self.context.kinds).finish_non_exhaustive()
    }
}

/// Snapshots of the data in the scope of the database.
fn snapshots(database: &Arc<Database>, users: Users, most_mib: u32) -> Snapshots {
    const MIB: usize = 1024 * 1024;
    let database = Arc::clone(database);
    let reader: Reader = Box::new(move |most_bytes| {
        let database = Arc::clone(&database);
        let limits = snapshot::Limits { names: MANAGED_GROUPS, users, most_bytes };
        async move { snapshot::read(&database, limits).await }.boxed()
    });
    let most_mib = usize::try_from(most_mib).unwrap_or(usize::MAX);
    Snapshots::new(reader, most_mib.saturating_mul(MIB))
}

/// Pages through a list in memory.
fn listed<M: prost::Message>(
    listing: &Listing,
    request: PageRequest<'_>,
    items: Vec<M>,
) -> Result<AnswerPage<Vec<M>>, Error> {
    let bounds = request.bounds(listing)?;
    let rows: Vec<(u32, M)> = (0..).zip(items).skip_while(|(index, _)| *index < bounds.start.key).collect();
    let at = |row: &(u32, M)| Position { key: row.0, ordinal: 0 };
    Ok(paging::fill(&bounds, rows, i64::MAX, at, |(_, item)| item))
}

//! Baton's view of Retool: resource types, resources, entitlements and grants.
//!
//! A resource type is one file that implements `ResourceSyncer`, listed once in [`Connector::new`].

mod accounts;
pub(crate) mod actions;
pub mod audit;
pub mod database_message;
mod entitlements;
pub mod error;
pub mod ids;
mod metadata;
pub mod page_token;
pub mod paging;
mod provisioning;
mod rate_limit;
mod resource_type;
mod text;
mod types;
mod unsupported;
mod validate;

use std::sync::Arc;

use actions::runs::Runs;
use error::Error;
use ids::ResourceKind;
use page_token::{Listing, Position};
use paging::{Page, PageRequest};
use resource_type::{Identified, ResourceSyncer};

use crate::proto::connector::{ConnectorMetadata, Entitlement, Resource, ResourceId, ResourceType};
use crate::proto::grants::GrantList;
use crate::retool::access::AccessLevel;
use crate::retool::api::Api;
use crate::retool::database::Database;
use crate::retool::id::OrganizationId;
use crate::retool::transaction::Mode;

/// What a configuration leaves out or turns on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// No pages, and no grants on them.
    pub skip_pages: bool,
    /// No resources, and no grants on them.
    pub skip_resources: bool,
    /// No disabled users, neither as resources nor as principals.
    pub skip_disabled_users: bool,
    /// Changes are allowed.
    pub provisioning: bool,
    /// Changes are described and not made.
    pub dry_run: bool,
    /// Single users are given access to pages, through groups that are made for it.
    pub managed_groups: bool,
    /// Tickets are asked for.
    pub ticketing: bool,
}

/// The connector: everything that the server answers comes from here.
pub struct Connector {
    context: Arc<Context>,
    runs: Arc<Runs>,
    syncers: Vec<Box<dyn ResourceSyncer>>,
    provisioning: bool,
    ticketing: bool,
}

/// What every resource type works with.
pub(crate) struct Context {
    database: Arc<Database>,
    /// Retool's REST API, where it is set up.
    api: Option<Arc<Api>>,
    /// Held alone by whoever is about to disable one of several administrators, and together by whoever takes
    /// administrators out of their group: each looks at who is left.
    disabling_admin: tokio::sync::RwLock<()>,
    kinds: Vec<ResourceKind>,
    skip_disabled_users: bool,
    dry_run: bool,
    managed_groups: bool,
}

impl Context {
    /// Retool's REST API.
    fn api(&self) -> Result<&Api, Error> {
        self.api.as_deref().ok_or(Error::NoRest)
    }

    /// The resource types of this configuration in their order.
    fn kinds(&self) -> impl Iterator<Item = ResourceKind> {
        self.kinds.iter().copied()
    }

    /// Whether changes are made or only described.
    fn mode(&self) -> Mode {
        if self.dry_run { Mode::DryRun } else { Mode::Real }
    }

    /// The organization that a listing's parent names; `None` without a parent.
    fn parent(
        &self,
        kind: ResourceKind,
        parent: Option<&ResourceId>,
    ) -> Result<Option<OrganizationId>, Error> {
        match parent {
            Some(id) if id.resource_type != ResourceKind::Organization.type_id() => {
                Err(Error::WrongParent { kind, given: id.resource_type.as_str().into() })
            }
            Some(id) => ids::parse(id).map(Some),
            None => Ok(None),
        }
    }
}

impl Connector {
    /// A connector to this database and, where it is set up, Retool's REST API.
    pub fn new(database: Arc<Database>, api: Option<Arc<Api>>, options: Options) -> Self {
        let mut syncers: Vec<Box<dyn ResourceSyncer>> = vec![
            Box::new(types::organization::OrganizationSyncer),
            Box::new(types::user::UserSyncer),
            Box::new(types::group::GroupSyncer),
            Box::new(types::page::PageSyncer),
            Box::new(types::resource::ResourceTypeSyncer),
        ];
        syncers.retain(|syncer| match syncer.kind() {
            ResourceKind::Page => !options.skip_pages,
            ResourceKind::Resource => !options.skip_resources,
            ResourceKind::Organization | ResourceKind::User | ResourceKind::Group => true,
        });
        let kinds = syncers.iter().map(|syncer| syncer.kind()).collect();
        let context = Context {
            database,
            api,
            disabling_admin: tokio::sync::RwLock::default(),
            kinds,
            skip_disabled_users: options.skip_disabled_users,
            dry_run: options.dry_run,
            managed_groups: options.managed_groups,
        };
        Self {
            context: Arc::new(context),
            runs: Arc::default(),
            syncers,
            provisioning: options.provisioning,
            ticketing: options.ticketing,
        }
    }

    /// Name, capabilities and account schema; known without asking the database.
    pub fn metadata(&self) -> ConnectorMetadata {
        metadata::metadata(&self.syncers)
    }

    /// Whether the database can be reached and the role may read what this configuration needs.
    ///
    /// # Errors
    /// [`Error::Database`]
    pub async fn validate_once(&self) -> Result<(), Error> {
        self.context.database.check().await?;
        Ok(())
    }

    /// The resource types, always in the same order.
    ///
    /// # Errors
    /// [`Error::PageToken`]
    pub fn resource_types(&self, request: PageRequest<'_>) -> Result<Page<Vec<ResourceType>>, Error> {
        let listing = Listing::new("ListResourceTypes", &[]);
        let types = self.syncers.iter().map(|syncer| syncer.describe()).collect();
        listed(&listing, request, types)
    }

    /// Resources of a type below a parent.
    ///
    /// # Errors
    /// [`Error::UnknownResourceType`], [`Error::WrongParent`], [`Error::MalformedId`],
    /// [`Error::PageToken`], [`Error::Database`]
    pub async fn resources(
        &self,
        type_id: &str,
        parent: Option<&ResourceId>,
        request: PageRequest<'_>,
    ) -> Result<Page<Vec<Resource>>, Error> {
        let syncer = self.syncer(type_id)?;
        let listing = self.listing("ListResources", &[type_id], parent);
        syncer.list(&self.context, parent, &request.bounds(&listing)?).await
    }

    /// One resource, as its listing has it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, also below the parent that the caller names;
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::WrongParent`],
    /// [`Error::MalformedId`], [`Error::Database`]
    pub async fn resource(
        &self,
        id: Option<&ResourceId>,
        parent: Option<&ResourceId>,
    ) -> Result<Resource, Error> {
        let id = id.ok_or(Error::Missing { field: "resource_id" })?;
        let syncer = self.syncer(&id.resource_type)?;
        let kind = syncer.kind();
        let parent = match kind {
            ResourceKind::Organization => None,
            _ => self.context.parent(kind, parent)?,
        };
        let below_parent = |resource: &Resource| match parent {
            Some(parent) => resource.parent_resource_id.as_ref() == Some(&ids::resource_id(parent)),
            None => true,
        };
        let found = syncer.get(&self.context, id).await?.filter(below_parent);
        found.ok_or_else(|| Error::NotFound { kind, given: id.resource.as_str().into() })
    }

    /// What can be granted on a resource, which need not exist.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::MalformedId`],
    /// [`Error::ResourceTooLarge`], [`Error::PageToken`]
    pub fn entitlements(
        &self,
        resource: Option<&Resource>,
        request: PageRequest<'_>,
    ) -> Result<Page<Vec<Entitlement>>, Error> {
        let on = Identified::of(resource)?;
        let syncer = self.syncer(&on.id.resource_type)?;
        paging::check_size(on.resource)?;
        let listing = Listing::new("ListEntitlements", &[&on.id.resource_type, &on.id.resource]);
        listed(&listing, request, syncer.entitlements(&on)?)
    }

    /// Entitlements that every resource of a type has alike: there are none, since their names contain
    /// the resource's.
    ///
    /// # Errors
    /// [`Error::UnknownResourceType`], [`Error::PageToken`]
    pub fn static_entitlements(
        &self,
        type_id: &str,
        request: PageRequest<'_>,
    ) -> Result<Page<Vec<Entitlement>>, Error> {
        self.syncer(type_id)?;
        listed(&Listing::new("ListStaticEntitlements", &[type_id]), request, Vec::new())
    }

    /// Who has what on a resource; nobody has anything on one that is gone.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownResourceType`], [`Error::MalformedId`],
    /// [`Error::WrongParent`], [`Error::ResourceTooLarge`], [`Error::PageToken`], [`Error::Database`]
    pub async fn grants(
        &self,
        resource: Option<&Resource>,
        request: PageRequest<'_>,
    ) -> Result<Page<GrantList>, Error> {
        let on = Identified::of(resource)?;
        let syncer = self.syncer(&on.id.resource_type)?;
        if syncer.kind() != ResourceKind::Organization {
            self.context.parent(syncer.kind(), on.resource.parent_resource_id.as_ref())?;
        }
        let listing = self.listing("ListGrants", &[&on.id.resource_type, &on.id.resource], None);
        syncer.grants(&self.context, &on, &request.bounds(&listing)?).await
    }

    /// Whether changes are allowed here.
    ///
    /// # Errors
    /// [`Error::ProvisioningDisabled`]
    fn gate(&self) -> Result<(), Error> {
        if self.provisioning { Ok(()) } else { Err(Error::ProvisioningDisabled) }
    }

    fn syncer(&self, type_id: &str) -> Result<&dyn ResourceSyncer, Error> {
        let known = ResourceKind::from_type_id(type_id)
            .and_then(|kind| self.syncers.iter().find(|syncer| syncer.kind() == kind));
        known.map(Box::as_ref).ok_or_else(|| {
            let known: Vec<_> = self.context.kinds().map(ResourceKind::type_id).collect();
            Error::UnknownResourceType { given: type_id.into(), known: known.join(", ") }
        })
    }

    /// A listing whose rows depend on the parent and on whether disabled users are left out.
    fn listing(&self, method: &str, parts: &[&str], parent: Option<&ResourceId>) -> Listing {
        let parent = parent.map(|id| [id.resource_type.as_str(), id.resource.as_str()]);
        let disabled = if self.context.skip_disabled_users { "enabled only" } else { "all users" };
        let parts: Vec<&str> =
            parts.iter().copied().chain(parent.into_iter().flatten()).chain([disabled]).collect();
        Listing::new(method, &parts)
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").field("kinds", &self.context.kinds).finish_non_exhaustive()
    }
}

/// Retool's words for a level (spec, levels).
struct Word {
    lower: &'static str,
    title: &'static str,
}

fn word(level: AccessLevel) -> Word {
    match level {
        AccessLevel::Read => Word { lower: "use", title: "Use" },
        AccessLevel::Write => Word { lower: "edit", title: "Edit" },
        AccessLevel::Own => Word { lower: "own", title: "Own" },
    }
}

/// Pages through what is already there.
fn listed<M: prost::Message>(
    listing: &Listing,
    request: PageRequest<'_>,
    items: Vec<M>,
) -> Result<Page<Vec<M>>, Error> {
    let bounds = request.bounds(listing)?;
    let rows: Vec<(u32, M)> = (0..).zip(items).skip_while(|(index, _)| *index < bounds.start.key).collect();
    let at = |row: &(u32, M)| Position { key: row.0, ordinal: 0 };
    Ok(paging::page(&bounds, rows, i64::MAX, at, |(_, item)| item))
}

//! What each resource type answers.

use crate::connector::Context;
use crate::connector::error::Error;
use crate::connector::ids::ResourceKind;
use crate::connector::paging::{Page, PageBounds};
use crate::connector::provisioning::{self, Asked, Granted, Revoked};
use crate::proto::connector::{Capability, Entitlement, Resource, ResourceId, ResourceType};
use crate::proto::grants::GrantList;

/// A resource as a caller embeds it in a request, with its id.
pub(super) struct Identified<'a> {
    pub(super) resource: &'a Resource,
    pub(super) id: &'a ResourceId,
}

impl<'a> Identified<'a> {
    /// The resource of a request.
    ///
    /// # Errors
    /// [`Error::Missing`]
    pub(super) fn of(resource: Option<&'a Resource>) -> Result<Self, Error> {
        let resource = resource.ok_or(Error::Missing { field: "resource" })?;
        let id = resource.id.as_ref().ok_or(Error::Missing { field: "resource.id" })?;
        Ok(Self { resource, id })
    }
}

/// One resource type. All answer the same questions.
#[tonic::async_trait]
pub(super) trait ResourceSyncer: Send + Sync {
    /// Which type.
    fn kind(&self) -> ResourceKind;

    /// The type itself.
    fn describe(&self) -> ResourceType;

    /// What can be done with it (spec 2.5). Targeted sync is GetResource, which the former program lacked
    /// (D59).
    fn capabilities(&self) -> &'static [Capability];

    /// Resources below `parent`.
    async fn list(
        &self,
        context: &Context,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<Vec<Resource>>, Error>;

    /// One resource, the same as the listing has it; `None` when there is none.
    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error>;

    /// What can be granted on the resource; known without asking the database.
    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error>;

    /// Who has what on the resource; nothing for a resource that is gone.
    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error>;

    /// Gives an entitlement on such a resource to a principal.
    /// Nothing can be granted on types that do not say otherwise (spec 2.3).
    async fn grant(&self, _context: &Context, _asked: &Asked<'_>) -> Result<Granted, Error> {
        Err(Error::NotImplemented { what: provisioning::NOTHING_TO_GRANT })
    }

    /// Takes it away again.
    async fn revoke(&self, _context: &Context, _asked: &Asked<'_>) -> Result<Revoked, Error> {
        Err(Error::NotImplemented { what: provisioning::NOTHING_TO_GRANT })
    }
}

//! What a resource type is made of, and how requests are answered with it.
//!
//! A type implements [`ResourceType`]: its rows, its words and its changes. [`ResourceSyncer`] answers the requests
//! of the protocol, in the same way for all types.

use std::convert::Infallible;
use std::ops::ControlFlow;

use crate::connector::change::answer::ChangeAnswer;
use crate::connector::change::request::ChangeRequest;
use crate::connector::context::Context;
use crate::connector::entitlement_words::EntitlementWords;
use crate::connector::error::Error;
use crate::connector::identified::Identified;
use crate::connector::ids::{self, EntitlementId};
use crate::connector::page_token::Position;
use crate::connector::paging::{self, AnswerPage, GrantPage, PageBounds};
use crate::connector::resource_kind::{Identity, ResourceKind};
use crate::proto::connector::{self as proto, Capability, Entitlement, Resource, ResourceId};
use crate::proto::grants::{GrantList, GrantParts};
use crate::retool::id::OrganizationId;
use crate::retool::tables::Page;

/// Why there is nothing to grant on some resource types, as the end of a sentence.
pub(crate) const NOTHING_TO_GRANT: &str = "what can be granted here are entitlements on groups and pages; access to other resources follows from groups";

/// Whether resources of a type lie in an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// They do not; a parent in a request is ignored.
    None,
    /// They can. Without a parent a request lists those that do not.
    Optional,
    /// They do. Without a parent a request lists nothing.
    Required,
}

/// A resource type.
#[tonic::async_trait]
pub(crate) trait ResourceType: Send + Sync {
    /// The primary key of the table.
    type Key: Identity;
    /// A row of the table.
    type Row: Send;
    /// What tells the entitlements on one resource apart; [`Infallible`] when there are none.
    type Entitlement: Copy + Send + Sync + 'static;
    /// Somebody who has something on a resource; [`Infallible`] when there are no entitlements.
    type Holder: Holder<Self::Entitlement>;

    /// See [`Parent`].
    const PARENT: Parent;
    /// About how many bytes a resource takes in an answer.
    const RESOURCE_BYTES: usize;
    /// About how many bytes the annotations of a grant take in an answer.
    const ANNOTATION_BYTES: usize = 0;
    /// Every entitlement on a resource, in their order, which page tokens depend on.
    const ENTITLEMENTS: &'static [Self::Entitlement];
    /// Whether a holder has one grant only, so that page tokens do not count the entitlements.
    const ONE_GRANT_PER_HOLDER: bool = false;

    /// The type itself.
    fn describe(&self) -> proto::ResourceType;

    /// What can be done with it. Targeted sync is GetResource.
    fn capabilities(&self) -> &'static [Capability];

    /// Rows below the parent by key, as many as the page allows.
    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<Self::Row>, Error>;

    /// One row; `None` when there is none that a listing would have.
    async fn row(&self, context: &Context, key: Self::Key) -> Result<Option<Self::Row>, Error>;

    /// The key of a row.
    fn key(&self, row: &Self::Row) -> Self::Key;

    /// The resource that a row is.
    fn resource(&self, context: &Context, row: &Self::Row) -> Resource;

    /// The id of an entitlement on the resource with this key.
    fn entitlement_id(&self, key: Self::Key, entitlement: Self::Entitlement) -> EntitlementId;

    /// The words of an entitlement.
    fn words(&self, entitlement: Self::Entitlement) -> EntitlementWords;

    /// Those who have something on a resource in [their order](Holder::order), as many as the page allows.
    async fn holders(
        &self,
        context: &Context,
        key: Self::Key,
        page: Page,
    ) -> Result<Vec<Self::Holder>, Error>;

    /// Gives an entitlement to a principal.
    async fn grant(&self, _context: &Context, _request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        Err(Error::NotImplemented { what: NOTHING_TO_GRANT })
    }

    /// Takes an entitlement away.
    async fn revoke(&self, _context: &Context, _request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        Err(Error::NotImplemented { what: NOTHING_TO_GRANT })
    }
}

/// Somebody who has entitlements on a resource.
pub(crate) trait Holder<E>: Send + Sync {
    /// Where the holder stands in the listing. Each holder has a number of its own.
    fn order(&self) -> u32;

    /// The holder as a principal.
    fn principal(&self) -> ResourceId;

    /// The encoded annotations of the grant of this entitlement; `None` when the holder does not have it.
    fn grant_annotations(&self, entitlement: E) -> Option<&[u8]>;
}

impl<E> Holder<E> for Infallible {
    fn order(&self) -> u32 {
        match *self {}
    }

    fn principal(&self) -> ResourceId {
        match *self {}
    }

    fn grant_annotations(&self, _: E) -> Option<&[u8]> {
        match *self {}
    }
}

/// The requests of the protocol, answered by any [`ResourceType`].
#[tonic::async_trait]
pub(crate) trait ResourceSyncer: Send + Sync {
    /// Which type.
    fn kind(&self) -> ResourceKind;

    /// The type itself.
    fn describe(&self) -> proto::ResourceType;

    /// What can be done with it.
    fn capabilities(&self) -> &'static [Capability];

    /// The organization that a request names as parent; `None` where the type has none, or the request.
    ///
    /// # Errors
    /// [`Error::WrongParent`], [`Error::MalformedId`]
    fn parent(&self, parent: Option<&ResourceId>) -> Result<Option<OrganizationId>, Error>;

    /// Resources below the parent.
    async fn list(
        &self,
        context: &Context,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<Vec<Resource>>, Error>;

    /// One resource, the same as the listing has it; `None` when there is none.
    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error>;

    /// What can be granted on the resource; known without asking the database.
    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error>;

    /// Who has what on the resource; nothing for a resource that does not exist.
    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<GrantList>, Error>;

    /// Gives an entitlement to a principal.
    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error>;

    /// Takes an entitlement away.
    async fn revoke(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error>;
}

#[tonic::async_trait]
impl<T: ResourceType> ResourceSyncer for T {
    fn kind(&self) -> ResourceKind {
        T::Key::KIND
    }

    fn describe(&self) -> proto::ResourceType {
        ResourceType::describe(self)
    }

    fn capabilities(&self) -> &'static [Capability] {
        ResourceType::capabilities(self)
    }

    fn parent(&self, parent: Option<&ResourceId>) -> Result<Option<OrganizationId>, Error> {
        match parent {
            None => Ok(None),
            Some(_) if T::PARENT == Parent::None => Ok(None),
            Some(id) if id.resource_type != ResourceKind::Organization.type_id() => {
                Err(Error::WrongParent { kind: T::Key::KIND, given: id.resource_type.as_str().into() })
            }
            Some(id) => ids::parse(id).map(Some),
        }
    }

    async fn list(
        &self,
        context: &Context,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<Vec<Resource>>, Error> {
        let parent = self.parent(parent)?;
        if parent.is_none() && T::PARENT == Parent::Required {
            return Ok(AnswerPage::empty());
        }
        let page = bounds.page(T::RESOURCE_BYTES);
        let rows = self.rows(context, parent, page).await?;
        let position = |row: &T::Row| Position { key: self.key(row).number(), ordinal: 0 };
        Ok(paging::fill(bounds, rows, page.limit, position, |row| self.resource(context, &row)))
    }

    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error> {
        let row = self.row(context, ids::parse(id)?).await?;
        Ok(row.map(|row| self.resource(context, &row)))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        let key: T::Key = ids::parse(on.id)?;
        let on_resource = |entitlement: &T::Entitlement| {
            let id = self.entitlement_id(key, *entitlement).to_string();
            self.words(*entitlement).on(on.resource, id)
        };
        Ok(T::ENTITLEMENTS.iter().map(on_resource).collect())
    }

    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<GrantList>, Error> {
        let key: T::Key = ids::parse(on.id)?;
        if T::ENTITLEMENTS.is_empty() {
            return Ok(AnswerPage::empty());
        }
        let mut answer = GrantPage::new(bounds, on.resource)?;
        let page = bounds.page(GrantPage::grant_bytes(on.resource) + T::ANNOTATION_BYTES);
        let holders = self.holders(context, key, page).await?;
        let named = |entitlement: &T::Entitlement| {
            let id = self.entitlement_id(key, *entitlement);
            (*entitlement, id, id.to_string())
        };
        let entitlements: Vec<_> = T::ENTITLEMENTS.iter().map(named).collect();
        let outcome = holders.iter().try_for_each(|holder| {
            let principal = holder.principal();
            (0..).zip(&entitlements).try_for_each(|(index, (entitlement, id, entitlement_id))| {
                let Some(annotations) = holder.grant_annotations(*entitlement) else {
                    return ControlFlow::Continue(());
                };
                let ordinal = if T::ONE_GRANT_PER_HOLDER { 0 } else { index };
                answer.push(
                    Position { key: holder.order(), ordinal },
                    GrantParts {
                        id: &id.grant_id(entitlement_id, &principal),
                        entitlement_id,
                        principal_type: &principal.resource_type,
                        principal_id: &principal.resource,
                        annotations,
                    },
                )
            })
        });
        Ok(answer.finish(outcome, paging::last_key(&holders, page.limit, Holder::order)))
    }

    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        ResourceType::grant(self, context, request).await
    }

    async fn revoke(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        ResourceType::revoke(self, context, request).await
    }
}

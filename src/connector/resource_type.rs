//! The parts of a resource type, and how they serve requests.
//!
//! A type implements [`ResourceType`]: its rows, its texts and its changes. [`ResourceSyncer`] serves the
//! requests of the protocol in the same way for all types.

use std::ops::ControlFlow;

use crate::connector::change::answer::ChangeAnswer;
use crate::connector::change::request::ChangeRequest;
use crate::connector::context::Context;
use crate::connector::entitlement_words::EntitlementWords;
use crate::connector::error::Error;
use crate::connector::grant_writer::GrantWriter;
use crate::connector::holder::Holder;
use crate::connector::identified::Identified;
use crate::connector::ids::{self, EntitlementId};
use crate::connector::page_token::Position;
use crate::connector::paging::{self, AnswerPage, GrantPage, PageBounds};
use crate::connector::resource_kind::{Identity, ResourceKind};
use crate::connector::snapshots::Source;
use crate::proto::connector::{self as proto, Capability, Entitlement, Resource, ResourceId};
use crate::proto::grants::GrantList;
use crate::retool::id::OrganizationId;
use crate::retool::snapshot::{Listed, Snapshot, Table};
use crate::retool::tables::Page;

/// Why some resource types have no grantable entitlements, as the end of a sentence.
pub(crate) const NOTHING_TO_GRANT: &str =
    "only entitlements on groups and pages can be granted; access to other resources comes from groups";

/// Whether resources of a type belong to an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// They do not; a parent in a request is ignored.
    None,
    /// They can. A request without a parent lists resources without an organization.
    Optional,
    /// They always do. A request without a parent lists nothing.
    Required,
}

/// A resource type.
#[tonic::async_trait]
pub(crate) trait ResourceType: Send + Sync {
    /// The primary key of the table.
    type Key: Identity;
    /// A row of the table.
    type Row: Send;
    /// Distinguishes the entitlements on one resource; [`Infallible`](std::convert::Infallible) if there are
    /// none.
    type Entitlement: Copy + Send + Sync + 'static;
    /// A holder of entitlements on a resource; [`Infallible`](std::convert::Infallible) if there are none.
    type Holder: Holder<Self::Entitlement>;

    /// See [`Parent`].
    const PARENT: Parent;
    /// Approximate size of a resource in an answer, in bytes.
    const RESOURCE_BYTES: usize;
    /// Approximate size of a grant's annotations in an answer, in bytes.
    const ANNOTATION_BYTES: usize = 0;
    /// Every entitlement on a resource. Page tokens depend on the order.
    const ENTITLEMENTS: &'static [Self::Entitlement];
    /// The table's name in snapshots of access.
    const TABLE: Table;
    /// Whether a holder has only one grant, so that page tokens do not count the entitlements.
    const ONE_GRANT_PER_HOLDER: bool = false;

    /// The description of the type.
    fn describe(&self) -> proto::ResourceType;

    /// The type's capabilities. Targeted sync means GetResource.
    fn capabilities(&self) -> &'static [Capability];

    /// Rows of the parent by key, as many as the page allows.
    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<Self::Row>, Error>;

    /// One row; `None` if no listing would contain it.
    async fn row(&self, context: &Context, key: Self::Key) -> Result<Option<Self::Row>, Error>;

    /// The key of a row.
    fn key(&self, row: &Self::Row) -> Self::Key;

    /// The resource for a row.
    fn resource(&self, context: &Context, row: &Self::Row) -> Resource;

    /// The id of an entitlement on the resource with this key.
    fn entitlement_id(&self, key: Self::Key, entitlement: Self::Entitlement) -> EntitlementId;

    /// The names of an entitlement.
    fn words(&self, entitlement: Self::Entitlement) -> EntitlementWords;

    /// The holders of entitlements on a resource in [their order](Holder::order), as many as the page allows.
    async fn holders(
        &self,
        context: &Context,
        key: Self::Key,
        page: Page,
    ) -> Result<Vec<Self::Holder>, Error>;

    /// The same holders from a snapshot, from position `from` in their order on until `each` breaks.
    fn holders_in<B>(
        &self,
        snapshot: &Snapshot,
        key: Self::Key,
        from: u32,
        each: impl FnMut(&Self::Holder) -> ControlFlow<B>,
    ) -> ControlFlow<B>;

    /// Grants an entitlement to a principal.
    async fn grant(&self, _context: &Context, _request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        Err(Error::NotImplemented { what: NOTHING_TO_GRANT })
    }

    /// Revokes an entitlement.
    async fn revoke(&self, _context: &Context, _request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        Err(Error::NotImplemented { what: NOTHING_TO_GRANT })
    }
}

/// The requests of the protocol, implemented for every [`ResourceType`].
#[tonic::async_trait]
pub(crate) trait ResourceSyncer: Send + Sync {
    /// The kind of the type.
    fn kind(&self) -> ResourceKind;

    /// The description of the type.
    fn describe(&self) -> proto::ResourceType;

    /// The type's capabilities.
    fn capabilities(&self) -> &'static [Capability];

    /// The organization that a request names as parent; `None` if the type has no parent or the request names
    /// none.
    ///
    /// # Errors
    /// [`Error::WrongParent`], [`Error::MalformedId`]
    fn parent(&self, parent: Option<&ResourceId>) -> Result<Option<OrganizationId>, Error>;

    /// Verifies that the resource has this type.
    ///
    /// # Errors
    /// [`Error::MalformedId`]
    fn check(&self, on: &Identified<'_>) -> Result<(), Error>;

    /// Resources of the parent. With a snapshot, resources missing from it are left out, because the snapshot
    /// has no grants on them.
    async fn list(
        &self,
        context: &Context,
        source: &Source,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<Vec<Resource>>, Error>;

    /// One resource, as the listing shows it; `None` if it does not exist.
    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error>;

    /// The entitlements on the resource. Needs no database access.
    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error>;

    /// The grants on the resource; empty if the resource does not exist.
    async fn grants(
        &self,
        context: &Context,
        source: &Source,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<GrantList>, Error>;

    /// Grants an entitlement to a principal.
    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error>;

    /// Revokes an entitlement.
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

    fn check(&self, on: &Identified<'_>) -> Result<(), Error> {
        ids::parse::<T::Key>(on.id).map(drop)
    }

    async fn list(
        &self,
        context: &Context,
        source: &Source,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<Vec<Resource>>, Error> {
        let parent = self.parent(parent)?;
        if parent.is_none() && T::PARENT == Parent::Required {
            return Ok(AnswerPage::empty());
        }
        let page = bounds.page(T::RESOURCE_BYTES);
        let rows = match source {
            Source::Statements => self.rows(context, parent, page).await?,
            Source::Snapshot(snapshot) => rows_of(self, context, snapshot, parent, page).await?,
        };
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
        source: &Source,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<AnswerPage<GrantList>, Error> {
        let key: T::Key = ids::parse(on.id)?;
        if T::ENTITLEMENTS.is_empty() {
            return Ok(AnswerPage::empty());
        }
        let answer = GrantPage::new(bounds, on.resource)?;
        let named = |(index, entitlement): (u8, &T::Entitlement)| {
            let ordinal = if T::ONE_GRANT_PER_HOLDER { 0 } else { index };
            (*entitlement, ordinal, self.entitlement_id(key, *entitlement))
        };
        let mut writer = GrantWriter::new(answer, (0..).zip(T::ENTITLEMENTS).map(named));
        match source {
            Source::Snapshot(snapshot) => {
                let outcome = self.holders_in(snapshot, key, bounds.start.key, |holder| writer.write(holder));
                Ok(writer.finish(outcome, None))
            }
            Source::Statements => {
                let page = bounds.page(GrantPage::grant_bytes(on.resource) + T::ANNOTATION_BYTES);
                let holders = self.holders(context, key, page).await?;
                let outcome = holders.iter().try_for_each(|holder| writer.write(holder));
                Ok(writer.finish(outcome, paging::last_key(&holders, page.limit, Holder::order)))
            }
        }
    }

    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        ResourceType::grant(self, context, request).await
    }

    async fn revoke(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        ResourceType::revoke(self, context, request).await
    }
}

/// The rows of a page that the snapshot contains. Also records in the snapshot which of its rows no longer
/// exist.
async fn rows_of<T: ResourceType>(
    of: &T,
    context: &Context,
    snapshot: &Snapshot,
    parent: Option<OrganizationId>,
    page: Page,
) -> Result<Vec<T::Row>, Error> {
    let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut from = page.from;
    let mut kept = Vec::new();
    loop {
        let rows = of.rows(context, parent, Page { from, limit: page.limit }).await?;
        let keys: Vec<u32> = rows.iter().map(|row| of.key(row).number()).collect();
        let last = keys.last().copied().filter(|_| keys.len() >= wanted);
        snapshot.note(&Listed {
            table: T::TABLE,
            parent,
            from: u32::try_from(from).unwrap_or(u32::MAX),
            to: last.unwrap_or(u32::MAX),
            keys: &keys,
        });
        kept.extend(rows.into_iter().filter(|row| snapshot.has(T::TABLE, of.key(row).number())));
        match last {
            Some(last) if kept.len() < wanted => from = i64::from(last) + 1,
            _ => break,
        }
    }
    kept.truncate(wanted);
    Ok(kept)
}

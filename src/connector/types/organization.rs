//! The resource type `org`: a row of `organizations`.

use std::ops::ControlFlow;

use crate::connector::context::Context;
use crate::connector::entitlement_words::{EntitlementWords, Purpose};
use crate::connector::error::Error;
use crate::connector::holder::Holder;
use crate::connector::ids::{EntitlementId, resource_id};
use crate::connector::resource_kind::{Identity, ResourceKind, Spelled};
use crate::connector::resource_type::{Parent, ResourceType};
use crate::connector::text::named;
use crate::connector::types::user;
use crate::proto::any;
use crate::proto::connector::{self as proto, Capability, ChildResourceType, Resource};
use crate::retool::id::OrganizationId;
use crate::retool::snapshot::{Snapshot, Table};
use crate::retool::tables::Page;
use crate::retool::tables::organizations::{self, Organization, Right};

/// The resource type; see the module.
pub(crate) struct Organizations;

/// Slug and names of an entitlement. Slugs use Retool's terms for levels, ids the database's terms.
fn words(right: Right) -> EntitlementWords {
    let (slug, name, description) = match right {
        Right::Member => ("member", "Organization Member", "Is member of"),
        Right::UniversalRead => ("universal:use", "Universal Use Access", "Has universal use access on"),
        Right::UniversalWrite => ("universal:edit", "Universal Edit Access", "Has universal edit access on"),
        Right::UniversalOwn => ("universal:own", "Universal Own Access", "Has universal own access on"),
        Right::ResourceRead => {
            ("resource:use", "Universal Resource Use Access", "Has universal resource use access on")
        }
        Right::ResourceWrite => {
            ("resource:edit", "Universal Resource Edit Access", "Has universal resource edit access on")
        }
        Right::ResourceOwn => {
            ("resource:own", "Universal Resource Own Access", "Has universal resource own access on")
        }
        Right::QueryLibraryRead => {
            ("queries:use", "Universal Query Library Use Access", "Has universal query library use access on")
        }
        Right::QueryLibraryWrite => (
            "queries:edit",
            "Universal Query Library Edit Access",
            "Has universal query library edit access on",
        ),
        Right::QueryLibraryOwn => {
            ("queries:own", "Universal Query Library Own Access", "Has universal query library own access on")
        }
        Right::UserList => ("user lists", "User List Access", "Has user list access on"),
        Right::AuditLog => ("audit logs", "Audit Log Access", "Has audit log access on"),
        Right::UnpublishedRelease => {
            ("unpublished releases", "Unpublished Release Access", "Has unpublished release access on")
        }
    };
    EntitlementWords {
        slug: slug.to_owned(),
        display_name: (String::new(), format!(" {name}")),
        description: (format!("{description} the "), " organization".to_owned()),
        purpose: if right == Right::Member { Purpose::Assignment } else { Purpose::Permission },
        grantable_to: user::describe(),
    }
}

impl Holder<Right> for organizations::Holder {
    fn order(&self) -> u32 {
        self.user.get().unsigned_abs()
    }

    fn principal(&self) -> (ResourceKind, u32) {
        (ResourceKind::User, self.user.number())
    }

    fn grant_annotations(&self, entitlement: Right) -> Option<&[u8]> {
        self.rights.contains(entitlement).then_some(&[])
    }
}

#[tonic::async_trait]
impl ResourceType for Organizations {
    type Key = OrganizationId;
    type Row = Organization;
    type Entitlement = Right;
    type Holder = organizations::Holder;

    const PARENT: Parent = Parent::None;
    const TABLE: Table = Table::Organizations;
    const RESOURCE_BYTES: usize = 150;
    const ENTITLEMENTS: &'static [Right] = &Right::ALL;

    fn describe(&self) -> proto::ResourceType {
        proto::ResourceType {
            id: "org".to_owned(),
            display_name: "Organization".to_owned(),
            ..Default::default()
        }
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::TargetedSync]
    }

    async fn rows(
        &self,
        context: &Context,
        _: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<Organization>, Error> {
        Ok(organizations::list(&context.database, page).await?)
    }

    async fn row(&self, context: &Context, key: OrganizationId) -> Result<Option<Organization>, Error> {
        Ok(organizations::get(&context.database, key).await?)
    }

    fn key(&self, row: &Organization) -> OrganizationId {
        row.id
    }

    fn resource(&self, context: &Context, row: &Organization) -> Resource {
        let child = |kind: &ResourceKind| ChildResourceType { resource_type_id: kind.type_id().to_owned() };
        let children = context.kinds.iter().filter(|kind| **kind != ResourceKind::Organization);
        Resource {
            id: Some(resource_id(row.id)),
            display_name: named(&row.name, Spelled(row.id)),
            annotations: children.map(|kind| any(&child(kind))).collect(),
            ..Default::default()
        }
    }

    fn entitlement_id(&self, key: OrganizationId, entitlement: Right) -> EntitlementId {
        EntitlementId::Organization(key, entitlement)
    }

    fn words(&self, entitlement: Right) -> EntitlementWords {
        words(entitlement)
    }

    async fn holders(
        &self,
        context: &Context,
        key: OrganizationId,
        page: Page,
    ) -> Result<Vec<organizations::Holder>, Error> {
        Ok(organizations::holders(&context.database, key, context.users, page).await?)
    }

    fn holders_in<B>(
        &self,
        snapshot: &Snapshot,
        key: OrganizationId,
        from: u32,
        mut each: impl FnMut(&organizations::Holder) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        snapshot.organization_holders(key, from, |holder| each(&holder))
    }
}

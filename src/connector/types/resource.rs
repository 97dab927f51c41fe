//! The resource type `resource`: a row of `resources`, one environment of a data source.

use std::ops::ControlFlow;

use crate::connector::context::Context;
use crate::connector::entitlement_words::{EntitlementWords, Purpose, level_word};
use crate::connector::error::Error;
use crate::connector::holder::Holder;
use crate::connector::ids::{EntitlementId, resource_id};
use crate::connector::resource_kind::{Identity, ResourceKind, Spelled};
use crate::connector::resource_type::{Parent, ResourceType};
use crate::connector::text::{DISPLAY_NAME, fit, named};
use crate::connector::types::user;
use crate::proto::connector::{self as proto, Capability, Resource};
use crate::retool::access::AccessLevel;
use crate::retool::id::{OrganizationId, ResourceId};
use crate::retool::snapshot::{Snapshot, Table};
use crate::retool::tables::Page;
use crate::retool::tables::resources::{self, UserAccess};

/// The resource type; see the module.
pub(crate) struct Resources;

impl Holder<AccessLevel> for UserAccess {
    fn order(&self) -> u32 {
        self.user.get().unsigned_abs()
    }

    fn principal(&self) -> (ResourceKind, u32) {
        (ResourceKind::User, self.user.number())
    }

    /// A user has the highest level and every weaker one: an owner may also edit and use
    /// (decision own-on-resources).
    fn grant_annotations(&self, entitlement: AccessLevel) -> Option<&[u8]> {
        (self.level >= entitlement).then_some(&[])
    }
}

#[tonic::async_trait]
impl ResourceType for Resources {
    type Key = ResourceId;
    type Row = resources::Resource;
    type Entitlement = AccessLevel;
    type Holder = UserAccess;

    const PARENT: Parent = Parent::Required;
    const TABLE: Table = Table::Resources;
    const RESOURCE_BYTES: usize = 80;
    const ENTITLEMENTS: &'static [AccessLevel] = &AccessLevel::ALL;

    fn describe(&self) -> proto::ResourceType {
        proto::ResourceType {
            id: "resource".to_owned(),
            display_name: "Resource".to_owned(),
            ..Default::default()
        }
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::TargetedSync]
    }

    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<resources::Resource>, Error> {
        let Some(organization) = parent else { return Ok(Vec::new()) };
        Ok(resources::list(&context.database, organization, page).await?)
    }

    async fn row(&self, context: &Context, key: ResourceId) -> Result<Option<resources::Resource>, Error> {
        Ok(resources::get(&context.database, key).await?)
    }

    fn key(&self, row: &resources::Resource) -> ResourceId {
        row.id
    }

    fn resource(&self, _: &Context, row: &resources::Resource) -> Resource {
        let name = named(row.display_name.as_ref().unwrap_or(&row.name), Spelled(row.id));
        Resource {
            id: Some(resource_id(row.id)),
            parent_resource_id: Some(resource_id(row.organization)),
            display_name: fit(format!("{name} ({})", row.kind), DISPLAY_NAME),
            ..Default::default()
        }
    }

    fn entitlement_id(&self, key: ResourceId, entitlement: AccessLevel) -> EntitlementId {
        EntitlementId::Resource(key, entitlement)
    }

    fn words(&self, entitlement: AccessLevel) -> EntitlementWords {
        let word = level_word(entitlement);
        EntitlementWords {
            slug: word.lower.to_owned(),
            display_name: (String::new(), format!(" {} Access", word.title)),
            description: (format!("Has {} access on the ", word.lower), " resource".to_owned()),
            purpose: Purpose::Permission,
            grantable_to: user::describe(),
        }
    }

    async fn holders(
        &self,
        context: &Context,
        key: ResourceId,
        page: Page,
    ) -> Result<Vec<UserAccess>, Error> {
        Ok(resources::user_access(&context.database, key, context.users, page).await?)
    }

    fn holders_in<B>(
        &self,
        snapshot: &Snapshot,
        key: ResourceId,
        from: u32,
        mut each: impl FnMut(&UserAccess) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        snapshot.resource_users(key, from, |access| each(&access))
    }
}

//! The resource type `resource`: a row of `resources`, one environment of a data source.

use crate::connector::entitlements::{Purpose, Template, entitlement};
use crate::connector::error::Error;
use crate::connector::ids::{self, ResourceKind, Spelled, bare_grant, resource_entitlement, resource_id};
use crate::connector::page_token::Position;
use crate::connector::paging::{GrantPage, Page, PageBounds, last_key, page};
use crate::connector::text::{DISPLAY_NAME, fit, named};
use crate::connector::types::user;
use crate::connector::{Context, Identified, ResourceSyncer, word};
use crate::proto::connector::{
    Capability, Entitlement, Resource, ResourceId as ProtoResourceId, ResourceType,
};
use crate::proto::grants::{GrantList, GrantParts};
use crate::retool::access::AccessLevel;
use crate::retool::id::ResourceId;
use crate::retool::tables::resources;
use crate::retool::tables::resources::Resource as Row;

/// See the module.
pub(crate) struct ResourceTypeSyncer;

fn describe() -> ResourceType {
    ResourceType { id: "resource".to_owned(), display_name: "Resource".to_owned(), ..Default::default() }
}

fn resource(row: &Row) -> Resource {
    let name = named(row.display_name.as_ref().unwrap_or(&row.name), Spelled(row.id));
    Resource {
        id: Some(resource_id(row.id)),
        parent_resource_id: Some(resource_id(row.organization)),
        display_name: fit(format!("{name} ({})", row.kind), DISPLAY_NAME),
        ..Default::default()
    }
}

fn template(level: AccessLevel) -> Template {
    let word = word(level);
    Template {
        slug: word.lower.to_owned(),
        display_name: (String::new(), format!(" {} Access", word.title)),
        description: (format!("Has {} access on the ", word.lower), " resource".to_owned()),
        purpose: Purpose::Permission,
    }
}

#[tonic::async_trait]
impl ResourceSyncer for ResourceTypeSyncer {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Resource
    }

    fn describe(&self) -> ResourceType {
        describe()
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::TargetedSync]
    }

    async fn list(
        &self,
        context: &Context,
        parent: Option<&ProtoResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<Vec<Resource>>, Error> {
        const ABOUT: usize = 80;
        let Some(organization) = context.parent(self.kind(), parent)? else { return Ok(Page::nothing()) };
        let fetch = bounds.fetch(ABOUT);
        let rows = resources::list(&context.database, organization, bounds.from(), fetch).await?;
        let at = |row: &Row| Position { key: row.id.get().unsigned_abs(), ordinal: 0 };
        Ok(page(bounds, rows, fetch, at, |row| resource(&row)))
    }

    async fn get(&self, context: &Context, id: &ProtoResourceId) -> Result<Option<Resource>, Error> {
        Ok(resources::get(&context.database, ids::parse(id)?).await?.as_ref().map(resource))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        let resource: ResourceId = ids::parse(on.id)?;
        let users = [user::describe()];
        Ok(AccessLevel::ALL
            .into_iter()
            .map(|level| {
                entitlement(on.resource, resource_entitlement(resource, level), &users, template(level))
            })
            .collect())
    }

    /// Each user's highest level and every weaker one: whoever owns may edit and use (decision D42).
    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error> {
        let resource: ResourceId = ids::parse(on.id)?;
        let mut answer = GrantPage::new(bounds, on.resource)?;
        let fetch = bounds.fetch(GrantPage::grant_bytes(on.resource));
        let rows = resources::user_access(
            &context.database,
            resource,
            context.skip_disabled_users,
            bounds.from(),
            fetch,
        )
        .await?;
        let entitlements = AccessLevel::ALL.map(|level| (level, resource_entitlement(resource, level)));
        let outcome = rows.iter().try_for_each(|row| {
            let principal = resource_id(row.user);
            (0..).zip(&entitlements).filter(|(_, (level, _))| row.level >= *level).try_for_each(
                |(ordinal, (_, entitlement_id))| {
                    answer.push(
                        Position { key: row.user.get().unsigned_abs(), ordinal },
                        GrantParts {
                            id: &bare_grant(entitlement_id, row.user),
                            entitlement_id,
                            principal_type: &principal.resource_type,
                            principal_id: &principal.resource,
                            annotations: &[],
                        },
                    )
                },
            )
        });
        Ok(answer.finish(outcome, last_key(&rows, fetch, |row| row.user.get().unsigned_abs())))
    }
}

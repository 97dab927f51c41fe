//! The resource type `org`: a row of `organizations`.

use std::ops::ControlFlow;

use crate::connector::entitlements::{Purpose, Template, entitlement};
use crate::connector::error::Error;
use crate::connector::ids::{self, ResourceKind, Spelled, bare_grant, organization_entitlement, resource_id};
use crate::connector::page_token::Position;
use crate::connector::paging::{GrantPage, Page, PageBounds, last_key, page};
use crate::connector::text::named;
use crate::connector::types::user;
use crate::connector::{Context, Identified, ResourceSyncer};
use crate::proto::any;
use crate::proto::connector::{
    Capability, ChildResourceType, Entitlement, Resource, ResourceId, ResourceType,
};
use crate::proto::grants::{GrantList, GrantParts};
use crate::retool::id::OrganizationId;
use crate::retool::tables::organizations;
use crate::retool::tables::organizations::{Organization, Right};

/// See the module.
pub(crate) struct OrganizationSyncer;

fn describe() -> ResourceType {
    ResourceType { id: "org".to_owned(), display_name: "Organization".to_owned(), ..Default::default() }
}

/// Slug and words of each entitlement (spec 1.5); the slugs say Retool's words, the ids its levels.
fn template(right: Right) -> Template {
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
    Template {
        slug: slug.to_owned(),
        display_name: ("".to_owned(), format!(" {name}")),
        description: (format!("{description} the "), " organization".to_owned()),
        purpose: if right == Right::Member { Purpose::Assignment } else { Purpose::Permission },
    }
}

fn resource(context: &Context, organization: &Organization) -> Resource {
    Resource {
        id: Some(resource_id(organization.id)),
        display_name: named(&organization.name, Spelled(organization.id)),
        annotations: context
            .kinds()
            .filter(|kind| *kind != ResourceKind::Organization)
            .map(|kind| any(&ChildResourceType { resource_type_id: kind.type_id().to_owned() }))
            .collect(),
        ..Default::default()
    }
}

#[tonic::async_trait]
impl ResourceSyncer for OrganizationSyncer {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Organization
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
        _parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<Vec<Resource>>, Error> {
        const ABOUT: usize = 150;
        let fetch = bounds.fetch(ABOUT);
        let rows = organizations::list(&context.database, bounds.from(), fetch).await?;
        let at = |row: &Organization| Position { key: row.id.get().unsigned_abs(), ordinal: 0 };
        Ok(page(bounds, rows, fetch, at, |row| resource(context, &row)))
    }

    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error> {
        let found = organizations::get(&context.database, ids::parse(id)?).await?;
        Ok(found.map(|organization| resource(context, &organization)))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        let organization: OrganizationId = ids::parse(on.id)?;
        let users = [user::describe()];
        Ok(Right::ALL
            .into_iter()
            .map(|right| {
                entitlement(
                    on.resource,
                    organization_entitlement(organization, right),
                    &users,
                    template(right),
                )
            })
            .collect())
    }

    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error> {
        let organization: OrganizationId = ids::parse(on.id)?;
        let mut answer = GrantPage::new(bounds, on.resource)?;
        let fetch = bounds.fetch(GrantPage::grant_bytes(on.resource));
        let enabled_only = context.skip_disabled_users;
        let holders =
            organizations::holders(&context.database, organization, enabled_only, bounds.from(), fetch)
                .await?;
        let entitlements = Right::ALL.map(|right| organization_entitlement(organization, right));
        let outcome = holders.iter().try_for_each(|holder| {
            let principal = resource_id(holder.user);
            holder.rights.iter().try_for_each(|right| {
                let ordinal = right as u8;
                let Some(entitlement_id) = entitlements.get(usize::from(ordinal)) else {
                    return ControlFlow::Continue(());
                };
                answer.push(
                    Position { key: holder.user.get().unsigned_abs(), ordinal },
                    GrantParts {
                        id: &bare_grant(entitlement_id, holder.user),
                        entitlement_id,
                        principal_type: &principal.resource_type,
                        principal_id: &principal.resource,
                        annotations: &[],
                    },
                )
            })
        });
        Ok(answer.finish(outcome, last_key(&holders, fetch, |holder| holder.user.get().unsigned_abs())))
    }
}

//! The resource type `page`: a row of `pages`, which Retool's users call an app.

use super::entitlements::{Purpose, Template, entitlement};
use super::error::Error;
use super::ids::{
    self, GroupRole, PageFamily, ResourceKind, Spelled, group_entitlement, page_entitlement, resource_id,
    typed_grant,
};
use super::page_token::Position;
use super::paging::{GrantPage, Page, PageBounds, last_key, page};
use super::text::named;
use super::{Context, Identified, ResourceSyncer, group, user, word};
use crate::proto::any;
use crate::proto::connector::{
    Capability, Entitlement, GrantExpandable, GrantImmutable, Resource, ResourceId, ResourceType,
};
use crate::proto::grants::{GrantList, GrantParts, encode_grant_annotations};
use crate::retool::access::AccessLevel;
use crate::retool::database::pages::{self, GroupAccess, Page as Row};
use crate::retool::id::{GroupId, PageId};

/// See the module.
pub(super) struct PageSyncer;

fn describe() -> ResourceType {
    ResourceType { id: "page".to_owned(), display_name: "Page".to_owned(), ..Default::default() }
}

fn resource(row: &Row) -> Resource {
    Resource {
        id: Some(resource_id(row.id)),
        parent_resource_id: Some(resource_id(row.organization)),
        display_name: named(&row.name, Spelled(row.id)),
        ..Default::default()
    }
}

/// The entitlements in their order: what groups are given, then what users have by it.
fn entitlements() -> impl Iterator<Item = (PageFamily, AccessLevel)> {
    PageFamily::ALL
        .into_iter()
        .flat_map(|family| AccessLevel::ALL.into_iter().map(move |level| (family, level)))
}

fn template(family: PageFamily, level: AccessLevel) -> Template {
    let word = word(level);
    Template {
        slug: format!("{}:{}", family.as_str(), level.as_str()),
        display_name: match family {
            PageFamily::Group => (String::new(), format!(" {} Access", word.title)),
            PageFamily::User => (format!("User can {} on ", word.title), String::new()),
        },
        description: (format!("Has {} access on the ", word.lower), " page".to_owned()),
        purpose: Purpose::Permission,
    }
}

/// What a group's grant says beside itself: whoever is in the group has it too, and it cannot be
/// revoked at the page when no row of the page gives it.
fn annotations(group: GroupId, inherited: bool) -> Vec<u8> {
    let expandable = GrantExpandable {
        entitlement_ids: GroupRole::ALL.map(|role| group_entitlement(group, role)).into(),
        ..Default::default()
    };
    let mut annotations = vec![any(&expandable)];
    if inherited {
        annotations.push(any(&GrantImmutable::default()));
    }
    encode_grant_annotations(&annotations)
}

#[tonic::async_trait]
impl ResourceSyncer for PageSyncer {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Page
    }

    fn describe(&self) -> ResourceType {
        describe()
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::Provision, Capability::TargetedSync]
    }

    async fn list(
        &self,
        context: &Context,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<Vec<Resource>>, Error> {
        const ABOUT: usize = 70;
        let Some(organization) = context.parent(self.kind(), parent)? else { return Ok(Page::nothing()) };
        let fetch = bounds.fetch(ABOUT);
        let rows = pages::list(&context.database, organization, bounds.from(), fetch).await?;
        let at = |row: &Row| Position { key: row.id.get().unsigned_abs(), ordinal: 0 };
        Ok(page(bounds, rows, fetch, at, |row| resource(&row)))
    }

    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error> {
        Ok(pages::get(&context.database, ids::parse(id)?).await?.as_ref().map(resource))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        let page: PageId = ids::parse(on.id)?;
        let (groups, users) = ([group::describe()], [user::describe()]);
        Ok(entitlements()
            .map(|(family, level)| {
                let grantable_to = match family {
                    PageFamily::Group => &groups,
                    PageFamily::User => &users,
                };
                entitlement(
                    on.resource,
                    page_entitlement(page, family, level),
                    grantable_to,
                    template(family, level),
                )
            })
            .collect())
    }

    /// Each level that a group has, and every weaker one, in both families; the principal is the group
    /// in both, and whoever consumes the grants expands them to its members (decisions 7.2).
    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error> {
        const EXPANDABLE: usize = 100;
        let page: PageId = ids::parse(on.id)?;
        let mut answer = GrantPage::new(bounds, on.resource)?;
        let fetch = bounds.fetch(GrantPage::grant_bytes(on.resource) + EXPANDABLE);
        let rows = pages::group_access(&context.database, page, bounds.from(), fetch).await?;
        let entitlements: Vec<_> =
            entitlements().map(|(family, level)| (level, page_entitlement(page, family, level))).collect();
        let outcome = rows.iter().try_for_each(|GroupAccess { group, access }| {
            let principal = resource_id(*group);
            let (own, inherited) = (annotations(*group, false), annotations(*group, true));
            (0..)
                .zip(&entitlements)
                .filter(|(_, (level, _))| access.effective() >= Some(*level))
                .try_for_each(|(ordinal, (level, entitlement_id))| {
                    answer.push(
                        Position { key: group.get().unsigned_abs(), ordinal },
                        GrantParts {
                            id: &typed_grant(entitlement_id, *group),
                            entitlement_id,
                            principal_type: &principal.resource_type,
                            principal_id: &principal.resource,
                            annotations: if access.is_inherited(*level) { &inherited } else { &own },
                        },
                    )
                })
        });
        Ok(answer.finish(outcome, last_key(&rows, fetch, |row| row.group.get())))
    }
}

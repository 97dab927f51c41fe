//! The resource type `page`: a row of `pages`, which Retool's users call an app.

use std::ops::ControlFlow;

use prost_types::Any;

use crate::connector::entitlements::{Purpose, Template, entitlement};
use crate::connector::error::Error;
use crate::connector::ids::{
    self, GroupRole, PageFamily, ResourceKind, Spelled, group_entitlement, page_entitlement, resource_id,
    typed_grant,
};
use crate::connector::page_token::Position;
use crate::connector::paging::{GrantPage, Page, PageBounds, last_key, page};
use crate::connector::provisioning::{Asked, Granted, Revoked};
use crate::connector::text::named;
use crate::connector::types::{group, user};
use crate::connector::{Context, Identified, ResourceSyncer, word};
use crate::proto::connector::{
    Capability, Entitlement, GrantExpandable, GrantImmutable, Resource, ResourceId, ResourceType,
};
use crate::proto::grants::{GrantList, GrantParts, encode_grant_annotations};
use crate::proto::{any, packed, string, structure};
use crate::retool::access::AccessLevel;
use crate::retool::change::Refusal;
use crate::retool::id::{GroupId, PageId, UserId};
use crate::retool::tables::memberships::Changed;
use crate::retool::tables::page_access;
use crate::retool::tables::pages;
use crate::retool::tables::pages::{Holder, Page as Row};

/// See the module.
pub(crate) struct PageSyncer;

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

fn slug(family: PageFamily, level: AccessLevel) -> String {
    format!("{}:{}", family.as_str(), level.as_str())
}

fn template(family: PageFamily, level: AccessLevel) -> Template {
    let word = word(level);
    Template {
        slug: slug(family, level),
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
fn annotations(group: GroupId, inherited: bool) -> Vec<Any> {
    let expandable = GrantExpandable {
        entitlement_ids: GroupRole::ALL.map(|role| group_entitlement(group, role)).into(),
        ..Default::default()
    };
    let mut annotations = vec![any(&expandable)];
    if inherited {
        annotations.push(any(&GrantImmutable::default()));
    }
    annotations
}

/// How a holder's grants look.
struct Shown<'a> {
    row: &'a Holder,
    principal: ResourceId,
    own: Vec<u8>,
    inherited: Vec<u8>,
}

impl<'a> Shown<'a> {
    fn of(row: &'a Holder) -> Self {
        match row {
            Holder::Group { group, .. } => {
                let encoded = |inherited| encode_grant_annotations(&annotations(*group, inherited));
                Self { row, principal: resource_id(*group), own: encoded(false), inherited: encoded(true) }
            }
            Holder::User { user, .. } => {
                Self { row, principal: resource_id(*user), own: Vec::new(), inherited: Vec::new() }
            }
        }
    }

    /// The annotations of the grant of that level; nothing when there is no such grant.
    fn annotations(&self, family: PageFamily, level: AccessLevel) -> Option<&[u8]> {
        match self.row {
            Holder::Group { access, .. } if access.effective() < Some(level) => None,
            Holder::Group { access, .. } if access.is_inherited(level) => Some(&self.inherited),
            Holder::Group { .. } => Some(&self.own),
            Holder::User { .. } if family == PageFamily::Group => None,
            Holder::User { levels, .. } => {
                let mut held = AccessLevel::ALL.into_iter().zip(levels);
                held.any(|(known, held)| known == level && *held).then_some(&self.own)
            }
        }
    }
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
    /// in both, and whoever consumes the grants expands them to its members (decision 7.2). Users in managed
    /// groups follow, each with a grant of its own that can be revoked (decision 7.5).
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
        let rows = pages::holders(&context.database, page, context.skip_disabled_users, bounds.from(), fetch)
            .await?;
        let entitlements: Vec<_> = entitlements()
            .map(|(family, level)| (family, level, page_entitlement(page, family, level)))
            .collect();
        let outcome = rows.iter().try_for_each(|row| {
            let shown = Shown::of(row);
            (0..).zip(&entitlements).try_for_each(|(ordinal, (family, level, entitlement_id))| {
                let Some(annotations) = shown.annotations(*family, *level) else {
                    return ControlFlow::Continue(());
                };
                let ResourceId { resource_type, resource, .. } = &shown.principal;
                answer.push(
                    Position { key: row.order(), ordinal },
                    GrantParts {
                        id: &format!("{entitlement_id}:{resource_type}:{resource}"),
                        entitlement_id,
                        principal_type: resource_type,
                        principal_id: resource,
                        annotations,
                    },
                )
            })
        });
        Ok(answer.finish(outcome, last_key(&rows, fetch, pages::Holder::order)))
    }

    /// Decision 7.6: the principal is raised to at least the level. A group by its own row, a user through
    /// the managed group of page and level (7.5).
    async fn grant(&self, context: &Context, asked: &Asked<'_>) -> Result<Granted, Error> {
        let About { page, level, holder } = about(asked)?;
        let (database, mode) = (&context.database, context.mode());
        match holder {
            Principal::Group(group) => {
                let changed = page_access::grant_group(database, mode, page, group, level).await?;
                let id = typed_grant(&asked.entitlement.id, group);
                let grant = asked.grant(id, annotations(group, changed.after.is_inherited(level)));
                Ok(context.granted(&changed, words(&changed, |access| access.effective()), vec![grant]))
            }
            Principal::User(_) if !context.managed_groups => Err(Refusal::ManagedGroupsOff.into()),
            Principal::User(user) => {
                let enabled_only = context.skip_disabled_users;
                let changed =
                    page_access::grant_user(database, mode, page, user, level, enabled_only).await?;
                let grant = || asked.grant(typed_grant(&asked.entitlement.id, user), Vec::new());
                let grant = changed.after.direct.then(grant);
                let words = words(&changed, |access| access.effective);
                Ok(context.granted(&changed, words, grant.into_iter().collect()))
            }
        }
    }

    /// Decision 7.6: the principal is lowered to just below the level, or nothing is done and what still
    /// gives the level is named.
    async fn revoke(&self, context: &Context, asked: &Asked<'_>) -> Result<Revoked, Error> {
        let About { page, level, holder } = about(asked)?;
        let (database, mode) = (&context.database, context.mode());
        match holder {
            Principal::Group(group) => {
                let changed = page_access::revoke_group(database, mode, page, group, level).await?;
                Ok(context.revoked(&changed, words(&changed, |access| access.effective())))
            }
            Principal::User(user) => {
                let changed = page_access::revoke_user(database, mode, page, user, level).await?;
                let mut revoked = context.revoked(&changed, words(&changed, |access| access.effective));
                if let Some(left) =
                    changed.after.effective.filter(|left| changed.is_change() && *left >= level)
                {
                    let said = structure([("access_remains", string(left.as_str()))]);
                    revoked.annotations.push(packed(&said));
                }
                Ok(revoked)
            }
        }
    }
}

/// What a request to grant or revoke is about.
struct About {
    page: PageId,
    level: AccessLevel,
    holder: Principal,
}

/// Whose access is to change. A group can be asked for in both families, since it is listed in both; a user in
/// that of users only.
enum Principal {
    Group(GroupId),
    User(UserId),
}

fn about(asked: &Asked<'_>) -> Result<About, Error> {
    let (page, family, level) = ids::parse_page_entitlement(&asked.entitlement.id)?;
    asked.cross_check(page, &slug(family, level))?;
    let holder = if family == PageFamily::Group || asked.is_for(ResourceKind::Group) {
        Principal::Group(asked.principal()?)
    } else {
        Principal::User(asked.principal()?)
    };
    Ok(About { page, level, holder })
}

fn words<T: Copy>(
    changed: &Changed<T>,
    level: impl Fn(T) -> Option<AccessLevel>,
) -> (&'static str, &'static str) {
    let word = |access| level(access).map_or("none", AccessLevel::as_str);
    (word(changed.before), word(changed.after))
}

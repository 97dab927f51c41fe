//! The resource type `page`: a row of `pages`, which Retool's users call an app.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use prost_types::Any;

use crate::connector::change::answer::ChangeAnswer;
use crate::connector::change::request::ChangeRequest;
use crate::connector::context::{Context, MANAGED_GROUPS};
use crate::connector::entitlement_words::{EntitlementWords, Purpose, level_word};
use crate::connector::error::Error;
use crate::connector::holder::Holder;
use crate::connector::ids::{EntitlementId, PageFamily, resource_id};
use crate::connector::resource_kind::{Identity, ResourceKind, Spelled};
use crate::connector::resource_type::{Parent, ResourceType};
use crate::connector::text::named;
use crate::connector::types::{group, user};
use crate::proto::connector::{self as proto, Capability, GrantExpandable, GrantImmutable, Resource};
use crate::proto::grants::encode_grant_annotations;
use crate::proto::{any, packed, string, structure};
use crate::retool::access::AccessLevel;
use crate::retool::id::{GroupId, OrganizationId, PageId, UserId};
use crate::retool::snapshot::{Snapshot, Table};
use crate::retool::tables::memberships::Membership;
use crate::retool::tables::page_access::{self, UserPageChange};
use crate::retool::tables::{self, pages};

/// The resource type; see the module.
pub(crate) struct Pages;

/// An entitlement on a page: the family of principals, and the level. Both families have groups as principals
/// (decision page-families).
type PageEntitlement = (PageFamily, AccessLevel);

fn slug((family, level): PageEntitlement) -> String {
    format!("{}:{}", family.as_str(), level.as_str())
}

/// The annotations of a group's grant: the group's members have it too, and it is immutable if no row of the
/// page gives it, because it cannot be revoked on the page (decision immutable-inheritance).
fn annotations(group: GroupId, inherited: bool) -> Vec<Any> {
    let members = |membership| EntitlementId::Group(group, membership).to_string();
    let expandable =
        GrantExpandable { entitlement_ids: Membership::ALL.map(members).into(), ..Default::default() };
    let mut annotations = vec![any(&expandable)];
    if inherited {
        annotations.push(any(&GrantImmutable::default()));
    }
    annotations
}

/// The encoded last part of the [`annotations`] of inherited access.
static IMMUTABLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| encode_grant_annotations(&[any(&GrantImmutable::default())]));

/// A group or a user with access to a page, and the encoded annotations of its grants.
pub(crate) struct PageHolder {
    holder: pages::Holder,
    /// Annotations of grants through the page's own row.
    own: Vec<u8>,
    /// Annotations of grants from other sources.
    inherited: Vec<u8>,
}

impl From<pages::Holder> for PageHolder {
    fn from(holder: pages::Holder) -> Self {
        match holder {
            pages::Holder::Group { group, .. } => {
                let own = encode_grant_annotations(&annotations(group, false));
                let inherited = [own.as_slice(), IMMUTABLE.as_slice()].concat();
                Self { holder, own, inherited }
            }
            pages::Holder::User { .. } => Self { holder, own: Vec::new(), inherited: Vec::new() },
        }
    }
}

impl Holder<PageEntitlement> for PageHolder {
    fn order(&self) -> u32 {
        self.holder.order()
    }

    fn principal(&self) -> (ResourceKind, u32) {
        match self.holder {
            pages::Holder::Group { group, .. } => (ResourceKind::Group, group.number()),
            pages::Holder::User { user, .. } => (ResourceKind::User, user.number()),
        }
    }

    /// A group has each level up to its own, in both families; agents expand the grants to its members. A
    /// user in managed groups has the levels of these groups, each with a separate grant that can be revoked.
    fn grant_annotations(&self, (family, level): PageEntitlement) -> Option<&[u8]> {
        match self.holder {
            pages::Holder::Group { access, .. } if access.effective() < Some(level) => None,
            pages::Holder::Group { access, .. } if access.is_inherited(level) => Some(&self.inherited),
            pages::Holder::Group { .. } => Some(&self.own),
            pages::Holder::User { .. } if family == PageFamily::Group => None,
            pages::Holder::User { levels, .. } => levels.contains(level).then_some(&self.own),
        }
    }
}

#[tonic::async_trait]
impl ResourceType for Pages {
    type Key = PageId;
    type Row = pages::Page;
    type Entitlement = PageEntitlement;
    type Holder = PageHolder;

    const PARENT: Parent = Parent::Required;
    const TABLE: Table = Table::Pages;
    const RESOURCE_BYTES: usize = 70;
    const ANNOTATION_BYTES: usize = 100;
    /// First the entitlements of groups, then the entitlements of users.
    const ENTITLEMENTS: &'static [PageEntitlement] = &[
        (PageFamily::Group, AccessLevel::Read),
        (PageFamily::Group, AccessLevel::Write),
        (PageFamily::Group, AccessLevel::Own),
        (PageFamily::User, AccessLevel::Read),
        (PageFamily::User, AccessLevel::Write),
        (PageFamily::User, AccessLevel::Own),
    ];

    fn describe(&self) -> proto::ResourceType {
        proto::ResourceType { id: "page".to_owned(), display_name: "Page".to_owned(), ..Default::default() }
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::Provision, Capability::TargetedSync]
    }

    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: tables::Page,
    ) -> Result<Vec<pages::Page>, Error> {
        let Some(organization) = parent else { return Ok(Vec::new()) };
        Ok(pages::list(&context.database, organization, page).await?)
    }

    async fn row(&self, context: &Context, key: PageId) -> Result<Option<pages::Page>, Error> {
        Ok(pages::get(&context.database, key).await?)
    }

    fn key(&self, row: &pages::Page) -> PageId {
        row.id
    }

    fn resource(&self, _: &Context, row: &pages::Page) -> Resource {
        Resource {
            id: Some(resource_id(row.id)),
            parent_resource_id: Some(resource_id(row.organization)),
            display_name: named(&row.name, Spelled(row.id)),
            ..Default::default()
        }
    }

    fn entitlement_id(&self, key: PageId, (family, level): PageEntitlement) -> EntitlementId {
        EntitlementId::Page(key, family, level)
    }

    fn words(&self, (family, level): PageEntitlement) -> EntitlementWords {
        let word = level_word(level);
        let (display_name, grantable_to) = match family {
            PageFamily::Group => ((String::new(), format!(" {} Access", word.title)), group::describe()),
            PageFamily::User => ((format!("User can {} on ", word.title), String::new()), user::describe()),
        };
        EntitlementWords {
            slug: slug((family, level)),
            display_name,
            description: (format!("Has {} access on the ", word.lower), " page".to_owned()),
            purpose: Purpose::Permission,
            grantable_to,
        }
    }

    async fn holders(
        &self,
        context: &Context,
        key: PageId,
        page: tables::Page,
    ) -> Result<Vec<PageHolder>, Error> {
        let holders = pages::holders(&context.database, key, MANAGED_GROUPS, context.users, page).await?;
        Ok(holders.into_iter().map(PageHolder::from).collect())
    }

    fn holders_in<B>(
        &self,
        snapshot: &Snapshot,
        key: PageId,
        from: u32,
        mut each: impl FnMut(&PageHolder) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        snapshot.page_holders(key, from, |holder| each(&PageHolder::from(holder)))
    }

    /// Raises the principal to at least the level: a group by its own row, a user through the managed group
    /// of page and level.
    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        let PageChange { page, family, level, principal } = PageChange::of(request)?;
        let entitlement = EntitlementId::Page(page, family, level);
        let (database, mode) = (&context.database, context.mode);
        match principal {
            Principal::Group(group) => {
                let changed = page_access::grant_group(database, mode, page, group, level).await?;
                let annotations = annotations(group, changed.after.is_inherited(level));
                let grant = request.grant(entitlement, annotations);
                Ok(ChangeAnswer::granted(mode, &changed, |access| word(access.effective()), vec![grant]))
            }
            Principal::User(_) if !context.managed_groups => Err(Error::ManagedGroupsOff),
            Principal::User(user) => {
                let change = UserPageChange { names: MANAGED_GROUPS, page, level, user };
                let changed = change.grant(database, mode, context.users).await?;
                let grant = changed.after.direct.then(|| request.grant(entitlement, Vec::new()));
                let grants = grant.into_iter().collect();
                Ok(ChangeAnswer::granted(mode, &changed, |access| word(access.effective), grants))
            }
        }
    }

    /// Lowers the principal to just below the level. Otherwise changes nothing and returns an error that
    /// names the sources that still grant the level.
    async fn revoke(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        let PageChange { page, level, principal, .. } = PageChange::of(request)?;
        let (database, mode) = (&context.database, context.mode);
        match principal {
            Principal::Group(group) => {
                let changed = page_access::revoke_group(database, mode, page, group, level).await?;
                Ok(ChangeAnswer::revoked(mode, &changed, |access| word(access.effective())))
            }
            Principal::User(user) => {
                let change = UserPageChange { names: MANAGED_GROUPS, page, level, user };
                let changed = change.revoke(database, mode).await?;
                let mut answer = ChangeAnswer::revoked(mode, &changed, |access| word(access.effective));
                let left = changed.after.effective.filter(|left| changed.is_change() && *left >= level);
                if let Some(left) = left {
                    let remains = structure([("access_remains", string(left.as_str()))]);
                    answer.annotations.push(packed(&remains));
                }
                Ok(answer)
            }
        }
    }
}

/// The parameters of Grant or Revoke.
struct PageChange {
    page: PageId,
    family: PageFamily,
    level: AccessLevel,
    principal: Principal,
}

/// The principal of the change. A group is valid in both families, because it is listed in both; a user only
/// in the family of users.
enum Principal {
    Group(GroupId),
    User(UserId),
}

impl PageChange {
    fn of(request: &ChangeRequest<'_>) -> Result<Self, Error> {
        let Some(EntitlementId::Page(page, family, level)) = request.entitlement_id else {
            return Err(request.unknown_entitlement::<PageId>(
                "page:<id>:group:<level> and page:<id>:user:<level>, with the level read, write or own",
            ));
        };
        request.cross_check(page, &slug((family, level)))?;
        let principal = if family == PageFamily::Group || request.is_for(ResourceKind::Group) {
            Principal::Group(request.principal()?)
        } else {
            Principal::User(request.principal()?)
        };
        Ok(Self { page, family, level, principal })
    }
}

fn word(level: Option<AccessLevel>) -> &'static str {
    level.map_or("none", AccessLevel::as_str)
}

//! The resource type `group`: a row of `groups`, and its members.

use std::ops::ControlFlow;

use crate::connector::change::answer::ChangeAnswer;
use crate::connector::change::request::ChangeRequest;
use crate::connector::context::Context;
use crate::connector::entitlement_words::{EntitlementWords, Purpose};
use crate::connector::error::Error;
use crate::connector::holder::Holder;
use crate::connector::ids::{EntitlementId, resource_id};
use crate::connector::resource_kind::{Identity, ResourceKind, Spelled};
use crate::connector::resource_type::{Parent, ResourceType};
use crate::connector::text::named;
use crate::connector::types::user;
use crate::proto::connector::{
    self as proto, Capability, GrantReplaced, GroupTrait, Resource, resource_type,
};
use crate::proto::{any, number, structure};
use crate::retool::id::{GroupId, OrganizationId, UserId};
use crate::retool::snapshot::{Snapshot, Table};
use crate::retool::tables::groups::{self, Group, Member};
use crate::retool::tables::memberships::{self, Membership};
use crate::retool::tables::{Page, admins};

/// The resource type; see the module.
pub(crate) struct Groups;

/// The description of the type. Page entitlements also name it as a type they can be granted to.
pub(crate) fn describe() -> proto::ResourceType {
    proto::ResourceType {
        id: "group".to_owned(),
        display_name: "Group".to_owned(),
        traits: vec![resource_type::Trait::Group.into()],
        ..Default::default()
    }
}

#[allow(deprecated)] // Agents of all versions read the profile here.
fn resource(group: &Group) -> Resource {
    let profile = structure(group.organization.map(|id| ("organization_id", number(f64::from(id.get())))));
    Resource {
        id: Some(resource_id(group.id)),
        parent_resource_id: group.organization.map(resource_id),
        display_name: named(&group.name, Spelled(group.id)),
        annotations: vec![any(&GroupTrait { profile: Some(profile), ..Default::default() })],
        ..Default::default()
    }
}

impl Holder<Membership> for Member {
    fn order(&self) -> u32 {
        self.user.get().unsigned_abs()
    }

    fn principal(&self) -> (ResourceKind, u32) {
        (ResourceKind::User, self.user.number())
    }

    /// One grant per member: an admin has only the admin grant.
    fn grant_annotations(&self, entitlement: Membership) -> Option<&[u8]> {
        (self.membership == entitlement).then_some(&[])
    }
}

#[tonic::async_trait]
impl ResourceType for Groups {
    type Key = GroupId;
    type Row = Group;
    type Entitlement = Membership;
    type Holder = Member;

    const PARENT: Parent = Parent::Optional;
    const TABLE: Table = Table::Groups;
    const RESOURCE_BYTES: usize = 150;
    const ENTITLEMENTS: &'static [Membership] = &Membership::ALL;
    const ONE_GRANT_PER_HOLDER: bool = true;

    fn describe(&self) -> proto::ResourceType {
        describe()
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::Provision, Capability::TargetedSync]
    }

    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<Group>, Error> {
        Ok(groups::list(&context.database, parent, page).await?)
    }

    async fn row(&self, context: &Context, key: GroupId) -> Result<Option<Group>, Error> {
        Ok(groups::get(&context.database, key).await?)
    }

    fn key(&self, row: &Group) -> GroupId {
        row.id
    }

    fn resource(&self, _: &Context, row: &Group) -> Resource {
        resource(row)
    }

    fn entitlement_id(&self, key: GroupId, entitlement: Membership) -> EntitlementId {
        EntitlementId::Group(key, entitlement)
    }

    fn words(&self, entitlement: Membership) -> EntitlementWords {
        let (name, description) = match entitlement {
            Membership::Member => ("Member", "Is member of the "),
            Membership::Admin => ("Admin", "Is admin of the "),
        };
        EntitlementWords {
            slug: entitlement.as_str().to_owned(),
            display_name: (String::new(), format!(" Group {name}")),
            description: (description.to_owned(), " group".to_owned()),
            purpose: Purpose::Assignment,
            grantable_to: user::describe(),
        }
    }

    async fn holders(&self, context: &Context, key: GroupId, page: Page) -> Result<Vec<Member>, Error> {
        Ok(groups::members(&context.database, key, context.users, page).await?)
    }

    fn holders_in<B>(
        &self,
        snapshot: &Snapshot,
        key: GroupId,
        from: u32,
        mut each: impl FnMut(&Member) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        snapshot.group_members(key, from, |member| each(&member))
    }

    /// Grants a membership. An admin already is a member; a member who becomes an admin loses the member
    /// grant.
    async fn grant(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        let MembershipChange { group, membership, user } = MembershipChange::of(request)?;
        let changed =
            memberships::grant(&context.database, context.mode, group, user, membership, context.users)
                .await?;
        let is_listed = changed.after == Some(membership);
        let grant = is_listed.then(|| request.grant(EntitlementId::Group(group, membership), vec![]));
        let mut answer = ChangeAnswer::granted(context.mode, &changed, word, grant.into_iter().collect());
        if (changed.before, changed.after) == (Some(Membership::Member), Some(Membership::Admin)) {
            let replaced = EntitlementId::Group(group, Membership::Member);
            let replaced_grant_id = replaced.grant_id(&replaced.to_string(), &resource_id(user));
            answer.annotations.push(any(&GrantReplaced { replaced_grant_id }));
        }
        Ok(answer)
    }

    /// Revokes a membership: an admin becomes a member, a member leaves. Removing an admin takes two revokes
    /// (decision two-revokes).
    async fn revoke(&self, context: &Context, request: &ChangeRequest<'_>) -> Result<ChangeAnswer, Error> {
        let MembershipChange { group, membership, user } = MembershipChange::of(request)?;
        // An action that disables an administrator holds the lock while it waits for Retool's REST API, so
        // only changes of administrators take the lock.
        let administers =
            admins::groups_of(&context.database, user).await?.iter().any(|own| own.group == group);
        let _shared = if administers { Some(context.admin_lock.read().await) } else { None };
        let changed = memberships::revoke(&context.database, context.mode, group, user, membership).await?;
        Ok(ChangeAnswer::revoked(context.mode, &changed, word))
    }
}

/// The parameters of Grant or Revoke.
struct MembershipChange {
    group: GroupId,
    membership: Membership,
    user: UserId,
}

impl MembershipChange {
    fn of(request: &ChangeRequest<'_>) -> Result<Self, Error> {
        let Some(EntitlementId::Group(group, membership)) = request.entitlement_id else {
            return Err(request.unknown_entitlement::<GroupId>("group:<id>:member and group:<id>:admin"));
        };
        request.cross_check(group, membership.as_str())?;
        Ok(Self { group, membership, user: request.principal()? })
    }
}

fn word(membership: Option<Membership>) -> &'static str {
    membership.map_or("none", Membership::as_str)
}

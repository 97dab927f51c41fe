//! The resource type `group`: a row of `groups`, and its members.

use crate::connector::entitlements::{Purpose, Template, entitlement};
use crate::connector::error::Error;
use crate::connector::ids::{
    self, GroupRole, ResourceKind, Spelled, group_entitlement, resource_id, typed_grant,
};
use crate::connector::page_token::Position;
use crate::connector::paging::{GrantPage, Page, PageBounds, last_key, page};
use crate::connector::provisioning::{Asked, Granted, Revoked};
use crate::connector::text::named;
use crate::connector::types::user;
use crate::connector::{Context, Identified, ResourceSyncer};
use crate::proto::connector::{
    Capability, Entitlement, GrantReplaced, GroupTrait, Resource, ResourceId, ResourceType, resource_type,
};
use crate::proto::grants::{GrantList, GrantParts};
use crate::proto::{any, number, structure};
use crate::retool::id::{GroupId, UserId};
use crate::retool::tables::admins;
use crate::retool::tables::groups;
use crate::retool::tables::groups::Group;
use crate::retool::tables::memberships;
use crate::retool::tables::memberships::{Changed, Membership};

/// See the module.
pub(crate) struct GroupSyncer;

/// The type, which page entitlements name as the one they can be granted to.
pub(crate) fn describe() -> ResourceType {
    ResourceType {
        id: "group".to_owned(),
        display_name: "Group".to_owned(),
        traits: vec![resource_type::Trait::Group.into()],
        ..Default::default()
    }
}

#[allow(deprecated)] // Agents of every age read the profile here.
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

fn template(role: GroupRole) -> Template {
    let (name, description) = match role {
        GroupRole::Member => ("Member", "Is member of the "),
        GroupRole::Admin => ("Admin", "Is admin of the "),
    };
    Template {
        slug: role.as_str().to_owned(),
        display_name: (String::new(), format!(" Group {name}")),
        description: (description.to_owned(), " group".to_owned()),
        purpose: Purpose::Assignment,
    }
}

#[tonic::async_trait]
impl ResourceSyncer for GroupSyncer {
    fn kind(&self) -> ResourceKind {
        ResourceKind::Group
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
        const ABOUT: usize = 150;
        let organization = context.parent(self.kind(), parent)?;
        let fetch = bounds.fetch(ABOUT);
        let rows = groups::list(&context.database, organization, bounds.from(), fetch).await?;
        let at = |row: &Group| Position { key: row.id.get().unsigned_abs(), ordinal: 0 };
        Ok(page(bounds, rows, fetch, at, |row| resource(&row)))
    }

    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error> {
        Ok(groups::get(&context.database, ids::parse(id)?).await?.as_ref().map(resource))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        let group: GroupId = ids::parse(on.id)?;
        let users = [user::describe()];
        Ok(GroupRole::ALL
            .into_iter()
            .map(|role| entitlement(on.resource, group_entitlement(group, role), &users, template(role)))
            .collect())
    }

    /// One grant a member: an admin's row does not also make a member (spec 1.6).
    async fn grants(
        &self,
        context: &Context,
        on: &Identified<'_>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error> {
        let group: GroupId = ids::parse(on.id)?;
        let mut answer = GrantPage::new(bounds, on.resource)?;
        let fetch = bounds.fetch(GrantPage::grant_bytes(on.resource));
        let members =
            groups::members(&context.database, group, context.skip_disabled_users, bounds.from(), fetch)
                .await?;
        let [member, admin] = GroupRole::ALL.map(|role| group_entitlement(group, role));
        let outcome = members.iter().try_for_each(|row| {
            let principal = resource_id(row.user);
            let entitlement_id = if row.is_admin { &admin } else { &member };
            answer.push(
                Position { key: row.user.get().unsigned_abs(), ordinal: 0 },
                GrantParts {
                    id: &typed_grant(entitlement_id, row.user),
                    entitlement_id,
                    principal_type: &principal.resource_type,
                    principal_id: &principal.resource,
                    annotations: &[],
                },
            )
        });
        Ok(answer.finish(outcome, last_key(&members, fetch, |row| row.user.get().unsigned_abs())))
    }

    /// Decision 7.4: an admin is a member already, and a member that becomes an admin is none any more.
    async fn grant(&self, context: &Context, asked: &Asked<'_>) -> Result<Granted, Error> {
        let (group, role, user) = about(asked)?;
        let (mode, enabled_only) = (context.mode(), context.skip_disabled_users);
        let admin = role == GroupRole::Admin;
        let changed = memberships::grant(&context.database, mode, group, user, admin, enabled_only).await?;
        let is_listed = changed.after == membership(role);
        let grant =
            is_listed.then(|| asked.grant(typed_grant(&group_entitlement(group, role), user), vec![]));
        let mut granted = context.granted(&changed, words(&changed), grant.into_iter().collect());
        if (changed.before, changed.after) == (Membership::Member, Membership::Admin) {
            let replaced_grant_id = typed_grant(&group_entitlement(group, GroupRole::Member), user);
            granted.annotations.push(any(&GrantReplaced { replaced_grant_id }));
        }
        Ok(granted)
    }

    /// Decision 7.4: an admin becomes a member, a member leaves. Taking an admin out takes two revokes.
    async fn revoke(&self, context: &Context, asked: &Asked<'_>) -> Result<Revoked, Error> {
        let (group, role, user) = about(asked)?;
        let admin = role == GroupRole::Admin;
        // Whoever disables an administrator waits for Retool's REST API, which is nobody else's business.
        let administers =
            admins::groups_of(&context.database, user).await?.iter().any(|own| own.group == group);
        let _together = if administers { Some(context.disabling_admin.read().await) } else { None };
        let changed = memberships::revoke(&context.database, context.mode(), group, user, admin).await?;
        Ok(context.revoked(&changed, words(&changed)))
    }
}

fn about(asked: &Asked<'_>) -> Result<(GroupId, GroupRole, UserId), Error> {
    let (group, role) = ids::parse_group_entitlement(&asked.entitlement.id)?;
    asked.cross_check(group, role.as_str())?;
    Ok((group, role, asked.principal()?))
}

fn membership(role: GroupRole) -> Membership {
    match role {
        GroupRole::Member => Membership::Member,
        GroupRole::Admin => Membership::Admin,
    }
}

fn words(changed: &Changed<Membership>) -> (&'static str, &'static str) {
    (changed.before.as_str(), changed.after.as_str())
}

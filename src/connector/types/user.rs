//! The resource type `user`: a row of `users`.

use std::convert::Infallible;
use std::ops::ControlFlow;

use time::OffsetDateTime;

use crate::connector::context::Context;
use crate::connector::entitlement_words::EntitlementWords;
use crate::connector::error::Error;
use crate::connector::ids::{EntitlementId, resource_id};
use crate::connector::resource_kind::Spelled;
use crate::connector::resource_type::{Parent, ResourceType};
use crate::connector::text::{DISPLAY_NAME, first_of, fit, profile_time};
use crate::proto::connector::user_trait::{self, AccountType, Email, StructuredName, status};
use crate::proto::connector::{
    self as proto, Capability, Resource, SkipEntitlementsAndGrants, UserTrait, resource_type,
};
use crate::proto::{any, number, string, structure, timestamp};
use crate::retool::id::{OrganizationId, UserId};
use crate::retool::snapshot::{Snapshot, Table};
use crate::retool::tables::Page;
use crate::retool::tables::users::{self, User};

/// The resource type; see the module.
pub(crate) struct Users;

/// The description of the type. Other types' entitlements also name it as a type they can be granted to. A
/// user has no entitlements, so agents need not list them (decision no-user-queries).
pub(crate) fn describe() -> proto::ResourceType {
    proto::ResourceType {
        id: "user".to_owned(),
        display_name: "User".to_owned(),
        traits: vec![resource_type::Trait::User.into()],
        annotations: vec![any(&SkipEntitlementsAndGrants {})],
        ..Default::default()
    }
}

/// The user as every listing shows it.
pub(crate) fn resource(user: &User) -> Resource {
    let parent = user.organization.map(resource_id);
    Resource {
        id: Some(resource_id(user.id)),
        parent_resource_id: parent,
        display_name: fit(display_name(user), DISPLAY_NAME),
        annotations: vec![any(&user_trait(user))],
        ..Default::default()
    }
}

/// Never blank, because a reviewer must be able to identify the user (decision empty-names).
fn display_name(user: &User) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let full = format!("{} {}", text(&user.first_name), text(&user.last_name));
    let (email, user_name) = (text(&user.email), text(&user.user_name));
    first_of([full.as_str(), &email, &user_name]).map_or_else(|| Spelled(user.id).to_string(), str::to_owned)
}

#[allow(deprecated)] // Agents of all versions read these fields; older agents do not read the newer fields.
fn user_trait(user: &User) -> UserTrait {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let organization = user.organization.map(|id| Spelled(id).to_string()).unwrap_or_default();
    let mut profile = structure([
        ("email", string(text(&user.email))),
        ("first_name", string(text(&user.first_name))),
        ("last_name", string(text(&user.last_name))),
        ("user_name", string(text(&user.user_name))),
        ("user_id", string(format!("{organization}:{}", Spelled(user.id)))),
        ("last_logged_in", string(profile_time(user.last_logged_in))),
    ]);
    if let Some(organization) = user.organization {
        profile.fields.insert("organization_id".to_owned(), number(f64::from(organization.get())));
    }
    if let Some(user_type) = &user.user_type {
        profile.fields.insert("user_type".to_owned(), string(user_type.clone()));
    }
    if user.last_active.is_some() {
        profile.fields.insert("last_active".to_owned(), string(profile_time(user.last_active)));
    }
    let status = if user.enabled { status::Status::Enabled } else { status::Status::Disabled };
    let named = user.first_name.is_some() || user.last_name.is_some();
    UserTrait {
        emails: user
            .email
            .iter()
            .map(|address| Email { address: address.clone(), is_primary: true })
            .collect(),
        status: Some(user_trait::Status { status: status.into(), ..Default::default() }),
        profile: Some(profile),
        account_type: AccountType::Human.into(),
        login: user.user_name.clone().or_else(|| user.email.clone()).unwrap_or_default(),
        created_at: user.created_at.filter(fits_timestamp).map(timestamp),
        last_login: user.last_logged_in.filter(fits_timestamp).map(timestamp),
        structured_name: named.then(|| StructuredName {
            given_name: text(&user.first_name),
            family_name: text(&user.last_name),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Whether a protobuf timestamp can represent the time: the years 1 to 9999.
fn fits_timestamp(time: &OffsetDateTime) -> bool {
    (1..=9999).contains(&time.to_offset(time::UtcOffset::UTC).year())
}

#[tonic::async_trait]
impl ResourceType for Users {
    type Key = UserId;
    type Row = User;
    type Entitlement = Infallible;
    type Holder = Infallible;

    const PARENT: Parent = Parent::Optional;
    const TABLE: Table = Table::Users;
    const RESOURCE_BYTES: usize = 430;
    const ENTITLEMENTS: &'static [Infallible] = &[];

    fn describe(&self) -> proto::ResourceType {
        describe()
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::AccountProvisioning, Capability::TargetedSync]
    }

    async fn rows(
        &self,
        context: &Context,
        parent: Option<OrganizationId>,
        page: Page,
    ) -> Result<Vec<User>, Error> {
        Ok(users::list(&context.database, parent, context.users, page).await?)
    }

    async fn row(&self, context: &Context, key: UserId) -> Result<Option<User>, Error> {
        Ok(users::get(&context.database, key, context.users).await?)
    }

    fn key(&self, row: &User) -> UserId {
        row.id
    }

    fn resource(&self, _: &Context, row: &User) -> Resource {
        resource(row)
    }

    fn entitlement_id(&self, _: UserId, entitlement: Infallible) -> EntitlementId {
        match entitlement {}
    }

    fn words(&self, entitlement: Infallible) -> EntitlementWords {
        match entitlement {}
    }

    async fn holders(&self, _: &Context, _: UserId, _: Page) -> Result<Vec<Infallible>, Error> {
        Ok(Vec::new())
    }

    fn holders_in<B>(
        &self,
        _: &Snapshot,
        _: UserId,
        _: u32,
        _: impl FnMut(&Infallible) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        ControlFlow::Continue(())
    }
}

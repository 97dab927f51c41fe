//! The resource type `user`: a row of `users`.

use time::OffsetDateTime;

use crate::connector::error::Error;
use crate::connector::ids::{self, ResourceKind, Spelled, resource_id};
use crate::connector::page_token::Position;
use crate::connector::paging::{Page, PageBounds, page};
use crate::connector::text::{DISPLAY_NAME, first_of, fit, profile_time};
use crate::connector::{Context, Identified, ResourceSyncer};
use crate::proto::connector::user_trait::{self, AccountType, Email, StructuredName, status};
use crate::proto::connector::{
    Capability, Entitlement, Resource, ResourceId, ResourceType, SkipEntitlementsAndGrants, UserTrait,
    resource_type,
};
use crate::proto::grants::GrantList;
use crate::proto::{any, number, string, structure, timestamp};
use crate::retool::tables::users;
use crate::retool::tables::users::User;

/// See the module.
pub(crate) struct UserSyncer;

/// The type, which entitlements of others name as the one they can be granted to. Nothing can be
/// granted on a user, so agents need not ask (decision, D53).
pub(crate) fn describe() -> ResourceType {
    ResourceType {
        id: "user".to_owned(),
        display_name: "User".to_owned(),
        traits: vec![resource_type::Trait::User.into()],
        annotations: vec![any(&SkipEntitlementsAndGrants {})],
        ..Default::default()
    }
}

/// The user as every listing has it.
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

fn display_name(user: &User) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let full = format!("{} {}", text(&user.first_name), text(&user.last_name));
    let (email, user_name) = (text(&user.email), text(&user.user_name));
    first_of([full.as_str(), &email, &user_name]).map_or_else(|| Spelled(user.id).to_string(), str::to_owned)
}

#[allow(deprecated)] // Agents of every age read these fields; the newer places are not read by older ones.
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

/// A protobuf timestamp lies in the years 1 to 9999.
fn fits_timestamp(time: &OffsetDateTime) -> bool {
    (1..=9999).contains(&time.to_offset(time::UtcOffset::UTC).year())
}

#[tonic::async_trait]
impl ResourceSyncer for UserSyncer {
    fn kind(&self) -> ResourceKind {
        ResourceKind::User
    }

    fn describe(&self) -> ResourceType {
        describe()
    }

    fn capabilities(&self) -> &'static [Capability] {
        &[Capability::Sync, Capability::AccountProvisioning, Capability::TargetedSync]
    }

    async fn list(
        &self,
        context: &Context,
        parent: Option<&ResourceId>,
        bounds: &PageBounds<'_>,
    ) -> Result<Page<Vec<Resource>>, Error> {
        const ABOUT: usize = 430;
        let organization = context.parent(self.kind(), parent)?;
        let fetch = bounds.fetch(ABOUT);
        let rows =
            users::list(&context.database, organization, context.skip_disabled_users, bounds.from(), fetch)
                .await?;
        let at = |row: &User| Position { key: row.id.get().unsigned_abs(), ordinal: 0 };
        Ok(page(bounds, rows, fetch, at, |row| resource(&row)))
    }

    async fn get(&self, context: &Context, id: &ResourceId) -> Result<Option<Resource>, Error> {
        let found = users::get(&context.database, ids::parse(id)?, context.skip_disabled_users).await?;
        Ok(found.as_ref().map(resource))
    }

    fn entitlements(&self, on: &Identified<'_>) -> Result<Vec<Entitlement>, Error> {
        ids::parse::<crate::retool::id::UserId>(on.id)?;
        Ok(Vec::new())
    }

    async fn grants(
        &self,
        _context: &Context,
        on: &Identified<'_>,
        _bounds: &PageBounds<'_>,
    ) -> Result<Page<GrantList>, Error> {
        ids::parse::<crate::retool::id::UserId>(on.id)?;
        Ok(Page::nothing())
    }
}

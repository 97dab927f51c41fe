//! Ids as C1 tenants have stored them (spec 1.2, 1.5, 1.6). Nothing here may ever change.

use std::fmt::{self, Display};

use crate::connector::error::{ArgumentProblem, Error};
use crate::proto::connector::ResourceId as ProtoResourceId;
use crate::retool::access::AccessLevel;
use crate::retool::id::{GroupId, OrganizationId, OutOfRange, PageId, ResourceId, UserId};
use crate::retool::tables::organizations::Right;

/// The resource types of this connector (spec 1.1), in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// `org`
    Organization,
    /// `user`
    User,
    /// `group`
    Group,
    /// `page`
    Page,
    /// `resource`
    Resource,
}

impl ResourceKind {
    const ALL: [Self; 5] = [Self::Organization, Self::User, Self::Group, Self::Page, Self::Resource];

    /// The id of the resource type.
    pub fn type_id(self) -> &'static str {
        match self {
            Self::Organization => "org",
            Self::User => "user",
            Self::Group => "group",
            Self::Page => "page",
            Self::Resource => "resource",
        }
    }

    /// What the ids of such resources begin with.
    pub fn letter(self) -> char {
        match self {
            Self::Organization => 'o',
            Self::User => 'u',
            Self::Group => 'g',
            Self::Page => 'p',
            Self::Resource => 'r',
        }
    }

    /// The type with this id; `None` when this connector has no such type.
    pub fn from_type_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_id() == id)
    }
}

/// A primary key that is a resource for baton.
pub trait Identity: TryFrom<i64, Error = OutOfRange> + Display + Copy {
    /// The type of the resource.
    const KIND: ResourceKind;
}

impl Identity for OrganizationId {
    const KIND: ResourceKind = ResourceKind::Organization;
}
impl Identity for UserId {
    const KIND: ResourceKind = ResourceKind::User;
}
impl Identity for GroupId {
    const KIND: ResourceKind = ResourceKind::Group;
}
impl Identity for PageId {
    const KIND: ResourceKind = ResourceKind::Page;
}
impl Identity for ResourceId {
    const KIND: ResourceKind = ResourceKind::Resource;
}

/// A key as baton spells it: the letter of its type, then the number, e.g. `u42`.
#[derive(Debug, Clone, Copy)]
pub struct Spelled<T>(pub T);

impl<T: Identity> Display for Spelled<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", T::KIND.letter(), self.0)
    }
}

/// The id of the resource with this key.
pub fn resource_id<T: Identity>(key: T) -> ProtoResourceId {
    ProtoResourceId {
        resource_type: T::KIND.type_id().to_owned(),
        resource: Spelled(key).to_string(),
        ..Default::default()
    }
}

/// Reads the id of a resource of type `T`.
///
/// # Errors
/// [`Error::MalformedId`] unless the id is of that type, and its text exactly the type's letter and a
/// number from 1 to 2147483647 without padding.
pub fn parse<T: Identity>(id: &ProtoResourceId) -> Result<T, Error> {
    let of_type = id.resource_type == T::KIND.type_id();
    let key = if of_type { parse_spelled(&id.resource) } else { None };
    key.ok_or_else(|| Error::MalformedId {
        kind: T::KIND,
        given: format!("{}/{}", id.resource_type, id.resource).into(),
    })
}

/// Reads a key as [`Spelled`] writes it, and nothing else.
fn parse_spelled<T: Identity>(text: &str) -> Option<T> {
    let digits = text.strip_prefix(T::KIND.letter())?;
    let plain = digits.starts_with(|first: char| matches!(first, '1'..='9'))
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain {
        return None;
    }
    digits.parse::<i64>().ok().and_then(|number| T::try_from(number).ok())
}

/// Reads what [`group_entitlement`] writes.
///
/// # Errors
/// [`Error::Argument`]
pub fn parse_group_entitlement(id: &str) -> Result<(GroupId, GroupRole), Error> {
    let parsed = || {
        let (group, role) = id.strip_prefix("group:")?.split_once(':')?;
        let role = GroupRole::ALL.into_iter().find(|known| known.as_str() == role)?;
        Some((parse_spelled(group)?, role))
    };
    parsed().ok_or_else(|| unknown_entitlement(id, "group:g7:member or group:g7:admin"))
}

/// Reads what [`page_entitlement`] writes.
///
/// # Errors
/// [`Error::Argument`]
pub fn parse_page_entitlement(id: &str) -> Result<(PageId, PageFamily, AccessLevel), Error> {
    let parsed = || {
        let (page, rest) = id.strip_prefix("page:")?.split_once(':')?;
        let (family, level) = rest.split_once(':')?;
        let family = PageFamily::ALL.into_iter().find(|known| known.as_str() == family)?;
        Some((parse_spelled(page)?, family, AccessLevel::from_database(level)?))
    };
    parsed().ok_or_else(|| {
        unknown_entitlement(id, "page:p7:group:<level> or page:p7:user:<level>, the level read, write or own")
    })
}

fn unknown_entitlement(given: &str, known: &'static str) -> Error {
    let problem = ArgumentProblem::UnknownEntitlement { given: given.into(), known };
    Error::Argument { field: "entitlement.id", problem }
}

/// The last part of an organization entitlement's id: it says the level, where its slug says Retool's
/// word for it.
pub fn right_suffix(right: Right) -> &'static str {
    match right {
        Right::Member => "member",
        Right::UniversalRead => "universal:read",
        Right::UniversalWrite => "universal:write",
        Right::UniversalOwn => "universal:own",
        Right::ResourceRead => "universalResource:read",
        Right::ResourceWrite => "universalResource:write",
        Right::ResourceOwn => "universalResource:own",
        Right::QueryLibraryRead => "universalQueryLibrary:read",
        Right::QueryLibraryWrite => "universalQueryLibrary:write",
        Right::QueryLibraryOwn => "universalQueryLibrary:own",
        Right::UserList => "userList",
        Right::AuditLog => "auditLog",
        Right::UnpublishedRelease => "unpublishedRelease",
    }
}

/// The two roles of a group's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupRole {
    /// Belongs to the group.
    Member,
    /// Belongs to the group and manages it.
    Admin,
}

impl GroupRole {
    /// Both, in the order of the entitlements.
    pub const ALL: [Self; 2] = [Self::Member, Self::Admin];

    /// The slug, which is also the last part of the entitlement's id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

/// The two families of page entitlements: what a group is given, and what its members have by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageFamily {
    /// Grantable to groups.
    Group,
    /// Grantable to users.
    User,
}

impl PageFamily {
    /// Both, in the order of the entitlements.
    pub const ALL: [Self; 2] = [Self::Group, Self::User];

    /// The word in entitlement ids and slugs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
        }
    }
}

/// `entitlement:oX:<suffix>`
pub fn organization_entitlement(organization: OrganizationId, right: Right) -> String {
    format!("entitlement:{}:{}", Spelled(organization), right_suffix(right))
}

/// `group:gX:<role>`
pub fn group_entitlement(group: GroupId, role: GroupRole) -> String {
    format!("group:{}:{}", Spelled(group), role.as_str())
}

/// `page:pX:<family>:<level>`
pub fn page_entitlement(page: PageId, family: PageFamily, level: AccessLevel) -> String {
    format!("page:{}:{}:{}", Spelled(page), family.as_str(), level.as_str())
}

/// `entitlement:rX:<level>`
pub fn resource_entitlement(resource: ResourceId, level: AccessLevel) -> String {
    format!("entitlement:{}:{}", Spelled(resource), level.as_str())
}

/// The id of a grant on a group or page: the entitlement's, the principal's type and the principal's.
pub fn typed_grant<T: Identity>(entitlement: &str, principal: T) -> String {
    format!("{entitlement}:{}:{}", T::KIND.type_id(), Spelled(principal))
}

/// The id of a grant on an organization or resource: its own word first, and no type of the principal.
pub fn bare_grant<T: Identity>(entitlement: &str, principal: T) -> String {
    format!("grant:{entitlement}:{}", Spelled(principal))
}

#[cfg(test)]
mod tests;

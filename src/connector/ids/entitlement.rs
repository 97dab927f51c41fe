//! Ids of entitlements and their grants.

use std::fmt::{self, Display};

use crate::connector::resource_kind::Spelled;
use crate::proto::connector::ResourceId as ProtoResourceId;
use crate::retool::access::AccessLevel;
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId};
use crate::retool::tables::memberships::Membership;
use crate::retool::tables::organizations::Right;

/// An entitlement of this connector. `Display` writes its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntitlementId {
    /// `entitlement:oX:<right>`
    Organization(OrganizationId, Right),
    /// `group:gX:<membership>`
    Group(GroupId, Membership),
    /// `page:pX:<family>:<level>`
    Page(PageId, PageFamily, AccessLevel),
    /// `entitlement:rX:<level>`
    Resource(ResourceId, AccessLevel),
}

impl EntitlementId {
    /// Parses the id of a grantable entitlement, which is on a group or a page. `None` for any other text.
    pub(crate) fn parse_grantable(id: &str) -> Option<Self> {
        let (resource_type, rest) = id.split_once(':')?;
        let (resource, rest) = rest.split_once(':')?;
        match resource_type {
            "group" => {
                let membership = Membership::ALL.into_iter().find(|known| known.as_str() == rest)?;
                Some(Self::Group(Spelled::parse(resource)?, membership))
            }
            "page" => {
                let (family, level) = rest.split_once(':')?;
                let family = PageFamily::ALL.into_iter().find(|known| known.as_str() == family)?;
                Some(Self::Page(Spelled::parse(resource)?, family, AccessLevel::from_database(level)?))
            }
            _ => None,
        }
    }

    /// The id of the grant of this entitlement to the principal. `id` is the entitlement's id, which a
    /// listing formats once for all its grants.
    ///
    /// The id of a grant on a group or page contains the principal's type. The id of a grant on an
    /// organization or resource has the prefix `grant:` instead.
    pub(crate) fn grant_id(&self, id: &str, principal: &ProtoResourceId) -> String {
        let mut text = String::new();
        self.write_grant_id(id, &principal.resource_type, &principal.resource, &mut text);
        text
    }

    /// Like [`EntitlementId::grant_id`], but appends to a text.
    pub(crate) fn write_grant_id(&self, id: &str, principal_type: &str, principal: &str, to: &mut String) {
        let parts = match self {
            Self::Group(..) | Self::Page(..) => ["", id, ":", principal_type, ":", principal],
            Self::Organization(..) | Self::Resource(..) => ["grant:", id, ":", principal, "", ""],
        };
        for part in parts {
            to.push_str(part);
        }
    }
}

impl Display for EntitlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Organization(organization, right) => {
                write!(f, "entitlement:{}:{}", Spelled(organization), right_suffix(right))
            }
            Self::Group(group, membership) => {
                write!(f, "group:{}:{}", Spelled(group), membership.as_str())
            }
            Self::Page(page, family, level) => {
                write!(f, "page:{}:{}:{}", Spelled(page), family.as_str(), level.as_str())
            }
            Self::Resource(resource, level) => {
                write!(f, "entitlement:{}:{}", Spelled(resource), level.as_str())
            }
        }
    }
}

/// The last part of an organization entitlement's id. It contains the level in the database's terms; the slug
/// uses Retool's terms.
fn right_suffix(right: Right) -> &'static str {
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

/// The two families of page entitlements: the access of a group, and the access of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PageFamily {
    /// Grantable to groups.
    Group,
    /// Grantable to users.
    User,
}

impl PageFamily {
    /// Both, in the order of the entitlements.
    pub(crate) const ALL: [Self; 2] = [Self::Group, Self::User];

    /// The keyword in entitlement ids and slugs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::User => "user",
        }
    }
}

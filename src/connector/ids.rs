//! Ids of resources, entitlements and grants. Tenants of ConductorOne have stored them, so they never change
//! (decision stable-ids).

mod entitlement;
mod reference;

use crate::connector::error::Error;
use crate::connector::resource_kind::{Identity, Spelled};
use crate::proto::connector::ResourceId as ProtoResourceId;

pub(crate) use entitlement::{EntitlementId, PageFamily};
pub(crate) use reference::{parts_of_grant, resource_of_entitlement};

/// The id of the resource with this key.
pub(crate) fn resource_id<T: Identity>(key: T) -> ProtoResourceId {
    ProtoResourceId {
        resource_type: T::KIND.type_id().to_owned(),
        resource: Spelled(key).to_string(),
        ..Default::default()
    }
}

/// Parses the id of a resource of type `T`.
///
/// # Errors
/// [`Error::MalformedId`] unless the id has this type and its text is exactly the type's letter and a number
/// from 1 to 2147483647 without padding (decision strict-ids).
pub(crate) fn parse<T: Identity>(id: &ProtoResourceId) -> Result<T, Error> {
    let of_type = id.resource_type == T::KIND.type_id();
    let key = if of_type { Spelled::parse(&id.resource) } else { None };
    key.ok_or_else(|| Error::MalformedId {
        kind: T::KIND,
        given: format!("{}/{}", id.resource_type, id.resource).into(),
    })
}

#[cfg(test)]
mod tests;

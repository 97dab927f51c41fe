//! Parses ids of entitlements and grants for a user who has only the id.

use crate::connector::resource_kind::{Identity, ResourceKind, Spelled};
use crate::proto::connector::ResourceId as ProtoResourceId;
use crate::retool::id::{GroupId, OrganizationId, PageId, ResourceId};

/// The resource of the entitlement with this id; `None` if no entitlement of this connector has such an id.
/// Whether the entitlement exists is not checked.
pub(crate) fn resource_of_entitlement(id: &str) -> Option<ProtoResourceId> {
    let (word, rest) = id.split_once(':')?;
    let (resource, _) = rest.split_once(':')?;
    match word {
        "group" => spelled::<GroupId>(resource),
        "page" => spelled::<PageId>(resource),
        "entitlement" => spelled::<OrganizationId>(resource).or_else(|| spelled::<ResourceId>(resource)),
        _ => None,
    }
}

/// The entitlement's id and the principal in this id of a grant; `None` if no grant of this connector has
/// such an id. Whether the grant exists is not checked.
pub(crate) fn parts_of_grant(id: &str) -> Option<(String, ProtoResourceId)> {
    let (rest, principal) = id.rsplit_once(':')?;
    // A grant on an organization or resource has the prefix, and only users as principals.
    let (entitlement, principal_type) = match rest.strip_prefix("grant:") {
        Some(entitlement) => (entitlement, ResourceKind::User.type_id()),
        None => rest.rsplit_once(':')?,
    };
    resource_of_entitlement(entitlement)?;
    let principal = ProtoResourceId {
        resource_type: ResourceKind::from_type_id(principal_type)?.type_id().to_owned(),
        resource: principal.to_owned(),
        ..Default::default()
    };
    Some((entitlement.to_owned(), principal))
}

fn spelled<T: Identity>(text: &str) -> Option<ProtoResourceId> {
    let key: T = Spelled::<T>::parse(text)?;
    Some(ProtoResourceId {
        resource_type: T::KIND.type_id().to_owned(),
        resource: Spelled(key).to_string(),
        ..Default::default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(id: &ProtoResourceId) -> String {
        format!("{}/{}", id.resource_type, id.resource)
    }

    #[test]
    fn an_entitlement_id_names_its_resource() {
        for (id, resource) in [
            ("group:g7:member", "group/g7"),
            ("page:p12:user:read", "page/p12"),
            ("entitlement:o1:universal:own", "org/o1"),
            ("entitlement:r3:write", "resource/r3"),
        ] {
            assert_eq!(written(&resource_of_entitlement(id).unwrap()), resource);
        }
        for id in [
            "",
            "group",
            "group:g7",
            "group:7:member",
            "group:p7:member",
            "entitlement:u1:read",
            "x:g7:member",
        ] {
            assert_eq!(resource_of_entitlement(id), None, "{id}");
        }
    }

    #[test]
    fn a_grant_id_names_its_entitlement_and_principal() {
        for (id, entitlement, principal) in [
            ("group:g7:admin:user:u42", "group:g7:admin", "user/u42"),
            ("page:p12:group:write:group:g3", "page:p12:group:write", "group/g3"),
            ("grant:entitlement:o1:universal:own:u42", "entitlement:o1:universal:own", "user/u42"),
            ("grant:entitlement:r3:write:u42", "entitlement:r3:write", "user/u42"),
        ] {
            let (of, to) = parts_of_grant(id).unwrap();
            assert_eq!((of.as_str(), written(&to).as_str()), (entitlement, principal));
        }
        for id in ["", "group:g7:member", "group:g7:member:banana:u1", "grant:group", "a:b:c:d"] {
            assert_eq!(parts_of_grant(id), None, "{id}");
        }
    }
}

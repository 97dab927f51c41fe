//! What the entitlements of all resource types have in common (spec 1.5).

use crate::connector::text::{DESCRIPTION, DISPLAY_NAME, fit};
use crate::proto::connector::{Entitlement, Resource, ResourceType, entitlement::PurposeValue};

/// The words of one entitlement around the name of the resource it is on.
pub(super) struct Template {
    pub(super) slug: String,
    /// What stands before and behind the name.
    pub(super) display_name: (String, String),
    /// What stands before and behind the name.
    pub(super) description: (String, String),
    pub(super) purpose: Purpose,
}

/// What having an entitlement means.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// Belonging to something.
    Assignment,
    /// Being allowed to do something.
    Permission,
}

/// The entitlement `id` on the resource, which is embedded as it came.
pub(super) fn entitlement(
    resource: &Resource,
    id: String,
    grantable_to: &[ResourceType],
    template: Template,
) -> Entitlement {
    let name = &resource.display_name;
    let around = |(before, after): (String, String), limit| fit(format!("{before}{name}{after}"), limit);
    Entitlement {
        resource: Some(resource.clone()),
        id,
        display_name: around(template.display_name, DISPLAY_NAME),
        description: around(template.description, DESCRIPTION),
        grantable_to: grantable_to.to_vec(),
        slug: template.slug,
        purpose: match template.purpose {
            Purpose::Assignment => PurposeValue::Assignment,
            Purpose::Permission => PurposeValue::Permission,
        }
        .into(),
        ..Default::default()
    }
}

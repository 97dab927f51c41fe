//! The words of entitlements, which all resource types put around the name of a resource.

use crate::connector::text::{DESCRIPTION, DISPLAY_NAME, fit};
use crate::proto::connector::entitlement::PurposeValue;
use crate::proto::connector::{Entitlement, Resource, ResourceType};
use crate::retool::access::AccessLevel;

/// The words of one entitlement around the name of the resource it is on.
pub(crate) struct EntitlementWords {
    pub(crate) slug: String,
    /// What stands before and behind the name.
    pub(crate) display_name: (String, String),
    /// What stands before and behind the name.
    pub(crate) description: (String, String),
    pub(crate) purpose: Purpose,
    /// The type of the principals.
    pub(crate) grantable_to: ResourceType,
}

/// What having an entitlement means.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Belonging to something.
    Assignment,
    /// Being allowed to do something.
    Permission,
}

impl EntitlementWords {
    /// The entitlement `id` on the resource, which is embedded as it came.
    pub(crate) fn on(self, resource: &Resource, id: String) -> Entitlement {
        let name = &resource.display_name;
        let around = |(before, after): (String, String), limit| fit(format!("{before}{name}{after}"), limit);
        Entitlement {
            resource: Some(resource.clone()),
            id,
            display_name: around(self.display_name, DISPLAY_NAME),
            description: around(self.description, DESCRIPTION),
            grantable_to: vec![self.grantable_to],
            slug: self.slug,
            purpose: match self.purpose {
                Purpose::Assignment => PurposeValue::Assignment,
                Purpose::Permission => PurposeValue::Permission,
            }
            .into(),
            ..Default::default()
        }
    }
}

/// Retool's word for an access level, as its screens have it.
pub(crate) struct LevelWord {
    pub(crate) lower: &'static str,
    pub(crate) title: &'static str,
}

/// The word for a level.
pub(crate) fn level_word(level: AccessLevel) -> LevelWord {
    match level {
        AccessLevel::Read => LevelWord { lower: "use", title: "Use" },
        AccessLevel::Write => LevelWord { lower: "edit", title: "Edit" },
        AccessLevel::Own => LevelWord { lower: "own", title: "Own" },
    }
}

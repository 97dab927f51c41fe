//! Names and descriptions of entitlements, which contain the name of the resource.

use crate::connector::text::{DESCRIPTION, DISPLAY_NAME, fit};
use crate::proto::connector::entitlement::PurposeValue;
use crate::proto::connector::{Entitlement, Resource, ResourceType};
use crate::retool::access::AccessLevel;

/// The names of one entitlement, with a gap for the name of its resource.
pub(crate) struct EntitlementWords {
    pub(crate) slug: String,
    /// The text before and after the name.
    pub(crate) display_name: (String, String),
    /// The text before and after the name.
    pub(crate) description: (String, String),
    pub(crate) purpose: Purpose,
    /// The type of the principals.
    pub(crate) grantable_to: ResourceType,
}

/// The meaning of an entitlement.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Membership in something.
    Assignment,
    /// Permission to do something.
    Permission,
}

impl EntitlementWords {
    /// The entitlement `id` on the resource, which is embedded unchanged.
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

/// The name of an access level in Retool's user interface.
pub(crate) struct LevelWord {
    pub(crate) lower: &'static str,
    pub(crate) title: &'static str,
}

/// The name of a level.
pub(crate) fn level_word(level: AccessLevel) -> LevelWord {
    match level {
        AccessLevel::Read => LevelWord { lower: "use", title: "Use" },
        AccessLevel::Write => LevelWord { lower: "edit", title: "Edit" },
        AccessLevel::Own => LevelWord { lower: "own", title: "Own" },
    }
}

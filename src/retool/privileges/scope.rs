//! The parts of Retool that a configuration reads and changes.

use serde::Deserialize;

use crate::retool::privileges::writes::Feature;

/// The kinds of Retool objects that a configuration can leave out, and the changes that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Scope {
    /// Pages are not read.
    pub skip_pages: bool,
    /// Resources are not read.
    pub skip_resources: bool,
    /// Changes are allowed.
    pub provisioning: bool,
    /// Groups are created to give single users access to a page.
    pub managed_groups: bool,
}

impl Scope {
    /// The defaults that `--help` documents: everything is read, and nothing is changed.
    pub(crate) const DEFAULT: Self =
        Self { skip_pages: false, skip_resources: false, provisioning: false, managed_groups: true };

    /// The kinds of changes that are allowed.
    pub(crate) fn features(self) -> Vec<Feature> {
        Feature::ALL
            .into_iter()
            .filter(|feature| match feature {
                Feature::Groups => self.provisioning,
                Feature::Pages => self.provisioning && !self.skip_pages,
                Feature::ManagedGroups => self.provisioning && !self.skip_pages && self.managed_groups,
            })
            .collect()
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::DEFAULT
    }
}

//! Checks the exclusion groups of entitlements.

use std::collections::BTreeMap;

use crate::agent::sync::error::Error;
use crate::agent::sync::storage::Storage;
use crate::proto::connector::{Entitlement, EntitlementExclusionGroup};
use crate::proto::unpack;

/// Maximum number of entitlements in a group.
const MAX_MEMBERS: usize = 50;

/// The groups found so far.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<String, Group>);

#[derive(Debug, Default)]
struct Group {
    resource_type: String,
    default: Option<String>,
    members: usize,
}

impl Groups {
    /// Checks every stored entitlement.
    ///
    /// # Errors
    /// [`Error::ExclusionGroup`], [`Error::Storage`]
    pub(crate) fn check<S: Storage>(storage: &mut S) -> Result<(), Error> {
        let mut groups = Self::default();
        let mut cursor = String::new();
        loop {
            let page = storage.entitlements(&cursor).map_err(Error::Storage)?;
            for entitlement in &page.rows {
                groups.add(entitlement).map_err(Error::ExclusionGroup)?;
            }
            if page.next.is_empty() {
                return Ok(());
            }
            cursor = page.next;
        }
    }

    fn add(&mut self, entitlement: &Entitlement) -> Result<(), String> {
        let id = &entitlement.id;
        let of = entitlement.resource.as_ref().and_then(|resource| resource.id.as_ref());
        let of = of.map_or("", |id| &id.resource_type);
        // An entitlement counts once in a group, even if it names the group several times; the rules apply
        // each time.
        let mut counted: Vec<String> = Vec::new();
        for named in entitlement.annotations.iter().filter_map(unpack::<EntitlementExclusionGroup>) {
            let named = named.map_err(|error| format!("cannot read the exclusion group of {id}: {error}"))?;
            let name = named.exclusion_group_id;
            if name.is_empty() {
                continue;
            }
            let group = self.0.entry(name.clone()).or_default();
            if group.resource_type.is_empty() {
                of.clone_into(&mut group.resource_type);
            } else if group.resource_type != of {
                return Err(format!(
                    "exclusion group {name} is used on the resource types {} and {of}, but only one is allowed",
                    group.resource_type
                ));
            }
            if named.is_default {
                if let Some(other) = group.default.as_ref().filter(|&other| other != id) {
                    return Err(format!(
                        "exclusion group {name} has the defaults {other} and {id}, but only one is allowed"
                    ));
                }
                group.default = Some(id.clone());
            }
            if counted.contains(&name) {
                continue;
            }
            group.members += 1;
            if group.members > MAX_MEMBERS {
                return Err(format!(
                    "exclusion group {name} has more than {MAX_MEMBERS} entitlements, the maximum"
                ));
            }
            counted.push(name);
        }
        Ok(())
    }
}

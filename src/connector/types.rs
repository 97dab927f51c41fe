//! The resource types of this connector, one file each.

pub(crate) mod group;
pub(crate) mod organization;
pub(crate) mod page;
pub(crate) mod resource;
pub(crate) mod user;

use crate::connector::resource_type::ResourceSyncer;
use crate::connector::types::group::Groups;
use crate::connector::types::organization::Organizations;
use crate::connector::types::page::Pages;
use crate::connector::types::resource::Resources;
use crate::connector::types::user::Users;

/// Every resource type, in the order in which they are listed.
pub(crate) fn all() -> Vec<Box<dyn ResourceSyncer>> {
    vec![Box::new(Organizations), Box::new(Users), Box::new(Groups), Box::new(Pages), Box::new(Resources)]
}
